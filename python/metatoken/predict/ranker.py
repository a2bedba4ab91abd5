"""What scores items for a user: one way for evaluation and for serving.

Every ranker gives a distribution over the catalogue. A model ranks by its item head, by generation along the trie, or
by a mixture of both with a prior; `Reading` reads a batch of prompts once for all of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from metatoken.data.ragged import Sequences, check_rows
from metatoken.decode.beam import Recommendations, beam_search
from metatoken.model.heads.ranking import item_scores
from metatoken.model.heads.top import NOTHING, TOLERANCE, padded, settle, top_k
from metatoken.predict.partners import pooled
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from metatoken.model.model import MetaTokenModel
    from metatoken.model.network import Network
    from metatoken.predict.fusion import Fusion
    from metatoken.tasks.batch import Batch

    Rows = NDArray[Any]
    Lists = tuple[NDArray[np.int32], NDArray[np.float32]]
    """Item rows `[B, k]`, best first, -1 where no more are allowed, and their scores, minus infinity there."""

DEPTH = 100  # items to generate at least, as a search that looks for few finds worse ones
WIDTH = 20  # beams at least
BLOCK = 1 << 20  # scores that are mixed at once: they stay in the cache, and memory does not grow with the catalogue


class Ranker(Protocol):
    """Scores the catalogue for users by what they have seen."""

    def scores(self, history: Sequences, users: Rows) -> NDArray[np.float32]:
        """Distribution over the items for a batch of users.

        Args:
            history: What each user has seen, oldest first.
            users: Integer `[b]`, rows of `history`.

        Returns:
            float32 `[b, n_items]`, non-negative, each row sums to 1. Seen items are not removed.

        Raises:
            ArgumentError: `users` are no rows of `history`.
        """


class Reading:
    """A batch of prompts, read once for every way to rank.

    Args:
        network: In evaluation mode.
        batch: Prompts.
        gone: For each prompt the excluded item rows.
        only: For each prompt the only item rows that may, or None for all; None where no prompt has such a list.
        width: Beams at least.
        depth: Items to generate.
        seen: For each prompt the item rows of its history, by default `gone`. The mixture leaves them, and nothing
            else, out of what is generated for it, so that no filter changes a score of it.
    """

    def __init__(
        self,
        network: Network,
        batch: Batch,
        gone: Sequence[Rows],
        only: Sequence[Rows | None] | None = None,
        *,
        width: int = WIDTH,
        depth: int = DEPTH,
        seen: Sequence[Rows] | None = None,
    ) -> None:
        self.network, self.batch, self.gone, self.only = network, batch, gone, only
        self.width, self.depth = width, min(depth, network.index.n_items)
        self.seen = gone if seen is None else seen
        self.prefix = network.start(batch)

    @cached_property
    def item(self) -> torch.Tensor:
        """Log-probabilities of the item head, float `[B, n_items]`."""
        return item_scores(self.network, self.batch, self.prefix)

    @cached_property
    def beams(self) -> Recommendations:
        """The `depth` best generated items of each prompt."""
        return self._generated(None, self.depth)

    @cached_property
    def blocked(self) -> Sequences:
        """Item rows that no list holds, for scores of the whole catalogue."""
        only = self.only or [None] * len(self.gone)
        return Sequences.of(
            _blocked(gone, allowed, self.network.index.n_items) for gone, allowed in zip(self.gone, only, strict=True)
        )

    def item_head(self, k: int) -> Lists:
        """The k best by the item head, with log-probabilities, which do not underflow: k items come if k exist."""
        return top_k(self.item, self.blocked, k, tolerance=TOLERANCE, log=True)

    def generation(self, k: int) -> Lists:
        """The k best of the `depth` best generated, with log-probabilities.

        With `model.generated_by: items` these are the item head's. A first token stands for a hundred items with one
        vector, and its probability is the weakest factor of an item's: beams tell where the items are better than which
        of them comes first.
        """
        if self.network.generated_by == "tokens":
            return _lists(self.beams, k)
        items = self.beams.items
        own = self.item.gather(1, items.clamp_min(0)).masked_fill(items < 0, -torch.inf)
        order = torch.argsort(own, dim=1, descending=True, stable=True)
        return _lists(Recommendations(items.gather(1, order), own.gather(1, order)), k)

    def shared_tokens(self, k: int) -> Lists:
        """The k best generated by shared tokens alone, as published (`leaf: off`)."""
        return _lists(self._generated(False, k), k)

    def fused(self, fusion: Fusion, prior: NDArray[np.float32], k: int, partners: Sequence[torch.Tensor] = ()) -> Lists:
        """The k best of the fused list, with probabilities.

        Args:
            fusion: Weights.
            prior: float32 `[B, n_items]` of the prior.
            k: How many.
            partners: Log-probabilities of partners' item heads, float `[B, n_items]` each.
        """
        parts = []
        for begin in range(0, len(prior), few := max(1, BLOCK // self.network.index.n_items)):
            rows = slice(begin, begin + few)
            mixed, blocked = self.mixture(fusion, prior, partners, rows), self.blocked.take(range(len(prior))[rows])
            parts.append(top_k(mixed, blocked, k, tolerance=TOLERANCE, log=True))
        items, logs = (np.concatenate(part) for part in zip(*parts, strict=True))
        return items, np.where(items == NOTHING, logs, np.exp(logs))

    def mixture(
        self,
        fusion: Fusion,
        prior: NDArray[np.float32],
        partners: Sequence[torch.Tensor] = (),
        rows: slice = slice(None),
    ) -> torch.Tensor:
        """Log-probabilities of the fused list, float `[b, n_items]`; nothing is generated for a weight of 0.

        The arguments are those of `fused`; only `rows` of the batch are looked at.
        """
        known = torch.from_numpy(prior[rows]).to(self.item.device)
        generated = self.generated[rows] if fusion.generation > 0 else None
        return fusion.scores(pooled(self.item[rows], [one[rows] for one in partners]), known, generated)

    @cached_property
    def generated(self) -> torch.Tensor:
        """Generated items as probabilities over the catalogue, float `[B, n_items]`; 0 where nothing was generated."""
        if self.only is None and self.seen is self.gone:
            beams = self.beams
        else:
            beams = self._generated(None, self.depth, filtered=False)
        items, scores = beams.items, beams.scores
        dense = scores.new_zeros(len(items), self.network.index.n_items)
        return dense.scatter_add_(1, items.clamp_min(0), scores.exp().masked_fill(items < 0, 0.0))

    def _generated(self, leaf: bool | None, k: int, *, filtered: bool = True) -> Recommendations:
        return beam_search(
            self.network,
            self.batch,
            self.gone if filtered else self.seen,
            allowed=self.only if filtered else None,
            k=k,
            width=self.width,
            leaf=leaf,
            prefix=self.prefix,
        )


class ModelRanker:
    """A trained model as a ranker.

    Args:
        module: The model.
        prior: Prior of the mixture.
        fusion: Weights of the mixture.
        batch_size: Prompts that are read at once.
    """

    def __init__(self, module: MetaTokenModel, prior: Ranker, fusion: Fusion, *, batch_size: int = 256) -> None:
        self.module, self.prior, self.fusion, self.batch_size = module.eval(), prior, fusion, batch_size

    @torch.no_grad()
    def scores(self, history: Sequences, users: Rows) -> NDArray[np.float32]:
        """See `Ranker`."""
        rows, template = check_rows(users, len(history)), find_task("sequential").templates[0]
        nothing = np.zeros(len(rows), dtype=np.int64)
        data = EvaluationBatches(self.module.reader, template, rows, nothing, history, batch_size=self.batch_size)
        parts = [np.zeros((0, self.module.vocabulary.n_items), dtype=np.float32)]
        for one in data:
            reading = Reading(self.module.network, one.batch, [seen[:0] for seen in one.seen])
            mixed = reading.mixture(self.fusion, self.prior.scores(history, one.users))
            parts.append(torch.softmax(mixed, dim=1).cpu().numpy())
        return np.concatenate(parts)


def _lists(beams: Recommendations, k: int) -> Lists:
    items, scores = settle(beams.items.cpu().numpy().astype(np.int32), beams.scores.cpu().numpy())
    return padded(items, k, NOTHING), padded(scores, k, -np.inf)


def _blocked(gone: Rows, only: Rows | None, n_items: int) -> Rows:
    """Item rows to leave out of a dense row, each once."""
    if only is None:
        return np.unique(gone)
    blocked = np.ones(n_items, dtype=bool)
    blocked[only] = False
    blocked[gone] = True
    return np.flatnonzero(blocked)
