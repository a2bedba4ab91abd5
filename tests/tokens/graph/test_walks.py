"""Graphs, meta-paths and walks against their slow twins."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from metatoken.errors import ArgumentError
from metatoken.tokens.graph.walks import Graph, walks
from tests.oracles.walks import SlowGraph, walk

USERS, ITEMS = [0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 2, 2, 2, 0]
CATEGORIES = [["b", "a"], ["a"], None, ["a", "b", "a"], []]
PATHS = ["user-item-user", "item-user-item", "user-item-category-item-user"]


def small() -> tuple[Graph, SlowGraph]:
    fast = Graph.from_edges(USERS, ITEMS, 4, 5, attributes={"category": CATEGORIES})
    item_category = [(0, 0), (0, 1), (1, 0), (3, 0), (3, 1)]
    slow = SlowGraph(
        {"user": 4, "item": 5, "category": 2},
        {("user", "item"): list(zip(USERS, ITEMS, strict=True)), ("item", "category"): item_category},
    )
    return fast, slow


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_walks_equal_the_slow_twin(path: str, threads: int) -> None:
    fast, slow = small()
    made = walks(fast, path, walks_per_node=7, walk_length=9, seed=5, threads=threads)
    expected = [
        walk(slow, path, start, index, length=9, seed=5)[0] for start in slow.starts(path) for index in range(7)
    ]
    padded = [nodes + [-1] * (9 - len(nodes)) for nodes in expected]
    np.testing.assert_array_equal(made.nodes, padded)
    assert made.nodes.dtype == np.int32


def test_nodes_without_edges_are_reported() -> None:
    fast, _ = small()
    assert walks(fast, "user-item-user").isolated.tolist() == [3]
    assert walks(fast, "item-user-item").isolated.tolist() == [4 + 3, 4 + 4]


def test_a_walk_ends_where_the_path_cannot_go_on() -> None:
    fast, _ = small()
    nodes = walks(fast, "user-item-category-item-user", walks_per_node=50, walk_length=6).nodes
    stuck = nodes[nodes[:, 1] == 4 + 2]
    assert len(stuck)
    assert (stuck[:, 2:] == -1).all()


def test_frequencies_follow_the_transition_probabilities() -> None:
    fast, _ = small()
    nodes = walks(fast, "user-item-user", walks_per_node=20_000, walk_length=3, seed=1).nodes
    # From user 2: item 0 with 1/3 (then users 0, 2), item 2 with 2/3 (two of its three edges lead back to user 2).
    ends = np.bincount(nodes[nodes[:, 0] == 2][:, 2], minlength=4)
    probability = np.array([1 / 3 / 2, 2 / 3 / 3, 1 / 3 / 2 + 2 / 3 * 2 / 3])
    assert ends[3] == 0
    assert chisquare(ends[:3], probability * 20_000).pvalue > 1e-4


def test_the_order_of_edges_and_other_paths_do_not_matter() -> None:
    fast, _ = small()
    turned = Graph.from_edges(USERS[::-1], ITEMS[::-1], 4, 5)
    np.testing.assert_array_equal(walks(fast, "user-item-user").nodes, walks(turned, "user-item-user").nodes)


def test_more_walks_keep_the_first_ones() -> None:
    fast, _ = small()
    few, many = (walks(fast, "user-item-user", walks_per_node=n, walk_length=5).nodes for n in (2, 4))
    np.testing.assert_array_equal(few.reshape(3, 2, 5), many.reshape(3, 4, 5)[:, :2])


def test_from_interactions_reads_attribute_columns() -> None:
    table = pl.DataFrame({"item": [1, 0], "brand": ["x", None], "categories": [["a"], ["a", "b"]]})
    frame = pl.DataFrame({"user": [0, 1], "item": [0, 1]}, schema={"user": pl.Int32, "item": pl.Int32})
    log = SimpleNamespace(frame=frame, item_table=table, n_users=2, n_items=2)
    graph = Graph.from_interactions(log, attributes={"category": "categories", "brand": "brand"})
    assert dict(graph.attributes) == {"category": ("a", "b"), "brand": ("x",)}
    assert graph.n_nodes == 2 + 2 + 2 + 1
    assert walks(graph, "item-brand-item", walk_length=3).nodes[0].tolist() == [3, 6, 3]
    with pytest.raises(ArgumentError, match="item column 'shop'"):
        Graph.from_interactions(log, attributes={"shop": "shop"})


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "form"),
        ("user", "form"),
        ("user-", "form"),
        ("user-item", "not closed"),
        ("user-shop-user", "unknown type 'shop'"),
        ("user-user", "no edges between user and user; it has user-item, item-category"),
        ("user-category-user", "no edges between user and category"),
    ],
)
def test_paths_that_cannot_be_walked_are_refused(path: str, reason: str) -> None:
    fast, _ = small()
    with pytest.raises(ArgumentError, match=reason) as raised:
        walks(fast, path)
    assert raised.value.argument == "meta_paths"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["user", "item", "category", "shop", "", " item "]), max_size=6))
def test_the_grammar_accepts_closed_connected_paths_only(names: list[str]) -> None:
    fast, _ = small()
    steps = {("user", "item"), ("item", "user"), ("item", "category"), ("category", "item")}
    clean = [name.strip() for name in names]
    good = len(names) > 1 and clean[0] == clean[-1] and steps.issuperset(pairwise(clean))
    if good:
        assert fast.native.check("-".join(names)) == "-".join(clean)
    else:
        with pytest.raises(ArgumentError):
            fast.native.check("-".join(names))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12),
    st.integers(1, 3),
    st.integers(2, 6),
    st.integers(0, 2**62),
)
def test_any_graph_walks_as_the_twin(edges: list[tuple[int, int]], per_node: int, length: int, seed: int) -> None:
    users, items = [u for u, _ in edges], [i for _, i in edges]
    fast, slow = Graph.from_edges(users, items, 4, 5), SlowGraph({"user": 4, "item": 5}, {("user", "item"): edges})
    made = walks(fast, "item-user-item", walks_per_node=per_node, walk_length=length, seed=seed)
    starts = slow.starts("item-user-item")
    expected = [
        walk(slow, "item-user-item", s, k, length=length, seed=seed)[0] for s in starts for k in range(per_node)
    ]
    assert made.nodes.tolist() == expected
    assert made.isolated.tolist() == [node for node in range(4, 9) if node not in starts]


@pytest.mark.parametrize("users", [np.array([0, 9, 1, 9])[::2], np.array([0, 1], dtype=np.uint8)])
def test_any_integer_array_is_taken(users: np.ndarray) -> None:
    assert Graph.from_edges(users, [0, 0], 2, 1).n_edges == 2


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("items", ([0], [1], 1, 1)),
        ("users", ([-1], [0], 1, 1)),
        ("edges", ([0, 0], [0], 1, 1)),
        ("users", ([0.5], [0], 1, 1)),
        ("items", ([0], [[0]], 1, 1)),
        ("users", ([2**40], [0], 1, 1)),
        ("n_users", ([], [], -1, 1)),
    ],
)
def test_bad_edges_are_refused(argument: str, arguments: tuple) -> None:
    with pytest.raises(ArgumentError) as raised:
        Graph.from_edges(*arguments)
    assert raised.value.argument == argument


@pytest.mark.parametrize(
    "attributes", [{"c": [["a"]]}, {"user": [["a"], []]}, {"a-b": [["a"], []]}, {"": [["a"], []]}, {"c": "ab"}]
)
def test_bad_attributes_are_refused(attributes: dict) -> None:
    with pytest.raises(ArgumentError) as raised:
        Graph.from_edges([0], [0], 1, 2, attributes=attributes)
    assert raised.value.argument == "attributes"


@pytest.mark.parametrize(
    "bad", [{"walks_per_node": 0}, {"walk_length": 1}, {"seed": -1}, {"threads": 0}, {"threads": -2}]
)
def test_bad_numbers_are_refused(bad: dict) -> None:
    fast, _ = small()
    with pytest.raises(ArgumentError) as raised:
        walks(fast, "user-item-user", **bad)
    assert raised.value.argument in bad


def test_empty_graph_and_progress() -> None:
    made = walks(Graph.from_edges([], [], 0, 0), "user-item-user", walk_length=4)
    assert made.nodes.shape == (0, 4)
    seen: list[tuple[int, int]] = []
    walks(small()[0], "user-item-user", walks_per_node=2, progress=lambda *state: seen.append(state))
    assert seen[-1] == (6, 6)
    assert "category: 2, edges: 7" in repr(small()[0])
