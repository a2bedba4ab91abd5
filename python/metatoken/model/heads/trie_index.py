"""The item trie as tensors, and the choices that lead to each item.

At a node the next token is a child; where an item ends at a node that has children, too (its tuple is a prefix of
another's), ending is one more choice. A node whose choices are all items is *leafy*: there, and only there, a model
with leaf vectors scores the items below by their own vectors. In a trie of one depth the leafy nodes are those above
the leaves, and nothing ever ends early.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from metatoken.errors import ArgumentError
from metatoken.tokens.trie import NAMES

if TYPE_CHECKING:
    from metatoken.tokens.trie import Trie


class TrieIndex(nn.Module):
    """The trie as tensors, sharing memory with the arrays of `trie` until they are moved to another device.

    Attributes:
        trie: Where they come from; it searches where the tensors are in main memory.
        code: int32 `[nodes]`, as in `metatoken.tokens.trie.Trie`, like the five below.
        first_child: int32 `[nodes + 1]`.
        leaf_begin: int32 `[nodes]`.
        leaf_end: int32 `[nodes]`.
        leaf_items: int32 `[n_items]`.
        terminal: int32 `[nodes]`.
        leaf_of: int64 `[n_items]`, leaf of each item row.
        leafy: bool `[nodes]`, whether all choices at a node are items.
        path: int32 `[n_items, depth]`, the node where an item's token of each level is chosen, root first; -1 where
            nothing is left to choose.
        choice: int32 `[n_items, depth]`, the node chosen there: a child, the node itself for ending, or -1.
        leaf_level: int64 `[n_items]`, level of the leafy node on the path, or -1.
        above: bool `[n_items]`, whether an item's tuple is a prefix of another's.
        depth: Codes of the longest tuple allowed.
        uniform: Whether all tuples have that many codes.
        has_end: Whether an item's tuple is a prefix of another's.

    Raises:
        ArgumentError: The trie has no item, or its items' rows are not `0..n_items`.
    """

    code: Tensor
    first_child: Tensor
    leaf_begin: Tensor
    leaf_end: Tensor
    leaf_items: Tensor
    terminal: Tensor
    leaf_of: Tensor
    leafy: Tensor
    path: Tensor
    choice: Tensor
    leaf_level: Tensor
    above: Tensor

    def __init__(self, trie: Trie) -> None:
        super().__init__()
        if trie.n_items == 0:
            raise ArgumentError("codes", "expected at least one item")
        self.trie = trie
        with warnings.catch_warnings():
            # torch has no read-only tensors, and warns; nothing writes to these.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            for name in NAMES:
                self.register_buffer(name, torch.from_numpy(getattr(trie, name)), persistent=False)
        self.depth = trie.depth
        first = self.first_child.long()
        # No grandchildren: the children of the first child begin where those of the last one end.
        leafy = (first[:-1] < first[1:]) & (first[first[:-1]] == first[first[1:]])
        inner = first[:-1] < first[1:]
        self.register_buffer("leaf_of", torch.from_numpy(trie.leaf_of(np.arange(trie.n_items))), persistent=False)
        self.register_buffer("leafy", leafy, persistent=False)
        self.has_end = bool((inner & (self.terminal >= 0)).any())
        path, choice = self._paths(inner)
        self.register_buffer("path", path, persistent=False)
        self.register_buffer("choice", choice, persistent=False)
        self.register_buffer("above", ((path == choice) & (path >= 0)).any(1), persistent=False)
        at = leafy[path.clamp_min(0)] & (path >= 0)
        level = torch.where(at.any(1), at.int().argmax(1), -1)
        self.register_buffer("leaf_level", level, persistent=False)
        self.uniform = not self.has_end and bool((level == self.depth - 1).all())

    def _paths(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes at which each item's tokens are chosen, and what is chosen there; both int32 `[n_items, depth]`."""
        counts = self.first_child[1:] - self.first_child[:-1]
        parent = torch.full_like(self.code, -1)
        parent[1:] = torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), counts)
        level = torch.zeros_like(self.code)
        begin, end = 0, 1  # nodes of a level are a range
        for depth in range(self.depth + 1):
            level[begin:end] = depth
            begin, end = end, int(self.first_child[end])
        ends = torch.nonzero(self.terminal >= 0)[:, 0]
        node = torch.empty_like(self.leaf_of)
        node[self.leaf_items[self.terminal[ends].long()].long()] = ends
        path = torch.full((len(node), self.depth), -1, dtype=torch.int32)
        choice = path.clone()
        rows = torch.nonzero(inner[node])[:, 0]
        path[rows, level[node[rows]].long()] = node[rows].int()
        choice[rows, level[node[rows]].long()] = node[rows].int()
        for depth in range(self.depth - 1, -1, -1):
            rows = torch.nonzero(level[node] == depth + 1)[:, 0]
            choice[rows, depth] = node[rows].int()
            node[rows] = parent[node[rows]].long()
            path[rows, depth] = node[rows].int()
        return path, choice

    @property
    def n_items(self) -> int:
        """Items in the trie."""
        return len(self.leaf_items)

    def children_of(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Children of nodes `[R]`, padded to the widest: node ids `[R, C]` and which are real `[R, C]`."""
        nodes = nodes.long()
        begin, end = self.first_child[nodes], self.first_child[nodes + 1]
        widest = int((end - begin).max()) if len(nodes) else 0
        ids = begin[:, None] + torch.arange(widest, device=nodes.device)
        real = ids < end[:, None]
        return ids.masked_fill(~real, 0), real
