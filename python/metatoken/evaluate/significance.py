"""Whether a difference between two rows of a table is more than chance: a paired bootstrap over users.

Users are drawn with replacement, as many as there are, again and again (Efron and Tibshirani, "An introduction to the
bootstrap", 1993). All rows see the same draws, so what makes a user easy or hard for every model cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError
from metatoken.evaluate.metrics import BASELINE, VERSUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
ZERO = 1e-12  # means that differ by less are equal: the order of a sum rounds them
BLOCK = 1 << 18  # users drawn at once
JUDGED = "ndcg@10"  # what the best baseline is the best in


@dataclass(frozen=True)
class Difference:
    """One row against another.

    Attributes:
        difference: What the row has more than the other.
        low: Lower end of the 95 % interval, from percentiles of the resampled differences.
        high: Its upper end.
        p: Probability of a difference as large in either direction where there is none, two-sided, at least
            2 / (resamples + 1).
    """

    difference: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, observed: float, resampled: Float64) -> Difference:
        """From the observed difference and the resampled ones, float64 `[resamples]`.

        With B resamples, `p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (B + 1))`.
        """
        least = min((resampled <= ZERO).sum(), (resampled >= -ZERO).sum())
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        p = min(1.0, 2 * (1 + int(least)) / (len(resampled) + 1))
        return cls(float(observed), float(low), float(high), p)


def resampled_means(values: Float64, resamples: int = RESAMPLES, *, seed: int = 0) -> Float64:
    """Means over users who are drawn with replacement; every column sees the same draws.

    Args:
        values: float64 `[n, c]`, a metric of each user in each column.
        resamples: How often n users are drawn.
        seed: Seed of the draws.

    Returns:
        float64 `[resamples, c]`.

    Raises:
        ArgumentError: There are no users, or no resamples are asked for.
    """
    if values.ndim != 2 or len(values) == 0:
        raise ArgumentError("values", f"expected shape [n, c] with at least one user, got {list(values.shape)}")
    if resamples < 1:
        raise ArgumentError("resamples", f"expected at least 1, got {resamples}")
    n, rng = len(values), np.random.default_rng(seed)
    means, block = np.empty((resamples, values.shape[1])), max(1, BLOCK // n)
    for begin in range(0, resamples, block):
        size = min(block, resamples - begin)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means[begin : begin + size] = counts.astype(np.float64) @ values / n
    return means


def paired_bootstrap(ours: Float64, theirs: Float64, resamples: int = RESAMPLES, *, seed: int = 0) -> Difference:
    """The difference of the means of two metrics over the same users.

    Args:
        ours: float64 `[n]`, the metric of each user.
        theirs: float64 `[n]`, that of the other row, for the same users.
        resamples: How often users are drawn.
        seed: Seed of the draws.

    Raises:
        ArgumentError: The users are not the same number, or there are none.
    """
    if ours.shape != theirs.shape:
        raise ArgumentError("theirs", f"expected the same users as ours, {list(ours.shape)}; got {list(theirs.shape)}")
    means = resampled_means(np.stack([ours, theirs], axis=1), resamples, seed=seed)
    return Difference.of(float(ours.mean() - theirs.mean()), means[:, 0] - means[:, 1])


def best_baseline(rows: Sequence[Mapping[str, Any]], task: str) -> int | None:
    """Place of the baseline of a task with the best NDCG@10, or with the least RMSE where the task rates.

    The first among equals; None where there is none that can be judged.
    """
    for name, better in ((JUDGED, max), ("rmse", min)):
        places = [n for n, row in enumerate(rows) if (row["task"], row["template"]) == (task, BASELINE) and name in row]
        if places:
            return better(places, key=lambda n: rows[n][name])
    return None


def set_against_best_baseline(rows: Sequence[dict[str, Any]], gains: Float64) -> None:
    """Adds `vs_best_baseline` to rows: model, relative difference in NDCG@10 and p against the best of their task.

    The best baseline itself gets none, nor do rows of a task without a baseline, or whose best one never hits.

    Args:
        rows: Rows of `metrics.json` that rank; they are changed.
        gains: float64 `[n, len(rows)]`, NDCG@10 of each user in each row.
    """
    means = resampled_means(gains)
    for place, row in enumerate(rows):
        best = best_baseline(rows, row["task"])
        if best is None or best == place or rows[best][JUDGED] == 0:
            continue
        theirs = rows[best]
        found = Difference.of(row[JUDGED] - theirs[JUDGED], means[:, place] - means[:, best])
        row[VERSUS] = {"model": theirs["model"], "difference": found.difference / theirs[JUDGED], "p": found.p}
