"""What the item head normalises over in a step: all items, or a sample that stands for them.

A sample is made of two strata. `B`, the step's targets, is there in full. Where their last tokens are trained by these
columns, `B` also has all items that they are told from, those below their trie nodes; in a step of thousands of targets
that is most of a catalogue, so it is done only where it must be. Of the others `S` of size k is drawn uniformly, each
set of that size with equal probability, so an item is in it with probability `Q = k / (n - |B|)`, and

    sum_{j in B} exp z_j + (1 / Q) sum_{j in S} exp z_j

has the sum over all items as its expectation. In logits that is the correction `- log Q` on the drawn ones (Bengio and
Senecal 2008). The normaliser below a node is exact where its items are all there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from metatoken.model.heads.trie_index import TrieIndex


class Columns(NamedTuple):
    """Items of a step, in leaf order, and where its targets are among them.

    Attributes:
        leaves: int64 `[C]`, sorted places in leaf order; None for all.
        targets: int64 `[P]`, columns of the targets.
        begin: int64 `[P]`, first column below the node that a target's last token is chosen at.
        end: int64 `[P]`, the column behind the last; an empty slice where an item has no such node.
        bias: float `[C]`, `- log Q` of each; None for all.
        labels: int64 `[P]`, columns of the labels beside the targets; None without any.
        around: Whether the items below these nodes are among the columns; else the slices are empty.
    """

    leaves: Tensor | None
    targets: Tensor
    begin: Tensor
    end: Tensor
    bias: Tensor | None
    labels: Tensor | None = None
    around: bool = True


def all_columns(index: TrieIndex, targets: Tensor, labels: Tensor | None = None) -> Columns:
    """Every item; `targets` and `labels` are int64 `[P]` item rows."""
    level = index.leaf_level[targets]
    node = index.path[targets].gather(1, level.clamp_min(0)[:, None]).squeeze(1).clamp_min(0).long()
    begin, end = index.leaf_begin[node].long(), index.leaf_end[node].long()
    beside = None if labels is None else index.leaf_of[labels]
    return Columns(None, index.leaf_of[targets], begin, torch.where(level >= 0, end, begin), None, beside)


def sampled_columns(
    index: TrieIndex, targets: Tensor, samples: int, labels: Tensor | None = None, *, around: bool = True
) -> Columns:
    """The targets and about `samples` further items, drawn by torch's generator.

    Every item, as `all_columns` has it, where the sample would be no smaller than half of them.

    Args:
        index: The item trie.
        targets: int64 `[P]` item rows.
        samples: Draws; what is drawn twice, or is there in any case, counts once.
        labels: int64 `[P]` item rows, which are there as targets are.
        around: Also take all items below the targets' nodes.
    """
    whole, n = all_columns(index, targets, labels), index.n_items
    beside = whole.targets[:0] if whole.labels is None else whole.labels
    nodes = union(whole.begin, whole.end) if around else whole.targets[:0]
    near = torch.unique(torch.cat([nodes, whole.targets, beside]))
    drawn = torch.unique(torch.randint(n, (samples,), device=targets.device))
    drawn = drawn[~torch.isin(drawn, near, assume_unique=True)]
    if 2 * (len(near) + len(drawn)) > n or len(drawn) == 0:
        return whole
    leaves, order = torch.cat([near, drawn]).sort()
    correction = math.log((n - len(near)) / len(drawn))
    bias = torch.where(order < len(near), 0.0, correction)
    at, begin, end = (torch.searchsorted(leaves, one) for one in (whole.targets, whole.begin, whole.end))
    if not around:
        begin, end = torch.zeros_like(at), torch.zeros_like(at)
    return Columns(leaves, at, begin, end, bias, None if labels is None else torch.searchsorted(leaves, beside), around)


def union(begin: Tensor, end: Tensor) -> Tensor:
    """Places of ranges, int64; ranges that are given twice are taken once."""
    ranges = torch.unique(torch.stack([begin, end], 1), dim=0)
    sizes = ranges[:, 1] - ranges[:, 0]
    first = torch.repeat_interleave(ranges[:, 0] - (sizes.cumsum(0) - sizes), sizes)
    return first + torch.arange(len(first), device=begin.device)
