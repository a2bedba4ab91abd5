"""Popularity and the transition graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data.interactions import Interactions, Sequences
from metatoken.data.split import leave_last_out
from metatoken.errors import ArgumentError
from metatoken.evaluate.ranking import possible, ranking_metrics
from metatoken.model.heads.top import top_k
from metatoken.predict.transitions import Popularity, TransitionGraph
from tests.oracles import evaluate as oracle

SETTINGS = {
    "gaps": (1.0, 0.7),
    "backward": 0.3,
    "damping": 0.8,
    "recency": (1.0, 0.6, 0.3),
    "second_hop": 0.5,
    "smoothing": 0.01,
}


def log_of(sequences, n_items):
    """A log whose item rows are the given numbers; items in no sequence keep their row."""
    # The last user meets every item once and is then left out.
    pairs = [(f"u{u:03}", f"i{i:03}") for u, one in enumerate([*sequences, range(n_items)]) for i in one]
    log = Interactions.from_arrays(*map(list, zip(*pairs, strict=True)))
    return log.with_rows(log.frame["user"].to_numpy() < log.n_users - 1)


def rows(lists):
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Sequences(offsets, np.array([item for one in lists for item in one], dtype=np.int32))


@st.composite
def worlds(draw):
    n_items = draw(st.integers(1, 8))
    lists = st.lists(st.lists(st.integers(0, n_items - 1), max_size=6), min_size=1, max_size=6)
    weight = st.floats(0, 2)
    settings = {
        "gaps": tuple(draw(st.lists(weight, min_size=1, max_size=3))),
        "backward": draw(weight),
        "damping": draw(st.floats(0, 1)),
        "recency": tuple(draw(st.lists(weight, min_size=1, max_size=4))),
        "second_hop": draw(weight),
        "smoothing": draw(st.floats(0, 1)),
    }
    # Two decimals: weights so small that float32 loses them are not the point.
    return n_items, draw(lists), draw(lists), {k: _coarse(v) for k, v in settings.items()}


def _coarse(value):
    return tuple(map(_coarse, value)) if isinstance(value, tuple) else round(value, 2)


@given(worlds())
def test_transition_graph_equals_the_dense_one(world):
    n_items, lists, history, settings = world
    train = log_of(lists, n_items)
    scores = TransitionGraph.fit(train, **settings).scores(rows(history), np.arange(len(history)))
    expected = oracle.transition_graph(lists, n_items, history, **settings)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)


def test_defaults_are_those_of_the_documented_formula():
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 12, rng.integers(0, 9)).tolist() for _ in range(20)]
    scores = TransitionGraph.fit(log_of(lists, 12)).scores(rows(lists), np.arange(20))
    np.testing.assert_allclose(scores, oracle.transition_graph(lists, 12, lists, **SETTINGS), rtol=1e-4, atol=1e-6)


@given(worlds())
def test_popularity_equals_counting(world):
    n_items, lists, _, _ = world
    scores = Popularity.fit(log_of(lists, n_items)).scores(rows(lists), np.array([0, 0]))
    assert scores.shape == (2, n_items)
    for row in scores:
        np.testing.assert_allclose(row, oracle.popularity(lists, n_items), rtol=1e-6)


def test_scores_follow_the_order_of_users():
    rng = np.random.default_rng(1)
    lists = [rng.integers(0, 9, rng.integers(0, 7)).tolist() for _ in range(15)]
    graph = TransitionGraph.fit(log_of(lists, 9))
    users = rng.permutation(15)
    whole = graph.scores(rows(lists), np.arange(15))
    np.testing.assert_array_equal(graph.scores(rows(lists), users), whole[users])
    assert graph.scores(rows(lists), users[:0]).shape == (0, 9)


def test_users_without_a_known_transition_get_popularity():
    train = log_of([[0, 1, 0], [2]], 4)
    graph, popular = TransitionGraph.fit(train), Popularity.fit(train)
    history = rows([[], [3], [2]])
    users = np.arange(3)
    np.testing.assert_allclose(graph.scores(history, users), popular.scores(history, users), rtol=1e-6)


def test_the_planted_successor_comes_first():
    # Six chains 4c -> 4c+1 -> 4c+2 -> 4c+3: who has seen two of a chain is told the third.
    chains = [[4 * c + step for step in range(4)] for c in range(6)] * 3
    graph = TransitionGraph.fit(log_of(chains, 24))
    history = rows([chain[:2] for chain in chains])
    users = np.arange(len(chains))
    items, _ = top_k(graph.scores(history, users), history, 2)
    np.testing.assert_array_equal(items, [chain[2:] for chain in chains])


def test_held_out_items_change_nothing():
    users = np.repeat([f"u{u}" for u in range(6)], 5)
    items = np.random.default_rng(2).permutation([f"i{i % 10}" for i in range(30)])
    moved = items.copy()
    moved[4::5] = np.roll(moved[4::5], 1)  # other test items
    moved[3::5] = np.roll(moved[3::5], 1)  # and other validation items
    one, other = (leave_last_out(Interactions.from_arrays(users, each)).train for each in (items, moved))
    first, second = TransitionGraph.fit(one), TransitionGraph.fit(other)
    assert first.transitions.data.tobytes() == second.transitions.data.tobytes()
    assert first.transitions.indices.tobytes() == second.transitions.indices.tobytes()
    assert first.popularity.share.tobytes() == second.popularity.share.tobytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"gaps": ()},
        {"gaps": (1.0, -1.0)},
        {"backward": float("nan")},
        {"damping": -0.5},
        {"recency": (float("inf"),)},
        {"second_hop": -1.0},
        {"smoothing": 1.5},
    ],
)
def test_fit_refuses(wrong):
    with pytest.raises(ArgumentError) as error:
        TransitionGraph.fit(log_of([[0, 1]], 2), **wrong)
    assert error.value.argument == next(iter(wrong))


def test_scores_refuse_users_and_items_that_do_not_exist():
    graph = TransitionGraph.fit(log_of([[0, 1]], 2))
    with pytest.raises(ArgumentError, match="users"):
        graph.scores(rows([[0]]), np.array([1]))
    with pytest.raises(ArgumentError, match="history"):
        graph.scores(rows([[2]]), np.array([0]))


def evaluated(model, split, part):
    history, targets = split.history(part), split.targets(part)
    lists = []
    for begin in range(0, len(targets), 2048):
        users = targets.users[begin : begin + 2048]
        lists.append(top_k(model.scores(history, users), history.take(users), 10)[0])
    return ranking_metrics(np.concatenate(lists), targets.items, split.log.n_items)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "hit_rate", "gain"), [("lastfm", 0.055, 0.030), ("beauty", 0.0789, 0.0491)])
def test_real_data(shared_data, name, hit_rate, gain):
    split = leave_last_out(Interactions.read(shared_data / name / "user_sequence.txt", format="sequences"))
    graph = evaluated(TransitionGraph.fit(split.train), split, "test")
    popular = evaluated(Popularity.fit(split.train), split, "test")
    assert graph["hr@10"] >= hit_rate
    assert graph["ndcg@10"] >= gain
    assert popular["hr@10"] < graph["hr@10"]
    assert possible(graph)
    assert possible(popular)
    assert graph["invalid@10"] == 0
