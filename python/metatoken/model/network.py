"""The network: backbone, OOV tokens and heads as one plain `nn.Module`, without Lightning.

prompt ids -> table vectors (+ leaf vectors at the items' last tokens) -> backbone -> unit states -> heads
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metatoken.model.backbone import Backbone, Prefix
from metatoken.model.embedding import TokenTable, install
from metatoken.model.heads import GenerationHead, ItemHead, ItemVectors, TrieIndex
from metatoken.model.objective import Scores, target_scores

if TYPE_CHECKING:
    from metatoken.decode.trie import Trie
    from metatoken.tasks.examples import Batch
    from metatoken.tokens.vocabulary import Vocabulary


class Network(nn.Module):
    """Scores items and their tokens given prompts.

    Args:
        backbone: The language model.
        vocabulary: Tokens of users and items.
        trie: The item trie of the vocabulary.
        base: First OOV id of the backbone's id space.
        temperature: Of both heads.
        alpha: Weight of projected centroids.
        input_norm: Length of OOV rows at the input.
        leaf: Whether an item's last token carries its own vector at the input and at the output.
        features: float `[n_items, f]` further vectors of items, projected into theirs.
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        trie: Trie,
        *,
        base: int,
        temperature: float = 0.07,
        alpha: float = 1.0,
        input_norm: float,
        leaf: bool = True,
        features: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.base = base
        self.leaf = leaf
        self.input_norm = input_norm
        self.table = TokenTable(torch.from_numpy(vocabulary.centroids), backbone.dim, alpha=alpha, norm=input_norm)
        install(backbone.bare(), self.table, base)
        self.items = ItemVectors(
            self.table,
            torch.from_numpy(vocabulary.item_tokens),
            torch.from_numpy(vocabulary.vectors[vocabulary.n_users :]),
            features,
        )
        self.index = TrieIndex(trie)
        self.item_head = ItemHead(temperature)
        self.generation = GenerationHead(self.index, vocabulary.level_offsets.tolist(), temperature)

    def embed(self, ids: Tensor, leaves: Tensor, item_vectors: Tensor) -> Tensor:
        """Input vectors `[B, L, d]`; positions with a leaf carry that item's vector.

        Args:
            ids: int64 `[B, L]` token ids.
            leaves: int64 `[B, L]` item rows or -1.
            item_vectors: float `[n_items, d]` of `self.items()`.
        """
        vectors = self.backbone.embed(ids)
        if not self.leaf:
            return vectors
        own = F.embedding(leaves.clamp_min(0), F.normalize(item_vectors, dim=-1) * self.input_norm)
        return torch.where((leaves >= 0).unsqueeze(-1), own.to(vectors.dtype), vectors)

    def forward(self, batch: Batch, *, shared: bool = True, text: bool = True) -> Scores:
        """Log-probabilities of a batch's targets, and the loss of its title tokens if `text`."""
        item_vectors = self.items()
        levels, text_loss = self.read(batch, item_vectors, text=text)
        # Cosines over a small temperature are logits up to 14, too long for the eight bits of a bf16 product.
        with torch.autocast(batch.input_ids.device.type, enabled=False):
            scores = target_scores(
                levels,
                batch.targets,
                item_head=self.item_head,
                generation=self.generation,
                rows=self.table(),
                vectors=item_vectors[self.index.leaf_items],
                shared=shared,
            )
        return scores if text_loss is None else replace(scores, text=text_loss)

    def read(self, batch: Batch, item_vectors: Tensor, *, text: bool = True) -> tuple[list[Tensor], Tensor | None]:
        """Unit states `[P, d]` of the targets, one tensor a level, and the loss of title tokens if `text`.

        Args:
            batch: Prompts with their targets.
            item_vectors: float `[n_items, d]` of `self.items()`.
            text: Whether to compute the loss of title tokens where there are any.
        """
        vectors = self.embed(batch.input_ids, batch.leaves, item_vectors)
        text_loss = None
        if text and len(batch.text_ids) > 0:
            states, hidden = self.backbone.read(vectors, batch.attention_mask)
            text_loss = self.backbone.text_loss(
                hidden[batch.text_row, batch.text_position], batch.text_ids, columns=self.base
            )
            if batch.text_weight is not None:
                text_loss = text_loss * batch.text_weight
        else:
            decoder_ids = self._decoder_ids(batch.targets) if self.backbone.is_encoder_decoder else None
            states = self.backbone.states(vectors, batch.attention_mask, decoder_ids)
        levels = [states[batch.state_row, batch.state_position + level] for level in range(self.index.depth)]
        return levels, text_loss

    def _decoder_ids(self, targets: Tensor) -> Tensor:
        start = targets.new_full((len(targets), 1), self.backbone.decoder_start)
        return torch.cat([start, self.items.tokens[targets, :-1] + self.base], dim=1)

    @torch.no_grad()
    def start(self, batch: Batch) -> Prefix:
        """Reads prompts for inference."""
        return self.backbone.start(self.embed(batch.input_ids, batch.leaves, self.items()), batch.attention_mask)

    @torch.no_grad()
    def leaf_vectors(self) -> Tensor:
        """Unit item vectors in leaf order, `[n_items, d]`."""
        return F.normalize(self.items()[self.index.leaf_items], dim=-1)
