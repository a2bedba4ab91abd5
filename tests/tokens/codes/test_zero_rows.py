"""Zero rows under cosine have no direction: they are never a centre, neither at the start nor of an emptied cluster."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from metatoken._core import cluster as native
from metatoken.tokens.codes.clustering import fit
from tests.oracles import cluster as oracle


def rows(n: int, share: float, seed: int, dim: int = 4) -> np.ndarray:
    """Rows of which a share is zero, each time in other places."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    x[rng.random(n) < share] = 0
    return x


@pytest.mark.parametrize("kernel", native.kernels())
@pytest.mark.parametrize("iterations", [0, 1, 20])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_equals_the_oracle(kernel: str, iterations: int, share: float) -> None:
    for seed in range(8):
        x = rows(300, share, seed)
        arguments = (x, [8], "residual", "cosine", "k-means++", seed, iterations, None, None)
        centroids, codes, *_ = native.fit(*arguments, 1, kernel, None)
        expected, labels = oracle.residual(x, [8], "cosine", seed, iterations)
        np.testing.assert_array_equal(codes, labels)
        np.testing.assert_allclose(centroids[0], expected[0], atol=1e-5)
        assert centroids[0].any(axis=1).all()
        assert (codes[~x.any(axis=1)] == 0).all()
        again = native.fit(*arguments, 4, kernel, None)
        assert [c.tobytes() for c in again[0]] == [c.tobytes() for c in centroids]


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("method", ["residual", "tree"])
def test_more_rows_than_seeding_looks_at(
    init: Literal["k-means++", "random"], method: Literal["residual", "tree"]
) -> None:
    x = rows(20_000, 0.5, 1)
    one, two = (fit(x, [16, 4], metric="cosine", init=init, method=method, threads=threads) for threads in (1, 2))
    assert one.centroids[0].any(axis=1).all()
    assert one.report.distinct[0] == 16
    assert [c.tobytes() for c in one.centroids] == [c.tobytes() for c in two.centroids]


def test_emptied_clusters_take_rows_with_a_direction() -> None:
    # Repeated directions and many zero rows: clusters run empty, and a zero row is the farthest one of all.
    rng = np.random.default_rng(0)
    for seed in range(40):
        x = np.repeat(rng.normal(size=(9, 2)), 3, axis=0)
        x = np.concatenate([x, np.zeros((20, 2))]).astype(np.float32)
        centroids, codes, *_ = native.fit(x, [9], "residual", "cosine", "random", seed, 20, None, None, 1, None, None)
        assert centroids[0].any(axis=1).all()
        assert (codes[27:] == 0).all()


def test_only_zero_rows() -> None:
    book = fit(np.zeros((30, 3), np.float32), [4], metric="cosine")
    assert not book.centroids[0].any()
    assert book.report.distinct == (1,)
    assert not book.assign(np.zeros((5, 3), np.float32)).any()
