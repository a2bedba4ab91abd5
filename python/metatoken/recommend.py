"""`Recommender`: from users or histories to items, with titles, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from metatoken.data import Interactions, Sequences
from metatoken.errors import ArgumentError
from metatoken.evaluate.baselines import TransitionGraph
from metatoken.evaluate.fusion import Fusion
from metatoken.evaluate.ranking import top_k
from metatoken.evaluate.runner import DEPTH, read, spread
from metatoken.tasks.examples import collate
from metatoken.tasks.prompts import TASKS, TokenRows, seen_templates

if TYPE_CHECKING:
    from metatoken.model.module import MetaTokenModule
    from metatoken.tasks.examples import Batch

Model = Literal["fused", "item_head", "generation"]


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        rank: From 1.
        item: Raw id.
        title: Of the item table; empty where unknown.
        score: Probability under the model that was asked.
    """

    rank: int
    item: str
    title: str
    score: float


class Recommender:
    """Recommends with a trained model.

    Args:
        module: The model.
        history: What every user has seen; it makes the prompts, the seen filter and the transition prior.
        fusion: Weights of `model="fused"`; the stored ones of a run when it was loaded.

    Raises:
        ArgumentError: The history's items are not those of the vocabulary.
    """

    def __init__(self, module: MetaTokenModule, history: Interactions, fusion: Fusion | None = None) -> None:
        if history.items.raw != module.vocabulary.items.raw:
            raise ArgumentError("history", "expected the items of the vocabulary; read the log that it was fitted on")
        self.module = module.eval()
        self.history = history
        self.fusion = fusion or Fusion()
        self._sequences = history.sequences()
        self._prior = TransitionGraph.fit(history)

    @classmethod
    def load(cls, run: str | Path) -> Recommender:
        """Loads a run folder.

        Raises:
            ArtifactError: A part is missing or altered.
        """
        from metatoken.run import load_run

        loaded = load_run(run)
        return cls(loaded.module, loaded.split.log, loaded.fusion)

    def recommend(
        self,
        user: str | None = None,
        *,
        history: Sequence[str] | None = None,
        k: int = 10,
        model: Model = "fused",
        exclude_seen: bool = True,
    ) -> list[Recommendation]:
        """The k best items for a known user, or for anybody with a history.

        Args:
            user: Raw id. With `history`, only a name; without, the known history is used.
            history: Raw item ids, oldest first.
            k: How many.
            model: `fused`, `item_head`, or `generation` (beam search over the trie).
            exclude_seen: Leave out items of the history.

        Raises:
            UnknownIdError: The user or an item is unknown.
            ArgumentError: Neither user nor history, or k below 1.
        """
        if history is not None:
            rows = np.asarray(self.history.items.rows(list(history)), dtype=np.int32)
            return self._batch([rows], None, k, model, exclude_seen)[0]
        if user is None:
            raise ArgumentError("user", "expected a user id or a history, got neither")
        row = self.history.users.row(user)
        return self._batch([self._sequences[row]], np.array([row]), k, model, exclude_seen)[0]

    def recommend_many(
        self, users: Iterable[str], *, k: int = 10, model: Model = "fused", batch_size: int = 256
    ) -> dict[str, list[Recommendation]]:
        """The same for many known users, in their order.

        Raises:
            UnknownIdError: A user is unknown.
        """
        users = list(users)
        rows = self.history.users.rows(users)
        histories = [self._sequences[int(row)] for row in rows]
        lists = []
        for at in range(0, len(users), batch_size):
            part = slice(at, at + batch_size)
            lists += self._batch(histories[part], rows[part], k, model, True)
        return dict(zip(users, lists, strict=True))

    @torch.no_grad()
    def _batch(
        self, histories: list[np.ndarray], users: np.ndarray | None, k: int, model: Model, exclude_seen: bool
    ) -> list[list[Recommendation]]:
        if k < 1:
            raise ArgumentError("k", f"expected at least 1, got {k}")
        if model not in ("fused", "item_head", "generation"):
            raise ArgumentError("model", f"expected fused, item_head or generation, got {model!r}")
        if "sequential" not in self.module.tasks:
            raise ArgumentError(
                "model", "recommending from a history needs the task sequential among the model's tasks"
            )
        sequences = _sequences(histories)
        blocked = sequences if exclude_seen else _sequences([h[:0] for h in histories])
        batch = self._prompts(sequences, users)
        depth = max(DEPTH, k) if model == "generation" else DEPTH
        item, beams = read(self.module.network, batch, list(blocked), max(20, k), depth)
        scores = item.exp()
        if model == "generation":
            scores = spread(beams, item.shape[1])
            scores = scores.masked_fill(scores == 0, -torch.inf)
        elif model == "fused":
            prior = torch.from_numpy(self._prior.scores(sequences, np.arange(len(histories))))
            scores = self.fusion.mix(scores, spread(beams, item.shape[1]), prior)
        rows, values = top_k(scores, blocked, min(k, item.shape[1]))
        return [self._named(r, v) for r, v in zip(rows, values, strict=True)]

    def _prompts(self, sequences: Sequences, users: np.ndarray | None) -> Batch:
        """Sequential prompts; where the model reads user tokens, strangers get theirs from their items."""
        builder, template = self.module.builder, seen_templates("sequential")[0]
        encoder, vocabulary = builder.encoder, self.module.vocabulary
        tokens: list[np.ndarray | None] = [None] * len(sequences)
        if self.module.user_tokens != "none" and users is not None:
            tokens = [encoder.users.one(int(user)) for user in users]
        elif self.module.user_tokens != "none":
            folded = TokenRows(vocabulary.tokens_of_codes(vocabulary.user_codes_of(sequences)), encoder.base)
            tokens = [folded.one(row) for row in range(len(sequences))]
        examples = [builder.prompt(template, own, items) for own, items in zip(tokens, sequences, strict=True)]
        return collate(examples, [TASKS.index("sequential")] * len(examples), encoder.pad_id)

    def _named(self, rows: np.ndarray, scores: np.ndarray) -> list[Recommendation]:
        raw, titles = self.module.vocabulary.items.raw, self.module.vocabulary.titles
        return [
            Recommendation(rank, raw[row], titles[row] if titles else "", float(score))
            for rank, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), 1)
            if row >= 0
        ]


def _sequences(parts: list[np.ndarray]) -> Sequences:
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return Sequences(offsets, np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, dtype=np.int32))
