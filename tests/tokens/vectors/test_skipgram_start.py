"""Warm starts, and the edges of what can be trained."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.errors import ArgumentError
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.quality.links import same_group_at
from metatoken.tokens.vectors import skipgram

STILL = {"learning_rate": 1e-12, "min_learning_rate": 0.0}


def planted(groups: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of users and items that meet nine times of ten within their group, and the group of each node."""
    rng = np.random.default_rng(seed)
    n = groups * size
    users = np.repeat(np.arange(n), 10)
    group = np.where(rng.random(users.size) < 0.9, users // size, rng.integers(0, groups, users.size))
    return users, group * size + rng.integers(0, size, users.size), np.concatenate([np.arange(n) // size] * 2)


@pytest.mark.parametrize("hogwild", [False, True])
def test_a_still_fit_returns_what_it_was_given(hogwild: bool) -> None:
    """Rows of NaN begin as without a start; the rest is as given, trained or not."""
    graph = Graph.from_edges([0, 0, 2], [1, 0, 1], 3, 3, attributes={"tag": [["x"], ["y"], None]})
    rng = np.random.default_rng(0)
    vectors, contexts = rng.normal(size=(2, graph.n_nodes, 20)).astype(np.float32)
    vectors[[0, 5]], contexts[[1, 5]] = np.nan, np.nan
    options = {"dim": 20, "walks_per_node": 1, "hogwild": hogwild, "threads": 1} | STILL
    cold = skipgram.fit(graph, **options)
    warm = skipgram.fit(graph, initial=vectors, initial_contexts=contexts, **options)
    assert warm.trained.tolist() == [True, False, True, True, True, False]
    expected = vectors[:6].copy()
    expected[0], expected[5] = cold.vectors[0], 0
    np.testing.assert_allclose(warm.vectors, expected, atol=1e-6)
    np.testing.assert_allclose(warm.attributes["tag"], vectors[6:], atol=1e-6)
    np.testing.assert_allclose(warm.contexts, np.where(np.isnan(contexts), 0, contexts), atol=1e-6)


def test_a_start_for_nothing_changes_no_byte() -> None:
    users, items, _ = planted(3, 20, seed=0)
    graph = Graph.from_edges(users, items, 60, 60)
    cold = skipgram.fit(graph, dim=8, walks_per_node=2)
    blank = np.full((120, 8), np.nan)
    again = skipgram.fit(graph, dim=8, walks_per_node=2, initial=blank, initial_contexts=blank)
    assert cold.vectors.tobytes() == again.vectors.tobytes()


def test_warm_rows_stay_near_and_new_rows_find_their_group() -> None:
    """A tenth of the nodes is new: a short warm fit puts them into their group and leaves the old ones in place."""
    groups, size = 8, 40
    n = groups * size
    users, items, labels = planted(groups, size, seed=1)
    new = np.zeros(2 * n, bool)
    new[::10] = True
    old = ~new[users] & ~new[n + items]
    first = skipgram.fit(Graph.from_edges(users[old], items[old], n, n), dim=32)
    graph = Graph.from_edges(users, items, n, n)
    vectors, contexts = first.vectors.copy(), first.contexts.copy()
    vectors[~first.trained], contexts[~first.trained] = np.nan, np.nan
    options = {"dim": 32, "walks_per_node": 4, "learning_rate": 0.02, "seed": 7}
    grown = skipgram.fit(graph, initial=vectors, initial_contexts=contexts, **options)
    assert same_group_at(grown.vectors, labels) > 0.9
    rows = np.flatnonzero(new)
    unit = grown.vectors / np.linalg.norm(grown.vectors, axis=1, keepdims=True)
    similar = unit[rows] @ unit[~new].T
    nearest = np.argsort(-similar, axis=1)[:, :10]
    assert (labels[~new][nearest] == labels[rows, None]).mean() > 0.9

    def moved(fitted: skipgram.Embeddings) -> float:
        a, b = first.vectors[~new], fitted.vectors[~new]
        return float(1 - ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())

    assert moved(grown) < 0.05 < moved(skipgram.fit(graph, **options))


@pytest.mark.parametrize("argument", ["initial", "initial_contexts"])
@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((2, 4)), "one row per node"),
        (np.zeros((3, 5)), "one row per node"),
        (np.zeros(12), "one row per node"),
        (np.array([[np.nan, 0, 0, 0]] * 3), "finite"),
        (np.array([[np.inf, 0, 0, 0]] * 3), "finite"),
    ],
)
def test_bad_starts_are_refused(argument: str, rows: np.ndarray, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason) as raised:
        skipgram.fit(Graph.from_edges([0], [0], 1, 2), dim=4, **{argument: rows})
    assert raised.value.argument == argument


