"""Quality of vectors on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from metatoken.errors import ArgumentError
from metatoken.tokens.quality import link_auc, same_group_at
from metatoken.tokens.skipgram import Embeddings


def embeddings(users: list, items: list) -> Embeddings:
    vectors = np.array(users + items, dtype=np.float32)
    return Embeddings(vectors, len(users), len(items), np.ones(len(vectors), bool))


def test_link_auc_of_known_cases() -> None:
    cross = embeddings([[1, 0], [0, 1]], [[5, 0], [0, 0.1]])
    assert link_auc(cross, [0, 1], [0, 1]) == 1
    assert link_auc(cross, [0, 1], [1, 0]) == 0
    assert link_auc(embeddings([[0, 0]], [[1, 0], [0, 1]]), [0], [1]) == 0.5


def test_link_auc_is_half_by_chance() -> None:
    rng = np.random.default_rng(0)
    made = embeddings(rng.normal(size=(50, 8)).tolist(), rng.normal(size=(60, 8)).tolist())
    users, items = rng.integers(0, 50, 20_000), rng.integers(0, 60, 20_000)
    assert link_auc(made, users, items) == pytest.approx(0.5, abs=0.02)
    assert link_auc(made, users, items, seed=1) == link_auc(made, users, items, seed=1)


@pytest.mark.parametrize(("users", "items"), [([], []), ([0], [0, 1]), ([1], [0]), ([0], [-1]), ([0], [2])])
def test_link_auc_refuses_bad_pairs(users: list[int], items: list[int]) -> None:
    with pytest.raises(ArgumentError):
        link_auc(embeddings([[1, 0]], [[1, 0], [0, 1]]), users, items)


def test_link_auc_needs_two_items() -> None:
    with pytest.raises(ArgumentError, match="at least 2 items"):
        link_auc(embeddings([[1.0]], [[1.0]]), [0], [0])


@pytest.mark.parametrize("n", [7, 1500])
def test_same_group_equals_a_plain_search(n: int) -> None:
    rng = np.random.default_rng(n)
    vectors, groups = rng.normal(size=(n, 4)).astype(np.float32), rng.integers(-1, 3, n)
    kept, labels = vectors[groups >= 0], groups[groups >= 0]
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    similar = kept @ kept.T
    np.fill_diagonal(similar, -2)
    nearest = np.argsort(-similar, axis=1)[:, :2]
    expected = (labels[nearest] == labels[:, None]).mean()
    assert same_group_at(vectors, groups, k=2) == pytest.approx(expected, abs=1e-3)


def test_same_group_refuses_bad_input() -> None:
    with pytest.raises(ArgumentError, match="groups"):
        same_group_at(np.zeros((3, 2)), [0, 1])
    with pytest.raises(ArgumentError, match="k"):
        same_group_at(np.zeros((3, 2)), [0, 1, 1], k=3)
