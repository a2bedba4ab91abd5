"""Ranks, metrics and top-k lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatoken.errors import ArgumentError
from metatoken.evaluate import ranking
from tests.oracles import evaluate as oracle


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


def test_mean_and_std_over_seeds():
    summary = ranking.mean_and_std([{"hr@10": 0.1, "mrr@10": 0.5}, {"hr@10": 0.3, "mrr@10": 0.5}])
    assert summary["hr@10"] == pytest.approx((0.2, math.sqrt(0.02)))
    assert summary["mrr@10"] == (0.5, 0.0)
    assert ranking.mean_and_std([{"hr@10": 0.1}]) == {"hr@10": (0.1, 0.0)}
    with pytest.raises(ArgumentError):
        ranking.mean_and_std([])
    with pytest.raises(ArgumentError):
        ranking.mean_and_std([{"hr@5": 0.1}, {"hr@10": 0.1}])


def test_known_and_new_targets_apart():
    found = {"hr@10": np.array([1.0, 0.0, 1.0, 0.0]), "ndcg@10": np.array([0.5, 0.0, 1.0, 0.0]), "mrr@10": np.ones(4)}
    apart = ranking.by_novelty(found, np.array([False, True, True, True]))
    assert apart == pytest.approx({"hr@10_known": 1, "hr@10_new": 1 / 3, "ndcg@10_known": 0.5, "ndcg@10_new": 1 / 3})
    for alike in (None, np.zeros(4, dtype=bool), np.ones(4, dtype=bool)):
        assert ranking.by_novelty(found, alike) == {}
