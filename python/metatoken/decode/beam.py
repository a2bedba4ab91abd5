"""Beam search over the item trie: never an invalid id, never a seen item, never the whole vocabulary.

A beam carries its trie node. At every level only the children of the beams' nodes are scored (a softmax over those
children, as in training), nodes without an allowed item below them are dropped *before* the beams are cut, and the cut
is widened until the kept nodes hold at least k allowed items. So k items come back whenever k are allowed. Filters
remove candidates; they never change a probability (DESIGN decision 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.model.backbone import Prefix
    from metatoken.model.heads import TrieIndex
    from metatoken.model.network import Network
    from metatoken.tasks.examples import Batch


DENSE = 1 << 26  # flags for every prompt and item up to so many bytes; a search in the sorted keys beyond


class Blocked:
    """Items that may not be recommended, per prompt; answers range queries over trie leaves.

    Args:
        index: The trie.
        items: For each prompt the item rows to leave out, int `[any]`; repeats allowed.
    """

    def __init__(self, index: TrieIndex, items: Sequence[np.ndarray]) -> None:
        self.n_items = len(index.leaf_items)
        self.n_prompts = len(items)
        device = index.leaf_items.device
        rows = np.repeat(np.arange(len(items)), [len(i) for i in items])
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *items]).astype(np.int64)
        leaves = index.leaf_of[torch.from_numpy(flat).to(device)]
        self.keys = torch.unique(torch.from_numpy(rows).to(device) * self.n_items + leaves)

    def count(self, rows: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """Blocked leaves of prompt `rows` in `begin..end`, elementwise."""
        offset = rows * self.n_items
        return torch.searchsorted(self.keys, offset + end) - torch.searchsorted(self.keys, offset + begin)

    def contains(self, rows: Tensor, leaves: Tensor) -> Tensor:
        """Whether a leaf is blocked for prompt `rows`, bool, elementwise."""
        if len(self.keys) == 0:
            return torch.zeros_like(leaves, dtype=torch.bool)
        keys = rows * self.n_items + leaves
        size = self.n_prompts * self.n_items
        if size <= DENSE:
            flags = torch.zeros(size, dtype=torch.bool, device=keys.device)
            flags[self.keys] = True
            return flags[keys]
        place = torch.searchsorted(self.keys, keys).clamp_max(len(self.keys) - 1)
        found: Tensor = self.keys[place] == keys
        return found


@dataclass(frozen=True)
class Recommendations:
    """Best items of each prompt.

    Attributes:
        items: int64 `[B, k]` item rows, best first, -1 where fewer than k are allowed.
        scores: float `[B, k]` log-probabilities, minus infinity at -1.
    """

    items: Tensor
    scores: Tensor


@dataclass(frozen=True)
class _Beams:
    """Nodes under consideration and the log-probabilities of their paths, each `[B, W]`."""

    nodes: Tensor
    scores: Tensor


@torch.no_grad()
def beam_search(
    network: Network,
    batch: Batch,
    blocked: Sequence[np.ndarray],
    *,
    k: int = 10,
    width: int = 20,
    leaf: bool | None = None,
    prefix: Prefix | None = None,
) -> Recommendations:
    """The k most probable allowed items of each prompt, by the generation head.

    Args:
        network: In evaluation mode.
        batch: Prompts.
        blocked: Item rows to leave out, one array a prompt.
        k: How many items.
        width: Beams kept at a level at least.
        leaf: Score the last token with leaf vectors; None follows the network.
        prefix: What `network.start(batch)` returned, to read prompts once for several uses. A search of more than
            two levels, or without leaf vectors, consumes it.

    Raises:
        ArgumentError: k or width below 1, or `blocked` of another length than the batch.
    """
    if k < 1 or width < 1:
        raise ArgumentError("k" if k < 1 else "width", f"expected at least 1, got {min(k, width)}")
    if len(blocked) != len(batch.input_ids):
        raise ArgumentError(
            "blocked", f"expected one array for each of {len(batch.input_ids)} prompts, got {len(blocked)}"
        )
    leaf = network.leaf if leaf is None else leaf
    prefix = network.start(batch) if prefix is None else prefix
    index, rows = network.index, network.table()
    filters = Blocked(index, blocked)
    start = prefix.last
    states = start[:, None, :]
    beams = _Beams(index.code.new_zeros(len(start), 1), start.new_zeros(len(start), 1))
    for level in range(index.depth - 1):
        scores, children = _expand(network, states, beams, level, rows)
        fan = scores.shape[2]
        beams, where = _cut(index, filters, scores.flatten(1), children.flatten(1), k, width)
        # A dead beam (score -inf) points at some real node of its level, so that no padding is ever expanded.
        beams = _Beams(beams.nodes.where(~beams.scores.isneginf(), index.path[0, level + 1]), beams.scores)
        if level < index.depth - 2 or not leaf:
            prefix = _advance(network, prefix, beams, where // fan, level)
            states = prefix.last.view(*beams.nodes.shape, -1)
    scores, leaves = _by_leaf(network, start, beams) if leaf else _by_token(network, states, beams, rows)
    who = torch.arange(len(start), device=leaves.device)[:, None]
    gone = filters.contains(who, leaves)
    best, where = _top(scores.masked_fill(gone, -torch.inf), k)
    items = index.leaf_items[leaves.gather(1, where)].masked_fill(best.isneginf(), -1)
    pad = k - items.shape[1]
    return Recommendations(
        torch.nn.functional.pad(items, (0, pad), value=-1),
        torch.nn.functional.pad(best, (0, pad), value=-torch.inf),
    )


def _expand(network: Network, states: Tensor, beams: _Beams, level: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Path scores and node ids of all children of all beams, each `[B, W, C]`."""
    scores, children = network.generation.children_scores(states.flatten(0, 1), beams.nodes.flatten(), level, rows)
    shape = (*beams.nodes.shape, -1)
    return beams.scores[:, :, None] + scores.view(shape), children.view(shape)


