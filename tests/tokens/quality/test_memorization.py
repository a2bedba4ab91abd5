from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from metatoken.tokens.quality import memorization as fast
from metatoken.tokens.quality.published import published_diversity, published_memorization
from tests.oracles import scores as slow


@st.composite
def logs(draw: st.DrawFn) -> tuple[slow.Ratings, int, int]:
    """A small rating log: rows with at least one column each, so that every row exists."""
    n, m = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    cell = st.dictionaries(st.integers(0, m - 1), st.sampled_from([1.0, 2.0, 3.0, 4.5, 5.0]), min_size=1)
    return {row: draw(cell) for row in range(n)}, n, m


def matrices(ratings: slow.Ratings, n: int, m: int) -> tuple[fast.Matrix, fast.Matrix]:
    dense, mask = np.zeros((n, m)), np.zeros((n, m))
    for row, columns in ratings.items():
        for column, value in columns.items():
            dense[row, column], mask[row, column] = value, 1.0
    mean = dense.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    binary = sparse.csr_array(mask)
    values = (dense - mean)[mask > 0]
    return binary, sparse.csr_array((values, binary.indices, binary.indptr), shape=(n, m))


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(log=logs(), min_support=st.integers(1, 3))
def test_adjusted_cosine_of_supported_pairs_equals_the_definition(
    log: tuple[slow.Ratings, int, int], min_support: int
) -> None:
    ratings, n, m = log
    binary, centred = matrices(ratings, n, m)
    i, j, support = fast.supported_pairs(binary, min_support, 10_000, np.random.default_rng(0))
    expected = slow.supported_pairs(ratings, min_support)
    assert dict(zip(zip(i.tolist(), j.tolist(), strict=True), support.tolist(), strict=True)) == expected
    found = fast.adjusted_cosine(binary, centred, i, j)
    for value, pair in zip(found.tolist(), expected, strict=True):
        reference = slow.adjusted_cosine(ratings, *pair)
        assert np.isnan(value) if reference is None else value == pytest.approx(reference, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(log=logs())
def test_memorization_with_ratings_equals_the_definition(log: tuple[slow.Ratings, int, int]) -> None:
    ratings, n, m = log
    x = vectors(n)
    found = fast.memorization(*matrices(ratings, n, m), x, min_support=1, max_pairs=10_000, seed=0)
    similar = {pair: slow.adjusted_cosine(ratings, *pair) for pair in slow.supported_pairs(ratings, 1)}
    known = {pair: round(value, 9) for pair, value in similar.items() if value is not None}
    close = {p: slow.cosine(x[p[0]].astype(float), x[p[1]].astype(float)) for p in known}
    assert found.reference == "adjusted cosine"
    assert found.pairs == len(known)
    rho = slow.spearman(list(known.values()), list(close.values()))
    area = slow.auc([close[p] for p in known if known[p] > 0], [close[p] for p in known if known[p] <= 0])
    assert found.spearman == (None if rho is None else pytest.approx(rho, abs=1e-6))
    assert found.auc == (None if area is None else pytest.approx(area, abs=1e-9))


def test_memorization_without_ratings_on_a_planted_log() -> None:
    # Two groups of columns; rows of a group share many, rows of different groups none.
    rng = np.random.default_rng(1)
    group = np.arange(40) % 2
    mask = np.zeros((40, 20))
    for row in range(40):
        mask[row, group[row] * 10 + rng.choice(10, 6, replace=False)] = 1
    binary = sparse.csr_array(mask)
    good = np.eye(2, dtype=np.float32)[group] + 0.01 * rng.normal(size=(40, 2)).astype(np.float32)
    found = fast.memorization(binary, None, good, min_support=2, max_pairs=10_000, seed=0)
    assert found.reference == "co-occurrence cosine"
    assert found.auc == 1.0
    ratings = {row: dict.fromkeys(np.flatnonzero(mask[row]).tolist(), 1.0) for row in range(40)}
    pairs = slow.supported_pairs(ratings, 2)
    assert found.pairs == len(pairs)
    rho = slow.spearman(
        [slow.cooccurrence_cosine(ratings, *p) for p in pairs],
        [slow.cosine(good[i].astype(float), good[j].astype(float)) for i, j in pairs],
    )
    assert found.spearman == pytest.approx(rho, abs=1e-9)
    noise = fast.memorization(binary, None, vectors(40), min_support=2, max_pairs=10_000, seed=0)
    assert noise.auc is not None
    assert 0.3 < noise.auc < 0.7


def test_scale_of_the_representation_changes_nothing() -> None:
    mask = sparse.csr_array((np.random.default_rng(0).random((30, 15)) < 0.3).astype(float))
    x = vectors(30)
    a, b = (fast.memorization(mask, None, v, min_support=1, max_pairs=999, seed=0) for v in (x, x * np.float32(64)))
    assert a == b


def test_sampling_is_seeded_and_takes_real_pairs_once() -> None:
    binary = sparse.csr_array((np.random.default_rng(0).random((60, 25)) < 0.3).astype(float))

    def draw(seed: int, max_pairs: int, budget: int) -> list[tuple[int, int, int]]:
        parts = fast.supported_pairs(binary, 2, max_pairs, np.random.default_rng(seed), budget)
        return list(zip(*(part.tolist() for part in parts), strict=True))

    full = draw(0, 10**6, 10**9)
    few = draw(0, 50, 10**9)
    assert len(few) == 50
    assert set(few) <= set(full)
    assert few == draw(0, 50, 10**9) != draw(1, 50, 10**9)
    # A budget takes some rows with all their partners: still each unordered pair at most once.
    part = draw(0, 10**6, 2000)
    unordered = {(min(i, j), max(i, j), s) for i, j, s in part}
    assert 0 < len(unordered) == len(part) < len(full)
    assert unordered <= set(full)


def test_nothing_in_common_gives_none() -> None:
    found = fast.memorization(sparse.csr_array(np.eye(4)), None, vectors(4), min_support=1, max_pairs=9, seed=0)
    assert found == fast.Memorization("co-occurrence cosine", 0, None, None)


@given(
    a=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=8),
    b=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=8),
)
def test_auc_and_spearman_equal_their_definitions(a: list[float], b: list[float]) -> None:
    area = slow.auc(a, b)
    assert fast.auc(np.array(a), np.array(b)) == (None if area is None else pytest.approx(area))
    short = min(len(a), len(b))
    rho = slow.spearman(a[:short], b[:short])
    assert fast.spearman(np.array(a[:short]), np.array(b[:short])) == (None if rho is None else pytest.approx(rho))


