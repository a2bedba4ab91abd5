"""One step of the search: the choices of all beams, and the best of them for each prompt.

Beams and candidates are flat lists, each with the prompt that owns it, so nothing is padded to the widest node and
prompts may hold different numbers of beams. On the CPU a step runs in the core, which keeps short lists while it walks
the children; elsewhere the same selection is made of torch operations. Both order by score, then by lower node or leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from metatoken.decode.filters import ItemFilter
    from metatoken.model.heads.trie_index import TrieIndex

    Logits = tuple[Tensor, Tensor | None, Tensor | None]
    """By code `[R, C]`, of ending `[R]`, log-normaliser `[R]`: `GenerationHead.level_logits`."""

CHUNK = 1 << 16  # leaf vectors gathered at once


@dataclass(frozen=True)
class Candidates:
    """Nodes, or leaves, under consideration; flat, ordered by prompt.

    Attributes:
        owner: int64 `[R]`, the prompt of each.
        ids: int32 `[R]`, nodes or leaves.
        scores: float32 `[R]`, log-probabilities of their paths.
        rows: int64 `[R]`, the beam that each came from.
    """

    owner: Tensor
    ids: Tensor
    scores: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, places: Tensor) -> Candidates:
        """The ones at `places` (indices or a mask)."""
        return Candidates(self.owner[places], self.ids[places], self.scores[places], self.rows[places])

    @classmethod
    def join(cls, parts: list[Candidates]) -> Candidates:
        """All of several lists, no longer ordered by prompt."""
        names = ("owner", "ids", "scores", "rows")
        return cls(*[torch.cat([getattr(part, name) for part in parts]) for name in names])


def roots(start: Tensor) -> Candidates:
    """One beam at the root for each prompt; `start` are their states `[B, d]`."""
    every = torch.arange(len(start), device=start.device)
    nodes = torch.zeros(len(start), dtype=torch.int32, device=start.device)
    return Candidates(every, nodes, torch.zeros(len(start), device=start.device), every)


def best(candidates: Candidates, limit: int, prompts: int) -> tuple[Candidates, Tensor]:
    """The `limit` best of each prompt, by score and then by lower id, ordered; and the rank of each, from 0."""
    order = torch.argsort(candidates.ids, stable=True)
    order = order[torch.argsort(candidates.scores[order], descending=True, stable=True)]
    order = order[torch.argsort(candidates.owner[order], stable=True)]
    counts = torch.bincount(candidates.owner, minlength=prompts)
    owner = candidates.owner[order]
    rank = torch.arange(len(order), device=order.device) - (torch.cumsum(counts, 0) - counts)[owner]
    keep = rank < limit
    return candidates.at(order[keep]), rank[keep]


def choices(index: TrieIndex, nodes: Tensor, logits: Logits) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All choices at nodes `[R]`: row of each, node chosen (the row's own for ending), leaf or -1, log-probability."""
    values, end, total = logits
    rows, child = ranges(index.first_child[nodes], index.first_child[nodes + 1])
    scores = values[rows, index.code[child]]
    leaf = torch.where(index.first_child[child] == index.first_child[child + 1], index.terminal[child], -1)
    if end is not None:
        ending = torch.nonzero(index.terminal[nodes] >= 0)[:, 0]
        rows, child = torch.cat([rows, ending]), torch.cat([child, nodes[ending].to(child.dtype)])
        leaf = torch.cat([leaf, index.terminal[nodes[ending]]])
        scores = torch.cat([scores, end[ending]])
    total = segment_log_sum_exp(scores, rows, len(nodes)) if total is None else total
    return rows, child, leaf, scores - total[rows]