def _cut(
    index: TrieIndex, filters: Blocked, scores: Tensor, nodes: Tensor, k: int, width: int
) -> tuple[_Beams, Tensor]:
    """Keeps the best nodes that hold allowed items; returns them and the place of each among the candidates."""
    begin, end = index.leaf_begin[nodes], index.leaf_end[nodes]
    who = torch.arange(len(nodes), device=nodes.device)[:, None]
    allowed = (end - begin - filters.count(who, begin, end)).masked_fill(scores.isneginf(), 0)
    # Every kept node holds at least one allowed item, so max(width, k) nodes always suffice; often fewer do.
    best, where = _top(scores.masked_fill(allowed == 0, -torch.inf), max(width, k))
    enough = allowed.gather(1, where).cumsum(1) >= k
    needed = torch.where(enough.any(1), enough.int().argmax(1) + 1, enough.shape[1]).clamp_min(width)
    keep = int(needed.max())
    best, where = best[:, :keep], where[:, :keep]
    # Each prompt keeps what it needs itself, so that no other prompt of the batch can change its result.
    best = best.masked_fill(torch.arange(best.shape[1], device=best.device) >= needed[:, None], -torch.inf)
    return _Beams(nodes.gather(1, where), best), where


def _advance(network: Network, prefix: Prefix, beams: _Beams, parent: Tensor, level: int) -> Prefix:
    """Feeds each beam's newest token to the backbone.

    Args:
        network: Holds the backbone.
        prefix: One row for each beam before the cut, prompt after prompt.
        beams: The beams after the cut, `[B, W]`.
        parent: Which beam of its prompt each one came from, `[B, W]`.
        level: Level of the newest token.
    """
    n = len(parent)
    source = torch.arange(n, device=parent.device)[:, None] * (len(prefix.last) // n) + parent
    token = network.index.code[beams.nodes].clamp_min(0) + network.generation.level_offsets[level] + network.base
    return network.backbone.step(prefix, source.flatten(), token.flatten())


def _by_leaf(network: Network, start: Tensor, beams: _Beams) -> tuple[Tensor, Tensor]:
    """Scores and leaf indices of all items below the beams, by leaf vectors, each `[B, W * C]`."""
    index = network.index
    begin, end = index.leaf_begin[beams.nodes], index.leaf_end[beams.nodes]
    widest = int((end - begin).max())
    leaves = begin[:, :, None] + torch.arange(widest, device=begin.device)
    real = leaves < end[:, :, None]
    leaves = leaves.masked_fill(~real, 0)
    vectors = network.leaf_vectors() / network.item_head.temperature
    flat = leaves.flatten(1)
    if vectors.shape[0] <= flat.shape[1] * 4:
        logits = (start @ vectors.T).gather(1, flat)
    else:
        logits = torch.einsum("bd,bld->bl", start, vectors[flat])
    logits = logits.view(leaves.shape).masked_fill(~real, -torch.inf)
    scores = beams.scores[:, :, None] + torch.log_softmax(logits, dim=2)
    # A beam that was filtered has score -inf; so have the padded children of any beam.
    return scores.masked_fill(~real, -torch.inf).flatten(1), flat


def _by_token(network: Network, states: Tensor, beams: _Beams, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The same by shared token vectors against the states after the prefixes."""
    scores, children = _expand(network, states, beams, network.index.depth - 1, rows)
    return scores.flatten(1), network.index.leaf_begin[children].flatten(1)


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of each row (or all, if fewer), best first."""
    best, where = torch.topk(scores, min(k, scores.shape[1]), dim=1)
    return best, where