def test_published_memorization_is_their_formula() -> None:
    rng = np.random.default_rng(0)
    ratings = {
        row: {int(c): float(rng.integers(1, 6)) for c in rng.choice(8, rng.integers(2, 7), replace=False)}
        for row in range(12)
    }
    _, centred = matrices(ratings, 12, 8)
    x = vectors(12)
    theirs = slow.published_similarity(ratings)
    low, high = min(theirs.values()), max(theirs.values())
    z = (x - x.mean(axis=0)) / x.std(axis=0)  # three columns: all components are needed for 95 %
    errors = [((s - low) / (high - low) - slow.cosine(z[i], z[j])) ** 2 for (i, j), s in theirs.items()]
    found = published_memorization(centred, x, seed=0)
    # 10,000 draws from 66 pairs: the standard error is a hundredth of the spread.
    assert found == pytest.approx(np.mean(errors), abs=5 * np.std(errors) / 100)
    assert published_memorization(centred, x, seed=0) == found


def test_published_diversity_is_their_formula_and_grows_with_the_norm() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    p = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    q = p[::-1]
    divergence = ((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()) / 2
    found = published_diversity(x, seed=0)
    assert found == pytest.approx(divergence)
    assert published_diversity(10 * x, seed=0) > found
    assert published_diversity(x[:1], seed=0) is None


def test_published_memorization_of_equal_ratings_is_none() -> None:
    binary = sparse.csr_array(np.ones((4, 3)))
    centred = sparse.csr_array((np.zeros(12), binary.indices, binary.indptr), shape=(4, 3))
    assert published_memorization(centred, vectors(4), seed=0) is None
    assert published_memorization(centred[:1], vectors(1), seed=0) is None
