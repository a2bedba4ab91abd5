"""Weights, order in time, restarts, shares and attributes of walks: against the slow twin and exact probabilities."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from metatoken._core import graph as walk_graph
from metatoken.data import Interactions
from metatoken.data.links import Links
from metatoken.errors import ArgumentError, MetatokenWarning
from metatoken.tokens.graph.walks import Graph, walks
from tests.oracles.walks import SlowGraph, exact_visits, made, walk

USERS, ITEMS = [0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 1, 2, 1, 2, 2, 3, 2, 0]
WEIGHTS = [1.0, 2.5, 0.25, 3.0, 4.0, 1.5, 0.5, 1.0, 2.0]
CATEGORIES = [["a", "b"], ["a"], ["b"], None]
COUNTRIES = Links.from_lists("user", [["x"], ["x", "y"], []])
PATHS = [
    "user-item-user",
    "item-user-item restart=0.3",
    "user-item-category-item-user restart=0.2",
    "user-country-user",
    "country-user-item-user-country",
    "item>item",
    "user-item-user restart=0.4",
    "user-item>item-user",
    "item>item<item share=0.35",
]


def graphs(weights: list[float] | None) -> tuple[Graph, SlowGraph]:
    fast = Graph.from_edges(
        USERS, ITEMS, 3, 4, weights=weights, order=True, attributes={"category": CATEGORIES, "country": COUNTRIES}
    )
    edges = [
        (u, i) if weights is None else (u, i, weights[k]) for k, (u, i) in enumerate(zip(USERS, ITEMS, strict=True))
    ]
    later = [(a[1], *b[1:]) for a, b in pairwise(edges) if a[0] == b[0] and a[1] != b[1]]
    slow = SlowGraph(
        {"user": 3, "item": 4, "category": 2, "country": 2},
        {
            ("user", "item"): edges,
            ("item", "item"): later,
            ("item", "category"): [(0, 0), (0, 1), (1, 0), (2, 1)],
            ("user", "country"): [(0, 0), (1, 0), (1, 1)],
        },
    )
    return fast, slow


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("path", PATHS)
def test_walks_equal_the_slow_twin_for_any_threads(path: str, weights: list[float] | None) -> None:
    fast, slow = graphs(weights)
    found = [walks(fast, path, walks_per_node=9, walk_length=8, seed=3, threads=n).nodes.tolist() for n in (1, 2, 3)]
    expected = [
        walk(slow, path, start, index, length=8, seed=3)[0]
        for start in slow.starts(path)
        for index in range(9)
        if made(path, 3, start, index)
    ]
    assert found[0] == [nodes + [-1] * (8 - len(nodes)) for nodes in expected]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("path", PATHS)
def test_every_step_follows_its_exact_probability(path: str, weights: list[float] | None) -> None:
    fast, slow = graphs(weights)
    plain = path.split(" ", maxsplit=1)[0]
    nodes = walks(fast, plain, walks_per_node=4000, walk_length=6, seed=1).nodes
    hops = slow.hops(plain)
    for step, hop in enumerate(hops):
        for node in np.unique(nodes[:, step]).tolist():
            chance = {} if node < 0 else slow.probabilities(hop, node)
            seen = Counter(nodes[nodes[:, step] == node, step + 1].tolist())
            if not chance:
                assert set(seen) == {-1}
                continue
            assert set(seen) == set(chance)
            expected = np.array([chance[target] for target in sorted(chance)]) * sum(seen.values())
            if len(chance) > 1:
                assert chisquare([seen[target] for target in sorted(chance)], expected).pvalue > 1e-5


def test_restarts_come_with_their_probability_and_never_right_after_a_start() -> None:
    fast = Graph.from_edges([0, 1, 1, 2], [0, 0, 1, 1], 3, 2)
    nodes = walks(fast, "item-user-item restart=0.3", walks_per_node=20_000, walk_length=5, seed=4).nodes
    # An item in the place of a user is a restart. Position 1 is a user; then a coin; after a restart a user again.
    back = nodes >= 3
    start = np.repeat(nodes[:, :1], 5, axis=1)
    assert not back[:, 1].any()
    assert (nodes[:, 3][back[:, 3]] == start[:, 3][back[:, 3]]).all()
    # At position 3: no restart at 2 (0.7), then a restart (0.3); a restart at 2 makes position 3 a user.
    n, count = len(nodes), int(back[:, 3].sum())
    assert chisquare([count, n - count], [0.21 * n, 0.79 * n]).pvalue > 1e-4


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("path", PATHS)
def test_walks_visit_nodes_as_often_as_expected(path: str, weights: list[float] | None) -> None:
    fast, slow = graphs(weights)
    nodes = walks(fast, path, walks_per_node=8000, walk_length=7, seed=2).nodes
    seen = np.bincount(nodes[nodes >= 0], minlength=slow.n_nodes) / 8000
    exact = exact_visits(slow, path, 7)
    np.testing.assert_allclose(seen, exact, atol=0.12)
    # Item 3 has no category: restarts at dead ends are spread over the starts, which is near, not exact.
    rough = "category" in path and "restart" in path
    np.testing.assert_allclose(walk_graph.expected_visits(fast.native, path, 7), exact, rtol=0.1 if rough else 1e-9)


def test_restarts_at_dead_ends_are_spread_over_the_starts() -> None:
    """Item 1 is where `item>item` ends, item 2 is never left: starts differ, so expected visits are near, not exact."""
    fast = Graph.from_edges([0, 0, 1, 1], [0, 1, 1, 2], 2, 4, order=True)
    slow = SlowGraph({"user": 2, "item": 4}, {("user", "item"): [], ("item", "item"): [(0, 1), (1, 2)]})
    exact = np.array(exact_visits(slow, "item>item restart=0.2", 9))
    found = walk_graph.expected_visits(fast.native, "item>item restart=0.2", 9)
    assert found.sum() == pytest.approx(exact.sum())
    np.testing.assert_allclose(found, exact, atol=0.15 * exact.max())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.floats(0.01, 100)), min_size=1, max_size=12),
    st.sampled_from(["user-item-user", "item-user-item restart=0.5", "user-item-user share=0.6"]),
    st.integers(0, 2**62),
)
def test_any_weighted_graph_walks_as_the_twin(edges: list[tuple[int, int, float]], path: str, seed: int) -> None:
    users, items, weights = (list(column) for column in zip(*edges, strict=True))
    fast = Graph.from_edges(users, items, 4, 5, weights=weights)
    slow = SlowGraph({"user": 4, "item": 5}, {("user", "item"): edges})
    turned = Graph.from_edges(users[::-1], items[::-1], 4, 5, weights=weights[::-1])
    expected = [
        walk(slow, path, start, index, length=5, seed=seed)[0]
        for start in slow.starts(path)
        for index in range(3)
        if made(path, seed, start, index)
    ]
    for graph in (fast, turned):
        assert walks(graph, path, walks_per_node=3, walk_length=5, seed=seed).nodes.tolist() == expected


NAMES = st.sampled_from(["user", "item", "category", "country", "shop", ""])
LINKS = st.sampled_from(["-", ">", "<", " - ", " > "])
OPTIONS = st.lists(
    st.sampled_from(["share=0.5", "share=1", "restart=0", "restart=.9", "share=0", "share=2", "restart=1", "hop=1"]),
    max_size=3,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NAMES, LINKS), max_size=6), OPTIONS)
def test_the_grammar_takes_what_can_be_walked_only(steps: list[tuple[str, str]], options: list[str]) -> None:
    fast, slow = graphs(None)
    text = "".join(name + link for name, link in steps)
    text = text.rstrip("-<> ") if text.endswith(("-", ">", "<", " ")) else text
    full = " ".join([text, *options])
    clean = text.replace(" ", "")
    names = re.split("[-<>]", clean)
    keys = [option.split("=")[0] for option in options]
    hops = slow.hops(clean)
    good = (
        bool(hops)
        and all(names)
        and hops[0][0] == hops[-1][1]
        and all(hop in slow.adjacency for hop in hops)
        and len(set(keys)) == len(keys)
        and not {"share=0", "share=2", "restart=1", "hop=1"} & set(options)
    )
    if good:
        assert fast.native.check(full) == clean
        assert (walks(fast, full, walks_per_node=2, walk_length=4).nodes[:, 0] >= 0).all()
    else:
        with pytest.raises(ArgumentError) as raised:
            fast.native.check(full)
        assert raised.value.argument == "meta_paths"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("item>item", "no order in time of items; it has user-item"),
        ("user-item>item-user", "no order in time of items"),
        ("user>item<user", "'>' stands between user and item"),
        ("user-item-user share=0", "share='0'; expected a number above 0 and at most 1"),
        ("user-item-user restart=1.0", "restart='1.0'; expected a number from 0 to below 1"),
        ("user-item-user length=4", "unknown option 'length=4'"),
    ],
)
def test_paths_are_refused_with_the_reason(path: str, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason.replace("(", r"\(")):
        walks(Graph.from_edges(USERS, ITEMS, 3, 4), path)


def log(**columns: list) -> Interactions:
    return Interactions.from_arrays(["a", "a", "a", "b", "b"], ["x", "y", "x", "y", "z"], **columns)


def test_weights_of_a_log_are_as_defined() -> None:
    train = log(times=[0, 10, 30, 20, 30], ratings=[1, 2, 3, 4, 5])

    def chance(item: int, **options: object) -> float:
        """Of the first user to go to an item, from many walks of length 2."""
        graph = Graph.from_interactions(train, **options)
        nodes = walks(graph, "user-item-user", walks_per_node=60_000, walk_length=2).nodes
        return float((nodes[nodes[:, 0] == 0, 1] == 2 + item).mean())

    assert chance(0) == pytest.approx(2 / 3, abs=0.01)
    assert chance(0, edge_weights="distinct") == pytest.approx(1 / 2, abs=0.01)
    assert chance(0, edge_weights="rating") == pytest.approx(4 / 6, abs=0.01)
    old = 2 ** -(30 / 20) + 1
    assert chance(0, edge_weights="recency", half_life=20) == pytest.approx(old / (old + 0.5), abs=0.01)
    old = 2 ** -(2 / 4) + 1
    assert chance(0, edge_weights="position", half_life=4) == pytest.approx(old / (old + 2 ** -(1 / 4)), abs=0.01)
    assert Graph.from_interactions(train).n_edges == 5
    assert Graph.from_interactions(train, edge_weights="distinct").n_edges == 4


def test_order_links_the_next_item_of_the_same_user() -> None:
    graph = Graph.from_interactions(log(), order=True)
    assert graph.native.n_edges("item", "item") == 3
    nodes = walks(graph, "item>item", walks_per_node=20, walk_length=2).nodes
    steps = {tuple(row) for row in nodes.tolist()}
    assert steps == {(2, 3), (3, 2), (3, 4)}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"edge_weights": "often"}, "edge_weights: expected one of count, distinct, rating"),
        ({"edge_weights": "rating"}, "needs a log with ratings"),
        ({"edge_weights": "recency", "half_life": 3}, "needs a log with times"),
        ({"edge_weights": "position"}, "half_life: edge_weights='position' needs a number above 0, got None"),
        ({"edge_weights": "position", "half_life": 0}, "half_life: expected a number above 0, got 0"),
        ({"half_life": 2}, "half_life: is for edge_weights 'recency' and 'position'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(options: dict, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        Graph.from_interactions(log(), **options)


def test_what_is_older_than_weights_can_tell_is_said() -> None:
    with pytest.warns(MetatokenWarning, match=r"half_life: 3 of 5 interactions are more than 500 half-lives of 0\.001"):
        Graph.from_interactions(log(), edge_weights="position", half_life=0.001)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Graph.from_interactions(log(), edge_weights="position", half_life=0.01)


def test_ratings_must_be_positive_to_be_weights() -> None:
    with pytest.raises(ArgumentError, match="ratings above 0, the lowest is -1"):
        Graph.from_interactions(log(ratings=[1, 2, -1, 1, 1]), edge_weights="rating")


@pytest.mark.parametrize("weights", [[1.0], [0.0] * 9, [np.nan] * 9, [-1.0] * 9])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ArgumentError) as raised:
        Graph.from_edges(USERS, ITEMS, 3, 4, weights=weights)
    assert raised.value.argument == "weights"


def test_user_attributes_are_nodes_like_any_other() -> None:
    fast, _ = graphs(None)
    assert list(fast.attributes) == ["category", "country"]
    nodes = walks(fast, "user-country-user", walks_per_node=5, walk_length=3)
    assert set(nodes.nodes[:, 1].tolist()) == {9, 10}
    assert nodes.isolated.tolist() == [2]


def test_a_graph_of_a_log_takes_links(world: object) -> None:
    train = world.interactions()  # type: ignore[attr-defined]
    links = Links.from_series("user", pl.Series([0, 1], dtype=pl.Int32), pl.Series(["x", "x"]))
    graph = Graph.from_interactions(train, attributes={"category": "categories", "country": links})
    assert graph.attributes["country"] == ("x",)
    assert len(walks(graph, "user-country-user", walks_per_node=1, walk_length=3).nodes) == 2
