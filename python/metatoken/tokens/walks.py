"""Typed graphs of users, items and item attributes, and random walks along meta-paths.

A meta-path such as `user-item-user` or `user-item-category-item-user` names the node types that a walk visits in turn;
it is closed (its first type is its last), so that a walk of any length can follow it. Each walk has a random stream of
its own, made from (seed, meta-path, start node, walk index): threads and other walks never change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken._core import graph as core
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[int, int], None]
Values = Sequence[Sequence[str] | None]


class Edges(Protocol):
    """What a graph is made from; `metatoken.data.Interactions` is one."""

    @property
    def frame(self) -> pl.DataFrame:
        """One row per interaction with 0-based int columns `user` and `item`."""

    @property
    def item_table(self) -> pl.DataFrame | None:
        """One row per known item: `item` (row) and its attributes."""

    @property
    def n_users(self) -> int:
        """Number of users."""

    @property
    def n_items(self) -> int:
        """Number of items."""


@dataclass(frozen=True)
class Graph:
    """Users, items and attribute values as nodes of one graph.

    Node ids are consecutive: users `0..n_users`, then items, then the values of each attribute in sorted order. Edges
    are walked both ways; an edge that is given twice is taken twice as often.

    Attributes:
        n_users: Number of user nodes.
        n_items: Number of item nodes.
        attributes: Values of each attribute, in node order.
        native: The graph inside the native core.
    """

    n_users: int
    n_items: int
    attributes: Mapping[str, tuple[str, ...]]
    native: core.Graph

    @classmethod
    def from_interactions(cls, train: Edges, *, attributes: Mapping[str, str | Values] | None = None) -> Self:
        """Build the graph of a training log.

        Args:
            train: Interactions; only what may be learned from (never validation or test edges).
            attributes: Node type name -> column of `train.item_table` (strings or lists of strings), or the values
                of each item row, such as `{"category": "categories"}`.

        Raises:
            ArgumentError: An attribute names a column that is not there, or has the wrong length.
        """
        users = train.frame["user"].to_numpy()
        items = train.frame["item"].to_numpy()
        values = {
            name: _column(train, name, source) if isinstance(source, str) else source
            for name, source in (attributes or {}).items()
        }
        return cls.from_edges(users, items, train.n_users, train.n_items, attributes=values)

    @classmethod
    def from_edges(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        n_users: int,
        n_items: int,
        *,
        attributes: Mapping[str, Values] | None = None,
    ) -> Self:
        """Build the graph of user-item edges.

        Args:
            users: User row of each edge, integers `[m]` in `0..n_users`.
            items: Item row of each edge, integers `[m]` in `0..n_items`.
            n_users: Number of users, with and without edges.
            n_items: Number of items, with and without edges.
            attributes: Node type name -> for each item row its values (`None` or empty: none). A value given twice
                for an item is one edge.

        Raises:
            ArgumentError: Lengths differ, a row is out of range, or an attribute does not have `n_items` entries.
        """
        for name, count in (("n_users", n_users), ("n_items", n_items)):
            if count < 0:
                raise ArgumentError(name, f"expected at least 0, got {count}")
        types = [("user", n_users), ("item", n_items)]
        edges = [("user", "item", _rows("users", users), _rows("items", items))]
        names: dict[str, tuple[str, ...]] = {}
        for name, values in (attributes or {}).items():
            names[name], item_rows, value_rows = _attribute_edges(name, values, n_items)
            types.append((name, len(names[name])))
            edges.append(("item", name, item_rows, value_rows))
        return cls(n_users, n_items, names, core.Graph(types, edges))

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all types."""
        return self.n_users + self.n_items + sum(len(values) for values in self.attributes.values())

    @property
    def n_edges(self) -> int:
        """Number of user-item edges, repeated ones included."""
        return self.native.n_edges("user", "item")

    def __repr__(self) -> str:
        """Sizes, since the arrays are inside the native core."""
        extra = "".join(f", {name}: {len(values)}" for name, values in self.attributes.items())
        return f"Graph(users: {self.n_users}, items: {self.n_items}{extra}, edges: {self.n_edges})"


@dataclass(frozen=True)
class Walks:
    """Walks along one meta-path.

    Attributes:
        nodes: Node ids, int32 `[n_walks, walk_length]`, ordered by start node, then walk index; -1 after the end of a
            walk that met a node without an edge of the next type.
        isolated: Start nodes without an edge, which have no walk, int32 `[n_isolated]`.
    """

    nodes: NDArray[np.int32]
    isolated: NDArray[np.int32]


def walks(
    graph: Graph,
    meta_path: str,
    *,
    walks_per_node: int = 10,
    walk_length: int = 40,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Walks:
    """Walk a meta-path from every node of its first type.

    The skip-gram makes the same walks by itself, without storing them; this function is for looking at them.

    Args:
        graph: The graph.
        meta_path: Closed sequence of node types, joined by `-`.
        walks_per_node: Walks from each start node.
        walk_length: Nodes in a walk, the start included; at least 2.
        seed: Seed; the result depends on nothing else.
        threads: Number of threads (`None`: all cores).
        progress: Called with (walks done, walks in all).

    Raises:
        ArgumentError: The graph cannot walk the meta-path, or a number is out of range.
    """
    nodes, isolated = core.walks(graph.native, meta_path, walks_per_node, walk_length, seed, threads, progress)
    return Walks(nodes, isolated)


def _rows(argument: str, rows: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(rows)
    if array.size == 0:
        array = array.astype(np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        expected = "expected a one-dimensional array of integers"
        raise ArgumentError(argument, f"{expected}, got {array.dtype} {list(array.shape)}")
    limits = np.iinfo(np.int32)
    if array.size and (array.max() > limits.max or array.min() < limits.min):
        raise ArgumentError(argument, "expected rows below 2^31")
    return np.ascontiguousarray(array, dtype=np.int32)


def _column(train: Edges, name: str, column: str) -> Values:
    table = train.item_table
    if table is None or column not in table.columns:
        known = "no item table" if table is None else f"columns {', '.join(table.columns)}"
        raise ArgumentError("attributes", f"'{name}' needs the item column '{column}', but the log has {known}")
    values: list[Sequence[str] | None] = [None] * train.n_items
    for item, value in zip(table["item"].to_list(), table[column].to_list(), strict=True):
        values[item] = [str(value)] if isinstance(value, str | int | float) else value
    return values


def _attribute_edges(
    name: str, values: Values, n_items: int
) -> tuple[tuple[str, ...], NDArray[np.int32], NDArray[np.int32]]:
    if isinstance(values, str) or len(values) != n_items:
        raise ArgumentError("attributes", f"'{name}' needs one list of strings per item ({n_items}), got {len(values)}")
    distinct = [sorted(set(entry or ())) for entry in values]
    order = tuple(sorted({value for entry in distinct for value in entry}))
    row = {value: k for k, value in enumerate(order)}
    item_rows = np.repeat(np.arange(n_items, dtype=np.int32), [len(entry) for entry in distinct])
    value_rows = np.array([row[value] for entry in distinct for value in entry], dtype=np.int32)
    return order, item_rows, value_rows
