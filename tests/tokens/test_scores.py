from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.oracles import scores as slow

from metatoken.tokens.scores import balance, collision_rate, diversity, shared_tokens

matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-3, 3).map(float)
)


@settings(max_examples=150, deadline=None)
@given(x=matrices)
def test_diversity_equals_the_definition(x: np.ndarray) -> None:
    found, mean = diversity(x), slow.mean_cosine(x)
    assert found.effective_rank == pytest.approx(slow.effective_rank(x), rel=1e-4)
    assert found.mean_cosine == (None if mean is None else pytest.approx(mean, abs=1e-9))
    assert found.collision_rate == slow.collision_rate(x)


@settings(max_examples=50, deadline=None)
@given(x=matrices, scale=st.sampled_from([0.25, 2.0, 1024.0]))
def test_diversity_is_scale_free(x: np.ndarray, scale: float) -> None:
    assert diversity(x * np.float32(scale)) == diversity(x)


def test_diversity_known_answers() -> None:
    alike = diversity(np.tile(np.float32([3, 4]), (5, 1)))
    assert alike.effective_rank == pytest.approx(1)
    assert alike.mean_cosine == pytest.approx(1)
    assert alike.collision_rate == 1
    apart = diversity(np.eye(4, dtype=np.float32))
    assert apart.effective_rank == pytest.approx(4)
    assert apart.mean_cosine == pytest.approx(0)
    assert apart.collision_rate == 0


def test_balance_known_answers() -> None:
    codes = np.array([[0, 0], [0, 1], [0, 2], [1, 3], [1, -1]], np.int32)
    first, second = balance(codes, (4, 4))
    assert (first.level, first.tokens, first.used) == ("a", 4, 2)
    assert first.entropy == pytest.approx(-(0.6 * np.log(0.6) + 0.4 * np.log(0.4)) / np.log(4))
    assert first.max_over_mean == pytest.approx(3 / (5 / 4))
    assert (second.level, second.used, second.entropy, second.max_over_mean) == ("b", 4, pytest.approx(1), 1)


def test_shared_tokens() -> None:
    users, items = np.array([[0, 5], [1, -1]]), np.array([[0, 6], [2, 5]])
    assert shared_tokens(users, items) == pytest.approx(2 / 5)
    assert shared_tokens(users[:0], items) is None


def test_collision_rate_counts_every_member() -> None:
    assert collision_rate(np.array([[1, 2], [1, 2], [1, 3], [0, 0]])) == 0.5
