"""Typed graphs of users, items and their attributes, and random walks along meta-paths.

A meta-path such as `user-item-user` or `user-item-category-item-user` names the node types that a walk visits in turn;
it is closed (its first type is its last), so that a walk of any length can follow it. `-` is an edge, `>` leads to the
item that the same user took next, `<` to the one before. Options follow the path: `share=0.5` makes half as many walks
along it, `restart=0.15` takes a walk back to its start with that chance before each step but the first.

Each walk has a random stream of its own, made from (seed, meta-path, start node, walk index): threads and other walks
never change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken._core import graph as core
from metatoken.bounds import check_words
from metatoken.config import expect
from metatoken.data.links import Links
from metatoken.data.ragged import check_rows, offsets_of
from metatoken.errors import ArgumentError
from metatoken.tokens.graph import edges
from metatoken.tokens.settings import EdgeWeights, TokenSettings

if TYPE_CHECKING:
    from metatoken.data import Interactions

Progress = Callable[[int, int], None]
Values = Sequence[Sequence[str] | None]
Attribute = str | Values | Links
"""A column of the item table, the values of each item row, or links of items or users."""


@dataclass(frozen=True)
class Graph:
    """Users, items and attribute values as nodes of one graph.

    Node ids are consecutive: users `0..n_users`, then items, then the values of each attribute in sorted order. Edges
    are walked both ways, each with a chance proportional to its weight; without weights, an edge that is given twice is
    taken twice as often.

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
    def from_interactions(
        cls,
        train: Interactions,
        *,
        attributes: Mapping[str, Attribute] | None = None,
        edge_weights: EdgeWeights = TokenSettings.edge_weights,
        half_life: float | None = TokenSettings.half_life,
        order: bool = False,
    ) -> Self:
        """Build the graph of a training log.

        Args:
            train: Interactions; only what may be learned from (never validation or test edges).
            attributes: Node type name -> column of `train.item_table` (strings or lists of strings), the values of each
                item row, or `Links` of items or users, such as `{"category": "categories"}`.
            edge_weights: What an interaction weighs, see docs/walks.md.
            half_life: Half-life of the weights `"recency"` and `"position"`.
            order: Also link each item to those that came next, for paths with `>` and `<`.

        Raises:
            ArgumentError: An attribute names a column that is not there, or has the wrong length; or the weights do not
                fit the log.
        """
        chosen = TokenSettings(edge_weights=edge_weights, half_life=half_life)
        found = edges.user_item_edges(train.frame, chosen.edge_weights, chosen.half_life)
        values = {
            name: column_links(train, name, source) if isinstance(source, str) else source
            for name, source in (attributes or {}).items()
        }
        # Edges of "distinct" pairs have lost their order.
        ordered = edges.user_item_edges(train.frame, "count", None) if edge_weights == "distinct" else found
        return cls._build(found, train.n_users, train.n_items, values, edges.next_items(ordered) if order else None)

    @classmethod
    def from_edges(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        n_users: int,
        n_items: int,
        *,
        weights: ArrayLike | None = None,
        attributes: Mapping[str, Values | Links] | None = None,
        order: bool = False,
    ) -> Self:
        """Build the graph of user-item edges.

        Args:
            users: User row of each edge, integers `[m]`.
            items: Item row of each edge, integers `[m]`.
            n_users: Number of users, with and without edges.
            n_items: Number of items, with and without edges.
            weights: Weight of each edge, finite and above 0, `[m]`; the weights of a repeated edge are added.
            attributes: Node type name -> for each item row its values (`None` or empty: none), or `Links`. A value
                given twice for an item is one edge.
            order: The edges of each user stand together, oldest first; link each item to those that came next.

        Raises:
            ArgumentError: Lengths differ, a row is out of range, or an attribute does not have `n_items` entries.
        """
        given = None if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
        found = edges.Edges(_rows("users", users, n_users), _rows("items", items, n_items), given)
        if order and len(found.users) != len(found.items):
            raise ArgumentError("edges", f"expected as many items as users, got {len(found.items)}")
        return cls._build(found, n_users, n_items, attributes or {}, edges.next_items(found) if order else None)

    @classmethod
    def _build(
        cls,
        found: edges.Edges,
        n_users: int,
        n_items: int,
        attributes: Mapping[str, Values | Links],
        later: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None] | None,
    ) -> Self:
        types = [("user", n_users), ("item", n_items)]
        for name, count in types:
            if count < 0:
                raise ArgumentError(f"n_{name}s", f"expected at least 0, got {count}")
        relations = [("user", "item", *found)]
        if later is not None:
            relations.append(("item", "item", *later))
        names: dict[str, tuple[str, ...]] = {}
        for name, values in attributes.items():
            links = values if isinstance(values, Links) else _links(name, values, n_items)
            names[name] = links.names
            types.append((name, len(links.names)))
            relations.append((links.kind, name, links.rows, links.values, None))
        return cls(n_users, n_items, names, core.Graph(types, relations))

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First node of each type (users, items, attributes), and the number of nodes, int64 `[n_types + 1]`."""
        return offsets_of(np.array([self.n_users, self.n_items, *map(len, self.attributes.values())]))

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all types."""
        return int(self.offsets[-1])

    @property
    def n_edges(self) -> int:
        """Number of user-item edges, repeated ones included (with weights, a repeated one is one)."""
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
            walk that met a node without an edge of the next type. With `share=` there are fewer walks.
        isolated: Start nodes without an edge, which have no walk, int32 `[n_isolated]`.
    """

    nodes: NDArray[np.int32]
    isolated: NDArray[np.int32]


def walks(
    graph: Graph,
    meta_path: str,
    *,
    walks_per_node: int = TokenSettings.walks_per_node,
    walk_length: int = TokenSettings.walk_length,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Walks:
    """Walk a meta-path from every node of its first type.

    The skip-gram makes the same walks by itself, without storing them; this function is for looking at them.

    Args:
        graph: The graph.
        meta_path: Closed sequence of node types with options, see the module.
        walks_per_node: Walks from each start node.
        walk_length: Nodes in a walk, the start included; at least 2.
        seed: Seed; the result depends on nothing else.
        threads: Number of threads (`None`: all cores).
        progress: Called with (walks done, walks in all).

    Raises:
        ArgumentError: The graph cannot walk the meta-path, or a number is out of range.
    """
    expect("graph", graph, Graph)
    check_words(walks_per_node=walks_per_node, walk_length=walk_length, seed=seed, threads=threads)
    nodes, isolated = core.walks(graph.native, meta_path, walks_per_node, walk_length, seed, threads, progress)
    return Walks(nodes, isolated)


def _rows(argument: str, rows: ArrayLike, n: int) -> NDArray[np.int32]:
    return np.ascontiguousarray(check_rows(rows, n, argument), dtype=np.int32)


def column_links(train: Interactions, name: str, column: str) -> Links:
    """Links of items to the values (strings or lists of them) of a column of their table; else `ArgumentError`."""
    table = train.item_table
    if table is None or column not in table.columns:
        known = "no item table" if table is None else f"columns {', '.join(table.columns)}"
        raise ArgumentError("attributes", f"'{name}' needs the item column '{column}', but the log has {known}")
    return Links.from_series("item", table["item"], table[column])


def _links(name: str, values: Values, n_items: int) -> Links:
    if isinstance(values, str) or len(values) != n_items:
        raise ArgumentError("attributes", f"'{name}' needs one list of strings per item ({n_items}), got {len(values)}")
    return Links.from_lists("item", values)