def test_starts_may_be_of_any_layout() -> None:
    graph = Graph.from_edges([0, 1], [0, 0], 2, 1)
    rows = np.random.default_rng(0).normal(size=(4, 6))[:, ::2].T
    plain = np.ascontiguousarray(rows, dtype=np.float32)
    a, b = (skipgram.fit(graph, dim=4, initial=x, walks_per_node=1).vectors for x in (rows, plain))
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("hogwild", [False, True])
@settings(max_examples=30, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6),
    negatives=st.sampled_from([1, 5, 31]),
    window=st.sampled_from([1, 5, 100]),
    walk_length=st.sampled_from([2, 3, 50]),
    dim=st.sampled_from([1, 7, 64]),
    subsample=st.sampled_from([0.0, 1e-6, 0.5]),
    dynamic_window=st.booleans(),
)
def test_tiny_graphs_stay_finite(hogwild: bool, edges: list[tuple[int, int]], **options: float) -> None:
    """More negatives than nodes, windows beyond the walk, walks that subsampling empties, unless it empties all."""
    graph = Graph.from_edges([u for u, _ in edges], [i for _, i in edges], 3, 3)
    refused = None
    try:
        fitted = skipgram.fit(graph, walks_per_node=3, hogwild=hogwild, threads=2, **options)
    except ArgumentError as error:
        refused = error.argument
    if refused:
        assert (refused, options["subsample"]) == ("subsample", 1e-6)
        return
    assert np.isfinite(fitted.vectors).all()
    assert np.abs(fitted.vectors).max(initial=0) < 100
    nodes = {u for u, _ in edges} | {3 + i for _, i in edges}
    assert set(np.flatnonzero(fitted.trained)) == nodes


@pytest.mark.parametrize("hogwild", [False, True])
def test_subsampling_that_leaves_no_pair_is_refused(hogwild: bool) -> None:
    """Some walks may be emptied, not all; a graph without edges has no pair in any case."""
    graph = Graph.from_edges([0, 1], [0, 0], 2, 1)
    some = skipgram.fit(graph, walks_per_node=200, hogwild=hogwild, subsample=1e-2)
    assert 0 < some.pairs < skipgram.fit(graph, walks_per_node=200, hogwild=hogwild).pairs
    with pytest.raises(ArgumentError, match="subsample: expected a share that leaves pairs to train on"):
        skipgram.fit(graph, walks_per_node=3, hogwild=hogwild, subsample=1e-9)
    assert skipgram.fit(Graph.from_edges([], [], 2, 1), subsample=1e-9).pairs == 0


def test_pairs_are_counted() -> None:
    """Two nodes, walks of three: with a window of one each walk has four pairs."""
    graph = Graph.from_edges([0], [0], 1, 1)
    for hogwild in (False, True):
        fitted = skipgram.fit(graph, dim=2, walk_length=3, window=1, walks_per_node=5, epochs=2, hogwild=hogwild)
        assert fitted.pairs == 2 * 5 * 2 * 4


def test_subsampling_drops_pairs_of_frequent_nodes() -> None:
    users = np.arange(200)
    graph = Graph.from_edges(np.concatenate([users, users]), np.concatenate([users * 0, users + 1]), 200, 201)
    plain, thinned = (skipgram.fit(graph, dim=4, subsample=t).pairs for t in (0.0, 1e-3))
    assert 0 < thinned < 0.8 * plain
