"""Exact ranking by the generation head: every item of the catalogue scored, level by level along the trie.

Items that share a prefix share its backbone steps, so two levels cost one step per first token instead of one per
item. It is what the beam is checked against, and the better choice wherever the catalogue is small enough:
nothing is ever cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metatoken.decode.beam import Decoder, Recommendations, as_table
from metatoken.decode.filters import ItemFilter
from metatoken.decode.search import Candidates, best, choices, ranges, roots, segment_log_sum_exp
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike

    from metatoken.model.network import Network
    from metatoken.model.prefix import Prefix
    from metatoken.tasks.batch import Batch

ROWS = 512  # prefixes that the backbone continues at once


@torch.no_grad()
def exact_scores(
    network: Network, batch: Batch, *, leaf: bool | None = None, prefix: Prefix | None = None, rows: int = ROWS
) -> Tensor:
    """Log-probabilities of all items by the generation head, float `[B, n_items]` in item-row order.

    Arguments as in `beam_search`; `rows` prefixes are continued at once, which bounds the memory, not the result.
    """
    return _Walk(network, batch, leaf, prefix, rows).scores[:, network.index.leaf_of]


@torch.no_grad()
def exact_ranking(
    network: Network,
    batch: Batch,
    blocked: Sequence[np.ndarray] | None = None,
    *,
    allowed: Sequence[np.ndarray | None] | None = None,
    catalogue: ArrayLike | None = None,
    k: int = 10,
    leaf: bool | None = None,
    prefix: Prefix | None = None,
) -> Recommendations:
    """The k most probable allowed items of each prompt, none overlooked; arguments and ties as in `beam_search`.

    Raises:
        ArgumentError: k below 1, lists of another length than the batch, or unknown rows.
    """
    if k < 1:
        raise ArgumentError("k", f"expected at least 1, got {k}")
    n, index = len(batch.input_ids), network.index
    filters = ItemFilter(index, n, blocked=blocked, allowed=allowed, catalogue=catalogue)
    scores = _Walk(network, batch, leaf, prefix).scores
    owner = torch.arange(n, device=scores.device)[:, None].expand(-1, index.n_items)
    leaves = torch.arange(index.n_items, device=owner.device).expand_as(owner)
    there = filters.count(owner, leaves, leaves + 1) > 0
    every = Candidates(owner[there], leaves[there].int(), scores[there], owner[there])
    return as_table(network, *best(every, k, n), n, k)


class _Walk(Decoder):
    """Walks the whole trie for a batch; `scores` are float `[B, n_items]` in leaf order."""

    def __init__(
        self, network: Network, batch: Batch, leaf: bool | None, prefix: Prefix | None, rows: int = ROWS
    ) -> None:
        super().__init__(network, batch, leaf, prefix)
        self.rows = rows
        self.scores = self.states.new_full((len(self.states), network.index.n_items), -torch.inf)
        self._visit(self.prefix, roots(self.prefix.last), 0)

    def _visit(self, prefix: Prefix, nodes: Candidates, level: int) -> None:
        """Scores all items below nodes of depth `level`, whose states are the rows of `prefix`."""
        index = self.network.index
        if self.leaf:
            leafy = index.leafy[nodes.ids]
            self._leaves(nodes.at(leafy))
            nodes = nodes.at(~leafy)
        if level > 0:
            # In parts, each to the bottom before the next: what is held at a time does not grow with the catalogue.
            for at in range(0, len(nodes), self.rows):
                part = nodes.at(torch.arange(at, min(at + self.rows, len(nodes)), device=nodes.rows.device))
                self._expand(self.network.advance(prefix, part.rows, part.ids, level - 1), part, level)
        elif len(nodes):
            self._expand(prefix, nodes, level)

    def _expand(self, prefix: Prefix, nodes: Candidates, level: int) -> None:
        logits = self.network.generation.level_logits(prefix.last, level, self.scaled)
        rows, child, leaf, scores = choices(self.network.index, nodes.ids, logits)
        owner, scores = nodes.owner[rows], nodes.scores[rows] + scores
        ends = leaf >= 0
        self.scores[owner[ends], leaf[ends]] = scores[ends]
        inner = Candidates(owner, child.int(), scores, rows).at(~ends)
        if len(inner):
            self._visit(prefix, inner, level + 1)

    def _leaves(self, nodes: Candidates) -> None:
        """Scores of items below leafy nodes, by leaf vectors."""
        index = self.network.index
        if len(nodes) == 0:
            return
        logits = self.states @ self.network.leaf_vectors().T
        rows, leaf = ranges(index.leaf_begin[nodes.ids], index.leaf_end[nodes.ids])
        own = logits[nodes.owner[rows], leaf]
        total = segment_log_sum_exp(own, rows, len(nodes))
        self.scores[nodes.owner[rows], leaf] = own + (nodes.scores - total)[rows]
