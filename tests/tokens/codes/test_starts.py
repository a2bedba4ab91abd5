"""Where k-means starts: no distinct row is overlooked, and large runs take the best of several starts."""

from __future__ import annotations

import numpy as np
import pytest

from metatoken.tokens.codes.clustering import fit
from metatoken.tokens.settings import Metric


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n", [5_000, 40_000])
def test_rare_rows_are_found_among_many_equal_ones(n: int, metric: Metric) -> None:
    rng = np.random.default_rng(0)
    x = np.ones((n, 4), np.float32)
    x[: n // 3] = 0
    places = rng.choice(n, 9, replace=False)
    x[places] = rng.normal(loc=[0, 4, 0, -4], size=(9, 4))
    kinds = 11 if metric == "euclidean" else 10  # a zero row has no direction
    book = fit(x, [kinds], metric=metric)
    assert book.report.distinct == (kinds,)
    assert len(set(book.assign(x)[places, 0].tolist())) == 9
    if metric == "euclidean":
        assert book.report.inertia[0] == pytest.approx(0, abs=1e-6)


def test_a_large_run_takes_the_best_of_several_starts() -> None:
    k, rng = 16, np.random.default_rng(0)
    n = 1024 * k
    centres = rng.normal(size=(k, 4)) * 3
    x = (centres[rng.integers(k, size=n)] + rng.normal(size=(n, 4))).astype(np.float32)
    single = np.array([fit(x[:-1], [k], seed=seed).report.inertia[0] for seed in range(20)])
    several = np.array([fit(x, [k], seed=seed).report.inertia[0] for seed in range(20)])
    best = min(single.min(), several.min())
    assert several.mean() / best - 1 < (single.mean() / best - 1) / 2
    assert fit(x, [k], threads=1).report.inertia == fit(x, [k], threads=2).report.inertia