def ranges(begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """All numbers of the ranges `begin[r]..end[r]` in a row, and the range of each: `(rows, numbers)`, int64."""
    begin, counts = begin.long(), (end - begin).long()
    rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    starts = torch.cumsum(counts, 0) - counts
    return rows, torch.arange(len(rows), device=rows.device) + (begin - starts)[rows]


def segment_log_sum_exp(values: Tensor, rows: Tensor, n: int) -> Tensor:
    """`log sum e^v` over the values of each row, `[n]`."""
    most = values.new_full((n,), -torch.inf).scatter_reduce(0, rows, values, "amax")
    return most + torch.log(torch.zeros_like(most).index_add(0, rows, torch.exp(values - most[rows])))


def best_children(
    index: TrieIndex, beams: Candidates, logits: Logits, filters: ItemFilter, found: Tensor, k: int, width: int
) -> tuple[Candidates, Candidates]:
    """The best inner nodes and the best k items among the choices at all beams.

    `width` nodes with an allowed item below are kept for each prompt, and more until the nodes kept, the items here and
    those found before are worth k items.

    Args:
        index: The trie.
        beams: Nodes with children.
        logits: Those of the next token of each beam.
        filters: Allowed items.
        found: int64 `[B]`, items that each prompt has already.
        k: Items wanted.
        width: Beams at least.

    Returns:
        Nodes and leaves, ordered by prompt, then by score.
    """
    if index.code.device.type == "cpu":
        arrays: Any = tuple(None if part is None else part.float().contiguous().numpy() for part in logits)
        inner, items = index.trie.native.best_children(
            _beams(beams, len(found)), arrays, filters.native(), found.numpy(), k, width
        )
        return _candidates(inner), _candidates(items)
    return select_children(index, beams, logits, filters, found, k, width)


def select_children(
    index: TrieIndex, beams: Candidates, logits: Logits, filters: ItemFilter, found: Tensor, k: int, width: int
) -> tuple[Candidates, Candidates]:
    """`best_children` in torch operations, on any device."""
    prompts = len(found)
    rows, child, leaf, scores = choices(index, beams.ids, logits)
    owner, scores = beams.owner[rows], beams.scores[rows] + scores
    ends = leaf >= 0
    begin = torch.where(ends, leaf, index.leaf_begin[child])
    allowed = filters.count(owner, begin, torch.where(ends, leaf + 1, index.leaf_end[child]))
    item = torch.nonzero(ends & (allowed > 0))[:, 0]
    items, _ = best(Candidates(owner[item], leaf[item], scores[item], rows[item]), k, prompts)
    node = torch.nonzero(~ends & (allowed > 0))[:, 0]
    # The beam of a candidate is looked up later; until then `rows` says which candidate it is.
    inner, rank = best(Candidates(owner[node], child[node].int(), scores[node], node), max(width, k), prompts)
    worth = allowed[inner.rows]
    before = torch.cumsum(worth, 0) - worth
    counts = torch.bincount(inner.owner, minlength=prompts)
    before = before - before[(torch.cumsum(counts, 0) - counts)[inner.owner]]
    held = found + torch.bincount(items.owner, minlength=prompts)
    kept = inner.at((rank < width) | (held[inner.owner] + before < k))
    return Candidates(kept.owner, kept.ids, kept.scores, rows[kept.rows]), items


def best_leaves(
    index: TrieIndex, beams: Candidates, states: Tensor, vectors: Tensor, filters: ItemFilter, k: int
) -> Candidates:
    """The best k items below all beams of each prompt by leaf vectors.

    Args:
        index: The trie.
        beams: Their nodes' items are scored, by a softmax over the items of each node.
        states: float `[B, d]` unit states before the item, over the temperature.
        vectors: float `[n_items, d]` unit vectors in leaf order.
        filters: Allowed items.
        k: Items wanted.

    Returns:
        Leaves, ordered by prompt, then by score.
    """
    if index.code.device.type == "cpu":
        prompts = len(states)
        arrays = (states.float().contiguous().numpy(), vectors.float().contiguous().numpy())
        found = index.trie.native.best_leaves(_beams(beams, prompts), *arrays, filters.native(), k)
        return _candidates(found)
    return select_leaves(index, beams, states, vectors, filters, k)


def select_leaves(
    index: TrieIndex, beams: Candidates, states: Tensor, vectors: Tensor, filters: ItemFilter, k: int
) -> Candidates:
    """`best_leaves` in torch operations, on any device."""
    rows, leaf = ranges(index.leaf_begin[beams.ids], index.leaf_end[beams.ids])
    owner = beams.owner[rows]
    parts = [
        (states[owner[at : at + CHUNK]] * vectors[leaf[at : at + CHUNK]]).sum(1) for at in range(0, len(leaf), CHUNK)
    ]
    logits = torch.cat([states.new_zeros(0), *parts]).float()
    scores = logits + (beams.scores - segment_log_sum_exp(logits, rows, len(beams)))[rows]
    there = torch.nonzero(filters.count(owner, leaf, leaf + 1) > 0)[:, 0]
    return best(Candidates(owner[there], leaf[there].int(), scores[there], rows[there]), k, len(states))[0]


def _beams(beams: Candidates, prompts: int) -> Any:
    offsets = np.searchsorted(beams.owner.numpy(), np.arange(prompts + 1))
    return offsets, beams.ids.numpy(), beams.scores.numpy()


def _candidates(arrays: tuple[Any, ...]) -> Candidates:
    counts, ids, scores, rows = arrays
    owner = np.repeat(np.arange(len(counts)), counts)
    return Candidates(*[torch.from_numpy(array) for array in (owner, ids, scores, rows)])
