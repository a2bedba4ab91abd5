"""Top-k lists: selection, ties, filters of seen items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatoken.data.ragged import Sequences
from metatoken.errors import ArgumentError
from metatoken.model.heads import top
from tests.oracles import evaluate as oracle


def rows(*lists):
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Sequences(offsets, np.array([item for one in lists for item in one], dtype=np.int32))


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
    items, values = top.top_k(scores, rows(*seen), k)
    expected_items, expected_values = oracle.top_k(scores, seen, k)
    assert items.dtype == np.int32
    assert values.dtype == np.float32
    np.testing.assert_array_equal(items, expected_items)
    np.testing.assert_array_equal(values, expected_values)
    np.testing.assert_array_equal(scores, before)


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
    for one, other in zip(top.top_k(convert(scores), None, 4), top.top_k(scores, None, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_top_k_pads_when_everything_is_seen():
    items, values = top.top_k(np.ones((1, 3), np.float32), rows([2, 0, 1, 1]), 2)
    assert items.tolist() == [[-1, -1]]
    assert np.isneginf(values).all()


def test_top_k_refuses():
    scores = np.zeros((2, 3), np.float32)
    with pytest.raises(ArgumentError, match="user 1 of the batch has a NaN"):
        top.top_k(np.array([[0.0, 1.0], [np.nan, 0.0]]), None, 1)
    with pytest.raises(ArgumentError, match="histories of the 2 scored users, got 1"):
        top.top_k(scores, rows([0]), 1)
    with pytest.raises(ArgumentError, match="item rows from 0 to 2"):
        top.top_k(scores, rows([3], []), 1)
    with pytest.raises(ArgumentError, match="at least 1"):
        top.top_k(scores, None, 0)
    with pytest.raises(ArgumentError, match="shape"):
        top.top_k(scores[0], None, 1)


@given(scores_and_seen(), st.sampled_from([0.3, 0.6]), st.booleans())
def test_ties_within_a_tolerance_are_settled_by_row(case, tolerance, log):
    """Against a walk through the ranked items of each user."""
    scores, seen, k = case
    scores = np.where(np.isposinf(scores), 4.0, scores).astype(np.float32)
    items, values = top.top_k(scores, rows(*seen), k, tolerance=tolerance, log=log)
    ranked = oracle.top_k(scores, seen, scores.shape[1])
    for user in range(len(scores)):
        runs, best = [], None
        for item, score in zip(ranked[0][user].tolist(), ranked[1][user].tolist(), strict=True):
            if item < 0:
                break
            bound = -np.inf if best is None else best - np.float32(tolerance) * (1 if log else abs(best))
            if best is None or score < bound:
                runs.append([])
                best = np.float32(score)
            runs[-1].append(item)
        expected = [item for run in runs for item in sorted(run)][:k]
        assert items[user].tolist() == expected + [-1] * (k - len(expected))
        assert values[user, : len(expected)].tolist() == [float(scores[user, item]) for item in expected]


@pytest.mark.parametrize("n_items", [40, 3000])
def test_rounding_does_not_change_a_list(n_items):
    """Scores that differ in the last digits, as in another place of a batch, give the same items in the same order."""
    rng = np.random.default_rng(0)
    scores = rng.choice(np.float32([0.5, 0.25, 0.125, 0.1]), (50, n_items))
    other = (scores * (1 + rng.uniform(-1e-6, 1e-6, scores.shape))).astype(np.float32)
    assert (top.top_k(scores, None, 10)[0] != top.top_k(other, None, 10)[0]).any()
    for log in (False, True):
        lists = [
            top.top_k(np.log(s) if log else s, None, 10, tolerance=top.TOLERANCE, log=log)[0] for s in (scores, other)
        ]
        assert np.array_equal(*lists)
