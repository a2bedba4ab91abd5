"""The skip-gram against its slow twin, and what its vectors are good for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.stats import chisquare

from metatoken._core import skipgram as core
from metatoken._core.cluster import kernels
from metatoken.errors import ArgumentError
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.quality.links import link_auc, same_group_at
from metatoken.tokens.vectors import skipgram
from metatoken.tokens.vectors.skipgram import Embeddings
from tests.oracles import skipgram as slow
from tests.oracles.rng import Rng
from tests.oracles.walks import SlowGraph

PATHS = ["user-item-user", "item-user-item"]
SETTINGS = slow.Settings(
    dim=5,
    window=3,
    negatives=4,
    walks_per_node=2,
    walk_length=8,
    epochs=2,
    seed=11,
    learning_rate=0.2,
    min_learning_rate=0.01,
    blocks=1,
)


def random_edges(n_users: int, n_items: int, n_edges: int, seed: int = 0) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_users, n_edges).tolist(), rng.integers(0, n_items, n_edges).tolist()


def both(settings: slow.Settings, edges: tuple[list[int], list[int]], n: tuple[int, int]) -> tuple[np.ndarray, ...]:
    slow_graph = SlowGraph({"user": n[0], "item": n[1]}, {("user", "item"): list(zip(*edges, strict=True))})
    fast = skipgram.fit(Graph.from_edges(*edges, *n), PATHS, **asdict(settings))
    return fast.vectors, slow.fit(slow_graph, PATHS, settings)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("dim", [1, 5, 16, 64, 80])
@pytest.mark.parametrize("kernel", kernels())
def test_equals_the_slow_twin(blocks: int, dim: int, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METATOKEN_KERNEL", kernel)
    fast, expected = both(replace(SETTINGS, blocks=blocks, dim=dim), random_edges(60, 70, 200), (60, 70))
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(fast, expected, rtol=1e-5, atol=1e-5)


@examples(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 31),
    st.integers(1, 4),
)
def test_equals_the_slow_twin_on_any_graph(
    edges: list[tuple[int, int]], window: int, negatives: int, blocks: int
) -> None:
    settings = replace(SETTINGS, window=window, negatives=negatives, blocks=blocks, walks_per_node=1, learning_rate=0.1)
    fast, expected = both(settings, ([u for u, _ in edges], [i for _, i in edges]), (4, 4))
    # A rate of 0.1 and up to 31 negatives among eight nodes let the last bits of sums grow.
    np.testing.assert_allclose(fast, expected, rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize(("dynamic_window", "subsample"), [(False, 0.0), (True, 0.02), (False, 0.05)])
def test_equals_the_slow_twin_with_every_option(dynamic_window: bool, subsample: float) -> None:
    settings = replace(SETTINGS, dynamic_window=dynamic_window, subsample=subsample, blocks=2, window=6)
    fast, expected = both(settings, random_edges(60, 70, 200), (60, 70))
    np.testing.assert_allclose(fast, expected, rtol=1e-5, atol=1e-5)


def test_the_step_follows_the_gradient_of_the_loss() -> None:
    """Two pairs of one centre; one of the four shared negatives is the context of one of them."""
    rng = np.random.default_rng(0)
    centre, contexts = rng.normal(size=4), rng.normal(size=(6, 4))
    found, negatives = [0, 1], [2, 3, 1, 5]

    def loss(c: np.ndarray, v: np.ndarray) -> float:
        pairs = 0.0
        for context in found:
            told_apart = [n for n in negatives if n != context]
            pairs += np.log1p(np.exp(-v[context] @ c)) + 3 / 4 * np.log1p(np.exp(v[told_apart] @ c)).sum()
        return float(pairs)

    moved_centre, moved = centre.copy(), contexts.copy()
    slow.sgns_step(moved_centre, moved, found, negatives, k=3, rate=1e-6)
    everything = np.concatenate([centre, contexts.ravel()])
    step = (np.concatenate([moved_centre, moved.ravel()]) - everything) / 1e-6
    for k, unit in enumerate(np.eye(everything.size) * 1e-5):
        up, down = (((x := everything + sign * unit)[:4], x[4:].reshape(6, 4)) for sign in (1, -1))
        assert step[k] == pytest.approx(-(loss(*up) - loss(*down)) / 2e-5, abs=1e-4)


def test_shared_negatives_keep_the_expected_step() -> None:
    """The average step of a group equals the sum of the average steps of its pairs, which draw their own."""
    rng = np.random.default_rng(0)
    centre, contexts = rng.normal(size=3), rng.normal(size=(5, 3))
    chances = np.array([0.1, 0.3, 0.2, 0.25, 0.15])

    def average(groups: list[list[int]], draws: int) -> np.ndarray:
        """Exact over all draws of one negative: a step is a sum over negatives that are alike."""
        total = np.zeros(contexts.size + 3)
        for found in groups:
            for negative, chance in enumerate(chances):
                c, v = centre.copy(), contexts.copy()
                slow.sgns_step(c, v, found, [negative] * draws, k=2, rate=1e-7)
                total += chance * np.concatenate([c - centre, (v - contexts).ravel()])
        return total / 1e-7

    np.testing.assert_allclose(average([[0, 1, 1]], draws=4), average([[0], [1], [1]], draws=2), atol=1e-5)


@pytest.mark.parametrize("blocks", [None, 4, 8])
def test_threads_change_no_byte(blocks: int | None) -> None:
    users, items = random_edges(900, 700, 4000)
    graph = Graph.from_edges(users, items, 900, 700)
    runs = [skipgram.fit(graph, dim=24, walks_per_node=1, blocks=blocks, threads=k, seed=3).vectors for k in (1, 2, 8)]
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes()
    assert runs[0].tobytes() != skipgram.fit(graph, dim=24, walks_per_node=1, blocks=blocks, seed=4).vectors.tobytes()


def test_the_order_of_edges_changes_no_byte() -> None:
    users, items = random_edges(30, 20, 100)
    first = skipgram.fit(Graph.from_edges(users, items, 30, 20), dim=8, walks_per_node=2)
    turned = skipgram.fit(Graph.from_edges(users[::-1], items[::-1], 30, 20), dim=8, walks_per_node=2)
    assert first.vectors.tobytes() == turned.vectors.tobytes()


@cache
def planted(groups: int = 12, size: int = 50, edges: int = 12) -> tuple[Graph, np.ndarray]:
    """Users and items of a group meet nine times of ten."""
    rng = np.random.default_rng(1)
    n = groups * size
    users = np.repeat(np.arange(n), edges)
    group = np.where(rng.random(users.size) < 0.9, users // size, rng.integers(0, groups, users.size))
    items = group * size + rng.integers(0, size, users.size)
    return Graph.from_edges(users, items, n, n), np.concatenate([np.arange(n) // size] * 2)


@pytest.mark.parametrize(("hogwild", "blocks"), [(False, None), (False, 6), (True, None)])
def test_planted_groups_are_found(hogwild: bool, blocks: int | None) -> None:
    graph, groups = planted()
    fitted = skipgram.fit(graph, dim=32, walks_per_node=10, hogwild=hogwild, blocks=blocks, threads=2)
    assert same_group_at(fitted.vectors, groups) > 0.9


def test_alias_frequencies() -> None:
    weights = np.array([1.0, 0.0, 5.0, 0.25, 3.0, 3.0, 1e-3])
    counts = core.alias_frequencies(weights, 200_000, 3)
    assert counts[1] == 0
    drawn = weights > 0
    assert chisquare(counts[drawn], weights[drawn] / weights.sum() * 200_000).pvalue > 1e-4
    table, rng = slow.Alias(weights.tolist()), Rng(3, 0, 0)
    twin = np.bincount([table.draw(rng) for _ in range(5_000)], minlength=7)
    np.testing.assert_array_equal(core.alias_frequencies(weights, 5_000, 3), twin)


@pytest.mark.parametrize("weights", [[], [0.0], [1.0, -1.0], [np.nan]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        core.alias_frequencies(np.array(weights), 1, 0)


def test_nodes_without_edges_stay_zero() -> None:
    fitted = skipgram.fit(Graph.from_edges([0, 2], [1, 1], 3, 3), dim=4, walks_per_node=2)
    assert fitted.trained.tolist() == [True, False, True, False, True, False]
    assert (fitted.vectors[~fitted.trained] == 0).all()
    assert (fitted.vectors[fitted.trained] != 0).any(axis=1).all()
    assert fitted.users.base is not None
    assert fitted.items.shape == (3, 4)


@pytest.mark.parametrize("hogwild", [False, True])
@pytest.mark.parametrize(("n_users", "n_items"), [(0, 0), (3, 0), (2, 2)])
def test_graphs_without_edges(hogwild: bool, n_users: int, n_items: int) -> None:
    fitted = skipgram.fit(Graph.from_edges([], [], n_users, n_items), dim=3, hogwild=hogwild)
    assert fitted.vectors.shape == (n_users + n_items, 3)
    assert not fitted.trained.any()


def test_single_edge_and_attributes() -> None:
    graph = Graph.from_edges([0], [0], 1, 2, attributes={"category": [["a"], ["a", "b"]]})
    fitted = skipgram.fit(graph, ["user-item-category-item-user"], dim=1, seed=1)
    assert fitted.vectors.shape == (3, 1)
    assert fitted.attributes["category"].shape == (2, 1)
    assert np.isfinite(fitted.vectors).all()
    assert fitted.trained.tolist() == [True, True, True]


@pytest.mark.parametrize(
    "bad",
    [
        {"dim": 0},
        {"dim": -4},
        {"window": 0},
        {"negatives": 0},
        {"negatives": 32},
        {"walks_per_node": -1},
        {"walk_length": 1},
        {"epochs": 0},
        {"seed": -1},
        {"threads": 0},
        {"blocks": 0},
        {"subsample": -1.0},
        {"subsample": 1.0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"min_learning_rate": 2.0},
        {"meta_paths": []},
        {"meta_paths": "user-item-user"},
        {"meta_paths": ["user-item"]},
    ],
)
def test_bad_arguments_are_named(bad: dict) -> None:
    with pytest.raises(ArgumentError) as raised:
        skipgram.fit(Graph.from_edges([0], [0], 1, 1), **bad)
    assert raised.value.argument in bad


def test_embeddings_check_their_shapes() -> None:
    with pytest.raises(ArgumentError, match="vectors"):
        Embeddings(np.zeros((2, 3), np.float32), 1, 2, np.ones(3, bool))
    with pytest.raises(ArgumentError, match="trained"):
        Embeddings(np.zeros((3, 3), np.float32), 1, 2, np.ones(2, bool))


def test_progress_reaches_its_total() -> None:
    seen: list[tuple[int, int]] = []
    graph = Graph.from_edges([0, 1], [0, 0], 2, 1)
    skipgram.fit(graph, dim=2, walks_per_node=4, progress=lambda *state: seen.append(state))
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize("hogwild", [False, True])
def test_interrupt_stops_within_a_second(hogwild: bool) -> None:
    code = f"""
import os, signal, threading, time
import numpy as np
from metatoken.tokens.vectors import skipgram
from metatoken.tokens.graph.walks import Graph
rng = np.random.default_rng(0)
graph = Graph.from_edges(rng.integers(0, 5000, 50000), rng.integers(0, 5000, 50000), 5000, 5000)
sent = []
def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.5, interrupt).start()
try:
    skipgram.fit(graph, walks_per_node=100000, threads=2, hogwild={hogwild})
except KeyboardInterrupt:
    print(time.monotonic() - sent[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 1


@pytest.mark.shared_data
@pytest.mark.slow
def test_held_out_links_of_a_real_log_are_found(shared_data: object) -> None:
    lines = (shared_data / "beauty" / "user_sequence.txt").read_text().splitlines()
    histories = [line.split()[1:] for line in lines]
    row = {raw: k for k, raw in enumerate(sorted({item for history in histories for item in history}))}
    users = [user for user, history in enumerate(histories) for _ in history[:-2]]
    items = [row[item] for history in histories for item in history[:-2]]
    graph = Graph.from_edges(users, items, len(histories), len(row))
    held_out = [row[history[-2]] for history in histories]
    assert link_auc(skipgram.fit(graph), np.arange(len(histories)), held_out) > 0.72
