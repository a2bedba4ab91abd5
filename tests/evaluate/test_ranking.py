"""Ranks, metrics and top-k lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatoken.data.interactions import Sequences
from metatoken.errors import ArgumentError
from metatoken.evaluate import ranking
from tests.oracles import evaluate as oracle


def rows(*lists):
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Sequences(offsets, np.array([item for one in lists for item in one], dtype=np.int32))


@st.composite
def lists_and_targets(draw):
    n_items = draw(st.integers(1, 15))
    users, k = draw(st.integers(1, 8)), draw(st.integers(1, 7))
    # Repeats, padding and ids outside the catalogue are all possible.
    lists = draw(hnp.arrays(np.int32, (users, k), elements=st.integers(-2, n_items + 1)))
    targets = draw(hnp.arrays(np.int32, users, elements=st.integers(0, n_items - 1)))
    return lists, targets, n_items


@given(lists_and_targets())
def test_metrics_equal_the_loops(case):
    lists, targets, n_items = case
    ks = range(1, lists.shape[1] + 1)
    found = ranking.ranking_metrics(lists, targets, n_items, tuple(ks))
    expected = oracle.ranking_metrics(lists, targets, n_items, ks)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-12)
    assert [oracle.rank(one, target) for one, target in zip(lists, targets, strict=True)] == ranking.ranks(
        lists, targets
    ).tolist()


@given(lists_and_targets())
def test_metrics_lie_in_the_unit_interval_and_grow_with_k(case):
    lists, targets, n_items = case
    width = lists.shape[1]
    metrics = ranking.ranking_metrics(lists, targets, n_items, tuple(range(1, width + 1)))
    assert all(0 <= value <= 1 for value in metrics.values())
    for name in ("hr", "ndcg", "mrr"):
        values = [metrics[f"{name}@{k}"] for k in range(1, width + 1)]
        assert values == sorted(values)
    for k in range(1, width + 1):
        assert metrics[f"mrr@{k}"] <= metrics[f"ndcg@{k}"] + 1e-12 <= metrics[f"hr@{k}"] + 2e-12


@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 30), st.just(10)), elements=st.integers(0, 40)), st.data())
def test_every_result_obeys_the_sanity_rule(lists, data):
    targets = data.draw(hnp.arrays(np.int32, len(lists), elements=st.integers(0, 40)))
    metrics = ranking.ranking_metrics(lists, targets, 41)
    assert ranking.possible(metrics)
    hits = metrics["hr@10"] - metrics["hr@5"]
    assert 0.289 * hits - 1e-9 <= metrics["ndcg@10"] - metrics["ndcg@5"] <= 0.357 * hits + 1e-9


def test_sanity_rule_finds_an_impossible_table():
    published = {"hr@5": 0.0510, "ndcg@5": 0.0351, "hr@10": 0.0753, "ndcg@10": 0.0432}
    assert ranking.possible(published, tolerance=2e-4)
    assert not ranking.possible(published | {"ndcg@10": 0.0600}, tolerance=2e-4)
    assert not ranking.possible(published | {"ndcg@10": 0.0360}, tolerance=2e-4)
    assert not ranking.possible(published | {"hr@10": 0.0400}, tolerance=2e-4)


def test_known_answer():
    lists = np.array([[3, 1, 2], [0, 1, 2], [-1, -1, -1], [4, 4, 9]], dtype=np.int32)
    metrics = ranking.ranking_metrics(lists, np.array([1, 4, 0, 4], dtype=np.int32), 8, (1, 3))
    assert ranking.ranks(lists, np.array([1, 4, 0, 4])).tolist() == [2, 0, 0, 1]
    assert metrics["hr@1"] == 0.25
    assert metrics["hr@3"] == 0.5
    assert metrics["ndcg@3"] == pytest.approx((1 / math.log2(3) + 1) / 4)
    assert metrics["mrr@3"] == pytest.approx(1.5 / 4)
    assert metrics["coverage@3"] == 5 / 8
    assert metrics["invalid@3"] == 2 / 9  # the second 4, and the 9


def test_users_without_recommendations_are_misses():
    metrics = ranking.ranking_metrics(np.full((3, 10), -1), np.array([0, 1, 2]), 5)
    assert set(metrics.values()) == {0.0}


@pytest.mark.parametrize(
    ("lists", "targets", "n_items", "ks", "argument"),
    [
        (np.zeros((2, 10), np.int32), np.zeros(3, np.int32), 5, (5,), "recommendations"),
        (np.zeros(10, np.int32), np.zeros(10, np.int32), 5, (5,), "recommendations"),
        (np.zeros((2, 10)), np.zeros(2, np.int32), 5, (5,), "recommendations"),
        (np.zeros((2, 10), np.int32), np.full(2, -1), 5, (5,), "targets"),
        (np.zeros((0, 10), np.int32), np.zeros(0, np.int32), 5, (5,), "targets"),
        (np.zeros((2, 4), np.int32), np.zeros(2, np.int32), 5, (5,), "ks"),
        (np.zeros((2, 4), np.int32), np.zeros(2, np.int32), 5, (), "ks"),
        (np.zeros((2, 4), np.int32), np.zeros(2, np.int32), 5, (0, 2), "ks"),
        (np.zeros((2, 5), np.int32), np.zeros(2, np.int32), 0, (5,), "n_items"),
    ],
)
def test_metrics_refuse(lists, targets, n_items, ks, argument):
    with pytest.raises(ArgumentError) as error:
        ranking.ranking_metrics(lists, targets, n_items, ks)
    assert error.value.argument == argument


@st.composite
def scores_and_seen(draw):
    users, n_items = draw(st.integers(0, 6)), draw(st.integers(1, 12))
    # Few distinct values, so that ties are common; signs, zeros of both signs and forbidden items occur.
    values = st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-30, 1.0, 3.0, np.inf])
    scores = draw(hnp.arrays(np.float32, (users, n_items), elements=values))
    seen = [draw(st.lists(st.integers(0, n_items - 1), max_size=n_items + 2)) for _ in range(users)]
    return scores, seen, draw(st.integers(1, n_items + 3))


@given(scores_and_seen())
def test_top_k_equals_sorting_with_ties_by_row(case):
    scores, seen, k = case
    before = scores.copy()
    items, values = ranking.top_k(scores, rows(*seen), k)
    expected_items, expected_values = oracle.top_k(scores, seen, k)
    assert items.dtype == np.int32
    assert values.dtype == np.float32
    np.testing.assert_array_equal(items, expected_items)
    np.testing.assert_array_equal(values, expected_values)
    np.testing.assert_array_equal(scores, before)


def test_top_k_is_the_same_over_block_borders(monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (23, 40)).astype(np.float32)
    seen = rows(*(rng.integers(0, 40, rng.integers(0, 9)) for _ in range(23)))
    whole = ranking.top_k(scores, seen, 10)
    monkeypatch.setattr(ranking, "BLOCK", 4)
    for one, other in zip(whole, ranking.top_k(scores, seen, 10), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        lambda x: torch.from_numpy(x).to(torch.bfloat16),
        lambda x: torch.from_numpy(x).requires_grad_(requires_grad=True),
        lambda x: x.astype(np.float64),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    ],
)
def test_top_k_takes_torch_and_any_layout(convert):
    scores = np.random.default_rng(1).integers(-4, 5, (5, 9)).astype(np.float32)
    for one, other in zip(ranking.top_k(convert(scores), None, 4), ranking.top_k(scores, None, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_top_k_pads_when_everything_is_seen():
    items, values = ranking.top_k(np.ones((1, 3), np.float32), rows([2, 0, 1, 1]), 2)
    assert items.tolist() == [[-1, -1]]
    assert np.isneginf(values).all()


def test_top_k_refuses():
    scores = np.zeros((2, 3), np.float32)
    with pytest.raises(ArgumentError, match="user 1 of the batch has a NaN"):
        ranking.top_k(np.array([[0.0, 1.0], [np.nan, 0.0]]), None, 1)
    with pytest.raises(ArgumentError, match="histories of the 2 scored users, got 1"):
        ranking.top_k(scores, rows([0]), 1)
    with pytest.raises(ArgumentError, match="item rows from 0 to 2"):
        ranking.top_k(scores, rows([3], []), 1)
    with pytest.raises(ArgumentError, match="at least 1"):
        ranking.top_k(scores, None, 0)
    with pytest.raises(ArgumentError, match="shape"):
        ranking.top_k(scores[0], None, 1)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), st.data())
def test_take_equals_indexing(lists, data):
    users = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    taken = ranking.take(rows(*lists), np.array(users, dtype=np.int32))
    assert [one.tolist() for one in taken] == [lists[user] for user in users]
    assert taken.offsets.dtype == np.int64
    assert taken.items.dtype == np.int32


def test_take_refuses_users_that_do_not_exist():
    for users in (np.array([0, 2]), np.array([-1]), np.array([0.5]), np.array([[0]])):
        with pytest.raises(ArgumentError, match="users"):
            ranking.take(rows([1], [2]), users)


def test_mean_and_std_over_seeds():
    summary = ranking.mean_and_std([{"hr@10": 0.1, "mrr@10": 0.5}, {"hr@10": 0.3, "mrr@10": 0.5}])
    assert summary["hr@10"] == pytest.approx((0.2, math.sqrt(0.02)))
    assert summary["mrr@10"] == (0.5, 0.0)
    assert ranking.mean_and_std([{"hr@10": 0.1}]) == {"hr@10": (0.1, 0.0)}
    with pytest.raises(ArgumentError):
        ranking.mean_and_std([])
    with pytest.raises(ArgumentError):
        ranking.mean_and_std([{"hr@5": 0.1}, {"hr@10": 0.1}])
