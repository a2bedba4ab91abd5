"""The network: backbone, OOV tokens and heads as one plain `nn.Module`, without Lightning.

prompt ids -> table vectors (+ leaf vectors at the items' last tokens) -> backbone -> unit states -> heads
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metatoken.model.backbone.backbone import Backbone
from metatoken.model.backbone.passage import Passage
from metatoken.model.embedding import TokenTable, install
from metatoken.model.heads.bridge import ItemBridge
from metatoken.model.heads.columns import Columns, all_columns, sampled_columns
from metatoken.model.heads.generation import GenerationHead
from metatoken.model.heads.item_scores import Reordered
from metatoken.model.heads.items import ItemHead, ItemVectors, folded
from metatoken.model.heads.rating import RatingHead
from metatoken.model.heads.trie_index import TrieIndex
from metatoken.model.objective import TargetScores, target_scores
from metatoken.tasks.task import tasks_of
from metatoken.tokens.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from metatoken.model.prefix import Prefix
    from metatoken.model.settings import ModelSettings
    from metatoken.tasks.batch import Batch
    from metatoken.tokens.vocabulary import Vocabulary

CALM = 4  # one of so many rows of a step is read without dropout, too


class Network(nn.Module):
    """Scores items and their tokens given prompts.

    Args:
        backbone: The language model.
        vocabulary: Tokens of users and items.
        settings: Temperature, weight of centroids, leaf vectors, normalizer, and tasks, which say what heads there are.
        base: First OOV id of the backbone's id space.
        input_norm: Length of OOV rows at the input.
        features: float `[n_items, f]` further vectors of items, projected into theirs.
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        settings: ModelSettings,
        *,
        base: int,
        input_norm: float,
        features: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.base, self.leaf, self.input_norm = backbone, base, settings.leaf, input_norm
        dim, centroids = backbone.dim, torch.from_numpy(vocabulary.centroids)
        learned = vocabulary.n_learned_tokens
        self.table = TokenTable(centroids, dim, alpha=settings.alpha, norm=input_norm, learned=learned)
        install(backbone.bare(), self.table, base)
        # Narrow item vectors have tokens of their width; those of the backbone's are read and written.
        self.bridge = ItemBridge(dim, settings.item_dim or dim)
        own = self.table
        if self.bridge.maps:
            own = TokenTable(centroids, self.bridge.width, alpha=settings.alpha, norm=1.0, learned=learned)
            self.narrow = own
        tokens, entities = (torch.from_numpy(rows) for rows in (vocabulary.item_tokens, vocabulary.item_vectors))
        further = None if features is None else torch.from_numpy(features)
        if settings.beta is None:
            raise AssertionError("a model's own settings leave nothing open")
        self.items = ItemVectors(own, tokens, entities, further, beta=settings.beta)
        self.index = TrieIndex(Trie.from_codes(vocabulary.item_codes))
        self.item_head, self.generated_by = ItemHead(settings.temperature), settings.generated_by
        self.samples = settings.samples_of(self.index.n_items)
        offsets = vocabulary.level_offsets.tolist()
        self.generation = GenerationHead(self.index, offsets, settings.temperature, dim, settings.normaliser)
        self.rating_head = RatingHead(dim) if tasks_of(settings.tasks, "rate") else None
        self._unit: tuple[tuple[object, ...], Tensor] | None = None

    def token_ids(self, oov_ids: Tensor) -> Tensor:
        """Token ids of the backbone's id space for OOV ids, int64, same shape."""
        return oov_ids + self.base

    @property
    def columns(self) -> slice:
        """Token ids of all OOV tokens, as a slice."""
        return slice(self.base, self.base + len(self.table.weight))

    def embed(
        self, ids: Tensor, items: Tensor, item_vectors: Tensor, place: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Input vectors `[B, L, d]`; where an item's last token stands, that item's vector.

        Items whose tuple is a prefix of another's are read by their shared tokens alone.

        Args:
            ids: int64 `[B, L]` token ids.
            items: int64 `[B, L]` item rows whose last token stands there, or -1.
            item_vectors: float `[C, w]` of `self.items`, of any length.
            place: Rows of `item_vectors` for item rows; None where they are the same.
        """
        vectors = self.backbone.embed(ids)
        if not self.leaf:
            return vectors
        if self.index.has_end:
            # The state behind such an item is asked whether the item ends there, so it must not have read which it is.
            items = items.masked_fill(self.index.above[items.clamp_min(0)], -1)
        read = items >= 0
        rows = items.clamp_min(0) if place is None else torch.where(read, place(items), 0)
        own = self.bridge.inputs(F.embedding(rows, item_vectors)) * self.input_norm
        return torch.where(read.unsqueeze(-1), own.to(vectors.dtype), vectors)

    def passage(self, batch: Batch, item_vectors: Tensor, place: Callable[[Tensor], Tensor] | None = None) -> Passage:
        """What the backbone reads of a batch, users folded from their items; arguments as in `embed`."""
        vectors = self.embed(batch.input_ids, batch.items, item_vectors, place)
        if len(batch.taken) > 0:
            rows = batch.taken if place is None else place(batch.taken)
            users = folded(F.embedding(rows, item_vectors), batch.taken_by, len(batch.user_row))
            own = self.bridge.inputs(users) * self.input_norm
            vectors = vectors.index_put((batch.user_row, batch.user_position), own.to(vectors.dtype))
        vectors = self.backbone.dropout(vectors)
        if batch.words.shape[1] == 0:
            return Passage(vectors, batch.attention_mask, batch.positions)
        words = self.backbone.embed(batch.words)
        return Passage(vectors, batch.attention_mask, batch.positions, words, batch.words_mask, batch.words_of)

    def forward(self, batch: Batch, *, shared: bool = True, text: bool = True, follow: bool = False) -> TargetScores:
        """Log-probabilities of a batch's targets; the loss of its text tokens if `text`; errors of its ratings.

        `shared` as in `target_scores`; `follow`: tokens follow the item head, by states that are read once more,
        without dropout and gradient, as inference reads them. By noisy ones they are learned for another model. A part
        of the rows is enough for so few vectors.
        """
        columns, rows = self._columns(batch, around=not follow)
        item_vectors = self.items(rows)
        states, text_loss = self._states(batch, item_vectors, text=text, rows=rows)
        scores = TargetScores(states.new_zeros(0), [], None)
        # Cosines over a small temperature are logits up to 14, too long for the eight bits of a bf16 product.
        with torch.autocast(batch.input_ids.device.type, enabled=False):
            if len(batch.targets) > 0:
                vectors = self._in_leaf_order(item_vectors, columns, rows)
                levels = self._levels(batch, states)
                calm = self._calm(batch, item_vectors, levels[0], rows) if follow else None
                scores = target_scores(self, levels, batch, columns, vectors, shared=shared, calm=calm)
            if len(batch.ratings) > 0 and self.rating_head is not None:
                rating = self.rating_head(states[batch.rating_row, batch.rating_position])
                scores = replace(scores, ratings=(rating - batch.ratings) ** 2)
        return scores if text_loss is None else replace(scores, text=text_loss, n_text=len(batch.text_ids))

    def read(self, batch: Batch, item_vectors: Tensor, *, text: bool = True) -> tuple[list[Tensor], Tensor | None]:
        """Unit states of the targets, one tensor per level, and the loss of text tokens if `text`.

        They are `[P, d]`; behind the first level `[A, d]`, for the targets that are written, where not all are.
        `item_vectors` are those of `self.items()`, float `[n_items, d]`.
        """
        states, text_loss = self._states(batch, item_vectors, text=text)
        return self._levels(batch, states), text_loss

    def text_log_probabilities(self, batch: Batch) -> Tensor:
        """Log-probability of each text token of a batch, `[T]`."""
        _states, hidden = self.backbone.read(self.passage(batch, self.items()), self._decoder_ids(batch))
        at = hidden[batch.text_row, batch.text_position]
        return self.backbone.text_log_probabilities(at, batch.text_ids, columns=self.base)

    def _columns(self, batch: Batch, *, around: bool) -> tuple[Columns, Tensor | None]:
        """What the item head is normalised over, and the items whose vectors are needed, sorted; None for all."""
        whole = all_columns(self.index, batch.targets, batch.labels), None
        if not self.training or not self.samples:
            return whole
        read = torch.cat([batch.items[batch.items >= 0], batch.taken])
        if len(batch.targets) == 0:  # one item where none is read, since no embedding is of no rows
            return whole[0], torch.unique(read) if len(read) > 0 else read.new_zeros(1)
        columns = sampled_columns(self.index, batch.targets, self.samples, batch.labels, around=around)
        if columns.leaves is None:
            return columns, None
        return columns, torch.unique(torch.cat([self.index.leaf_items[columns.leaves].long(), read]))

    def _in_leaf_order(self, item_vectors: Tensor, columns: Columns, rows: Tensor | None) -> Tensor:
        """Vectors of a step's columns, `[C, w]`."""
        if columns.leaves is None or rows is None:
            reordered: Tensor = Reordered.apply(item_vectors, self.index.leaf_items, self.index.leaf_of)
            return reordered
        return item_vectors.index_select(0, torch.searchsorted(rows, self.index.leaf_items[columns.leaves].long()))

    def _states(
        self, batch: Batch, item_vectors: Tensor, *, text: bool, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Unit states of all positions, `[B, L, d]`, and the mean loss of text tokens."""
        passage = self.passage(batch, item_vectors, None if rows is None else partial(torch.searchsorted, rows))
        decoder_ids = self._decoder_ids(batch)
        if text and len(batch.text_ids) > 0:
            states, hidden = self.backbone.read(passage, decoder_ids)
            at = hidden[batch.text_row, batch.text_position]
            return states, self.backbone.text_loss(at, batch.text_ids, columns=self.base)
        return self.backbone.states(passage, decoder_ids), None

    @torch.no_grad()
    def _calm(self, batch: Batch, item_vectors: Tensor, first: Tensor, rows: Tensor | None) -> Tensor:
        """States before the targets of some rows `[C, d]` as inference has them; `first` are all with dropout."""
        if not any(isinstance(part, nn.Dropout) and part.p > 0 for part in self.modules()):
            return first.detach()
        few = batch.first(-(-len(batch.input_ids) // CALM)) if self.index.uniform else batch
        if len(few.targets) == 0:  # rows of tasks without items may stand in front
            few = batch
        training = self.backbone.training
        self.backbone.eval()
        try:
            states, _ = self._states(few, item_vectors, text=False, rows=rows)
        finally:
            self.backbone.train(training)
        return states[few.state_row, few.state_position]

    def _levels(self, batch: Batch, states: Tensor) -> list[Tensor]:
        """Unit states of the targets, one tensor per level, out of all of a batch."""
        # An item with fewer tokens than others may end before the last level's position; that level is then unused.
        width, last = states.shape[1], states.shape[1] - 1
        first, written = batch.state_row * width, slice(None) if batch.answers is None else batch.answers
        rows = [first + batch.state_position]
        rows += [
            (first + (batch.state_position + level).clamp_max(last))[written] for level in range(1, self.index.depth)
        ]
        # One selection of rows for all levels: its gradient is a sum into rows, much faster than that of indexing.
        selected = states.reshape(-1, states.shape[2]).index_select(0, torch.cat(rows))
        return list(torch.split(selected, [len(one) for one in rows]))

    def _decoder_ids(self, batch: Batch) -> Tensor | None:
        """What a decoder reads of each row, int64 `[B, T]`: its start, then the target's tokens or the answer's."""
        if not self.backbone.is_encoder_decoder:
            return None
        start, tokens = self.backbone.decoder_start, self.items.tokens[batch.targets, :-1]
        longest = int(batch.text_position.max()) if len(batch.text_ids) > 0 else 0
        width = 1 + max(longest, tokens.shape[1] if len(tokens) > 0 else 0)
        # Behind the end of a row stands the start token again, where no state is read.
        ids = batch.input_ids.new_full((len(batch.input_ids), width + 1), start)
        ids[batch.state_row, 1 : 1 + tokens.shape[1]] = torch.where(tokens >= 0, self.token_ids(tokens), start)
        ids[batch.text_row, batch.text_position + 1] = batch.text_ids
        return ids[:, :width]

    @torch.no_grad()
    def start(self, batch: Batch) -> Prefix:
        """Reads prompts for inference."""
        vectors = self.leaf_vectors() if self.leaf else self.items.residual[:0]
        return self.backbone.start(self.passage(batch, vectors, self.index.leaf_of.__getitem__))

    @torch.no_grad()
    def advance(self, prefix: Prefix, source: Tensor, nodes: Tensor, level: int) -> Prefix:
        """Feeds the backbone the tokens that lead to trie nodes.

        Args:
            prefix: Result of `start` or `advance`; it stays as it is.
            source: int64 `[R]` row of `prefix` that each node continues.
            nodes: int `[R]` nodes.
            level: Level of the tokens, one less than the depth of the nodes.
        """
        return self.backbone.step(prefix, source, self.token_ids(self.generation.token_of(nodes, level)))

    @torch.no_grad()
    def leaf_vectors(self) -> Tensor:
        """Unit item vectors in leaf order, `[n_items, w]`; in evaluation mode kept until a weight changes."""
        # A catalogue of a million vectors takes longer to compose than to search. Assignments through `.data` are not
        # counted by torch; switching between training and evaluation forgets the vectors in any case.
        parts = [*self.items.parameters(), *self.items.table[0].parameters()]
        state = tuple((id(p), p.data_ptr(), p._version) for p in parts)  # noqa: SLF001
        if self._unit is None or self._unit[0] != state or self.training:
            self._unit = (state, F.normalize(self.items()[self.index.leaf_items], dim=-1))
        return self._unit[1]

    def train(self, mode: bool = True) -> Network:
        """Switches between training and evaluation; forgets kept vectors."""
        self._unit = None
        return super().train(mode)
