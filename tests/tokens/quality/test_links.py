"""Quality of vectors on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from metatoken.data import Sequences
from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.quality.links import group_quality, link_auc, same_group_at
from metatoken.tokens.vectors.skipgram import Embeddings


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
    made = embeddings(rng.normal(size=(500, 8)).tolist(), rng.normal(size=(60, 8)).tolist())
    users, items = rng.integers(0, 500, 3000), rng.integers(0, 60, 3000)
    assert link_auc(made, users, items) == pytest.approx(0.5, abs=0.03)
    sampled = link_auc(made, users, items, seed=1, negatives=2)
    assert sampled == pytest.approx(0.5, abs=0.03)
    assert sampled == link_auc(made, users, items, seed=1, negatives=2) != link_auc(made, users, items, negatives=2)


def slow_auc(made: Embeddings, pairs: list[tuple[int, int]], met: set[tuple[int, int]]) -> float:
    """Every held-out pair against every pair of its user that is no edge, one at a time."""
    unit = made.vectors / np.linalg.norm(made.vectors, axis=1, keepdims=True)
    terms = []
    for user, item in pairs:
        score = unit[user] @ unit[made.n_users + item]
        others = [i for i in range(made.n_items) if (user, i) not in met and (user, i) not in pairs]
        wins = [1.0 if unit[user] @ unit[made.n_users + i] < score else 0.0 for i in others]
        if others:
            terms.append(sum(wins) / len(others))
    return sum(terms) / len(terms)


def graph_of(rng: np.random.Generator, n_users: int, n_items: int) -> tuple[Sequences, set[tuple[int, int]]]:
    met = sorted(
        {(int(u), int(i)) for u, i in zip(rng.integers(0, n_users, 60), rng.integers(0, n_items, 60), strict=True)}
    )
    counts = np.bincount([u for u, _ in met], minlength=n_users)
    return Sequences(np.concatenate([[0], np.cumsum(counts)]), np.array([i for _, i in met], np.int32)), set(met)


@pytest.mark.parametrize("seed", range(5))
def test_link_auc_ranks_among_all_non_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = embeddings(rng.normal(size=(9, 5)).tolist(), rng.normal(size=(13, 5)).tolist())
    known, met = graph_of(rng, 9, 13)
    pairs = sorted({(u, i) for u in range(9) for i in rng.integers(0, 13, 3).tolist()} - met)
    users, items = [u for u, _ in pairs], [i for _, i in pairs]
    exact = link_auc(made, users, items, known=known)
    assert exact == pytest.approx(slow_auc(made, pairs, met), abs=1e-12)
    shuffled = rng.permutation(len(pairs))
    assert link_auc(made, np.array(users)[shuffled], np.array(items)[shuffled], known=known) == pytest.approx(exact)
    assert link_auc(made, users, items, known=known, negatives=4000, seed=1) == pytest.approx(exact, abs=0.01)


def test_link_auc_needs_a_non_edge() -> None:
    made = embeddings([[1, 0]], [[1, 0], [0, 1]])
    known = Sequences(np.array([0, 1]), np.array([1], np.int32))
    for negatives in ("all", 3):
        with pytest.raises(ArgumentError, match="nothing is left to compare"):
            link_auc(made, [0], [0], known=known, negatives=negatives)
    with pytest.raises(ArgumentError, match="negatives: expected 'all' or at least 1"):
        link_auc(made, [0], [0], negatives=0)


def test_rows_with_several_groups_agree_if_they_share_one() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(40, 3))
    lists = [[f"g{g}" for g in rng.choice(6, rng.integers(0, 3), replace=False)] for _ in range(40)]
    found = group_quality(vectors, Links.from_lists("item", lists), k=4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [row for row in range(40) if lists[row]]
    agree = {(a, b): bool(set(lists[a]) & set(lists[b])) for a in rows for b in rows if a != b}
    hits = [
        agree[a, b] for a in rows for b in sorted((b for b in rows if b != a), key=lambda b: -(unit[a] @ unit[b]))[:4]
    ]
    assert found.same == pytest.approx(np.mean(hits))
    assert found.chance == pytest.approx(np.mean(list(agree.values())))
    assert found.rows == len(rows)


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
