"""Prefix index over code tuples as flat int32 arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken._core import trie as core
from metatoken.errors import ArgumentError, ArtifactError

NAMES = ("code", "first_child", "leaf_begin", "leaf_end", "leaf_items", "terminal")
"""The arrays, in the order in which the core takes and gives them."""


class Trie:
    """Which codes may follow which, and which item a tuple of codes names.

    Nodes are numbered breadth-first from the root, 0, so the children of node `v` are the nodes
    `first_child[v]..first_child[v + 1]`, in ascending code. Leaves are the items in lexicographic order of their codes,
    so the items under a node are a slice.

    Args:
        native: The core's trie, which owns the arrays and has checked that they fit together.

    Attributes:
        native: The same; it also searches.
        code: int32 `[nodes]`, the code that leads to the node; -1 at the root. Read-only, like all arrays.
        first_child: int32 `[nodes + 1]`.
        leaf_begin: int32 `[nodes]`, first leaf under the node.
        leaf_end: int32 `[nodes]`, one past the last leaf under the node.
        leaf_items: int32 `[items]`, the row of the item at each leaf.
        terminal: int32 `[nodes]`, leaf of the item that ends at the node, else -1.
        depth: Codes of the longest tuple allowed.
    """

    code: NDArray[np.int32]
    first_child: NDArray[np.int32]
    leaf_begin: NDArray[np.int32]
    leaf_end: NDArray[np.int32]
    leaf_items: NDArray[np.int32]
    terminal: NDArray[np.int32]

    def __init__(self, native: core.Trie) -> None:
        self.native = native
        self.depth = native.depth
        for name, array in zip(NAMES, native.arrays(), strict=True):
            setattr(self, name, array)

    def __reduce__(self) -> tuple[Callable[..., Trie], tuple[dict[str, NDArray[np.int32]]]]:
        """Copies go by the arrays, as files do."""
        return Trie.from_tensors, (self.tensors(),)

    @classmethod
    def from_codes(
        cls, codes: ArrayLike, *, threads: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Trie:
        """Builds the index.

        Args:
            codes: Integer array `[items, depth]`, one distinct tuple per row, shorter ones padded with -1 at the end.
            threads: Threads to use; all cores if None. The result does not depend on it.
            progress: Called with (stages done, stages in all).

        Returns:
            The index.

        Raises:
            ArgumentError: The shape or a value is wrong, or two rows have the same tuple.
        """
        array = np.asarray(codes)
        if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "iu":
            raise ArgumentError("codes", f"expected integers [items, depth], got {array.dtype} of shape {array.shape}")
        if array.size and (array.max() > np.iinfo(np.int32).max - 1 or array.min() < -1):
            raise ArgumentError("codes", "expected codes of at least 0 (-1 as padding) and below 2^31 - 1")
        return cls(core.Trie.from_codes(np.ascontiguousarray(array, dtype=np.int32), threads, progress))

    @property
    def n_items(self) -> int:
        """Items in the index."""
        return len(self.leaf_items)

    @property
    def n_nodes(self) -> int:
        """Nodes, the root included."""
        return len(self.code)

    def children(self, node: int) -> NDArray[np.int32]:
        """Codes that may follow `node`, ascending; the child of `children(node)[i]` is `first_child[node] + i`.

        Raises:
            ArgumentError: There is no such node; -1, which `find` gives where nothing is, among them.
        """
        self._check_node(node)
        return self.code[self.first_child[node] : self.first_child[node + 1]]

    def find(self, codes: Sequence[int] | NDArray[np.int32]) -> int:
        """Node that a prefix leads to, or -1; padding ends the prefix."""
        node = 0
        for code in integers("codes", codes, 1).tolist():
            if code == -1:
                break
            below = self.code[self.first_child[node] : self.first_child[node + 1]]
            place = int(np.searchsorted(below, code))
            if place == len(below) or below[place] != code:
                return -1
            node = int(self.first_child[node]) + place
        return node

    def items(self, node: int) -> NDArray[np.int32]:
        """Rows of the items under `node`, lexicographic by code; `ArgumentError` where there is no such node."""
        self._check_node(node)
        return self.leaf_items[self.leaf_begin[node] : self.leaf_end[node]]

    def subset(self, rows: ArrayLike) -> Trie:
        """The trie of some items only, which keep their rows; a prefix without one of them is gone.

        Args:
            rows: Item rows, int `[any]`, repeats allowed.

        Raises:
            ArgumentError: A row is not in the trie.
        """
        wanted = np.unique(integers("rows", rows))
        part = Trie.from_codes(self.codes()[self.leaf_of(wanted)])
        return Trie.from_tensors({**part.tensors(), "leaf_items": wanted[part.leaf_items].astype(np.int32)})

    def leaf_of(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Leaf of each item row, int64, in the shape of `rows`.

        Raises:
            ArgumentError: A row is not in the trie.
        """
        wanted = integers("rows", rows)
        place = np.searchsorted(self.leaf_items, wanted, sorter=self._by_row)
        if (place < self.n_items).all():
            leaves = self._by_row[place]
            if np.array_equal(self.leaf_items[leaves], wanted):
                return leaves
        raise ArgumentError("rows", f"expected rows of the {self.n_items} items of the trie")

    def item_of(self, leaves: ArrayLike) -> NDArray[np.int64]:
        """Item row of each leaf, int64, in the shape of `leaves`; -1 where it is -1, which says that there is none.

        Raises:
            ArgumentError: There is no such leaf.
        """
        at = integers("leaves", leaves)
        if at.size and not -1 <= at.min() <= at.max() < self.n_items:
            raise ArgumentError("leaves", f"expected leaves of the {self.n_items} items of the trie, or -1")
        return np.where(at >= 0, self.leaf_items[at], -1).astype(np.int64)

    def _check_node(self, node: int) -> None:
        if not 0 <= index(node) < self.n_nodes:
            raise ArgumentError("node", f"expected a node from 0 to {self.n_nodes - 1}, got {node}")

    @cached_property
    def _by_row(self) -> NDArray[np.int64]:
        """Leaves in the order of their items' rows."""
        return np.argsort(self.leaf_items)

    def codes(self) -> NDArray[np.int32]:
        """Codes of the item at each leaf, int32 `[items, depth]`, padded with -1; in leaf order."""
        counts = np.diff(self.first_child)
        parent = np.concatenate([[-1], np.repeat(np.arange(self.n_nodes), counts)])
        node = np.empty(self.n_items, dtype=np.int64)
        ends = np.flatnonzero(self.terminal >= 0)
        node[self.terminal[ends]] = ends
        columns = []
        for _ in range(self.depth):
            columns.append(np.where(node > 0, self.code[node], -1))
            node = np.where(node > 0, parent[node], 0)
        backwards = np.stack(columns, axis=1) if columns else np.empty((self.n_items, 0))
        # A short tuple was read from its own end: its codes come first here, the padding behind them.
        lengths = (backwards >= 0).sum(1, keepdims=True)
        place = lengths - 1 - np.arange(self.depth)
        found = np.take_along_axis(backwards, np.maximum(place, 0), axis=1)
        return np.where(place >= 0, found, -1).astype(np.int32)

    def tensors(self) -> dict[str, NDArray[np.int32]]:
        """Arrays to save, by name."""
        arrays = {name: getattr(self, name) for name in NAMES}
        return {**arrays, "depth": np.array([self.depth], dtype=np.int32)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.int32]]) -> Trie:
        """Rebuilds what `tensors` gave.

        Raises:
            ArtifactError: An array is missing, or they are not those of a trie.
        """
        names = [*NAMES, "depth"]
        if set(names) != set(tensors):
            raise ArtifactError(f"a trie holds the arrays {names}; found {sorted(tensors)}")
        arrays = [np.ascontiguousarray(tensors[name]) for name in names]
        if any(array.ndim != 1 or array.dtype != np.int32 for array in arrays) or len(arrays[-1]) != 1:
            raise ArtifactError("the arrays of a trie are int32 of one dimension, its depth one number")
        try:
            return cls(core.Trie.from_arrays(arrays[:-1], int(arrays[-1][0])))
        except ArgumentError as error:
            raise ArtifactError(f"the arrays of the trie do not fit together: {error}") from error


def integers(argument: str, values: ArrayLike, ndim: int | None = None) -> NDArray[np.int64]:
    """Whole numbers of any form as int64, of so many dimensions; an empty list is none.

    Raises:
        ArgumentError: They are not whole numbers, or another number of dimensions.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(argument, f"expected whole numbers ({error})") from error
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    wrong = ndim is not None and array.ndim != ndim
    if array.dtype.kind not in "iu" or wrong or (array.dtype == np.uint64 and array.max(initial=0) >= 2**63):
        raise ArgumentError(argument, f"expected whole numbers, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64, copy=False)
