"""Metrics of ratings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def rating_metrics(predicted: NDArray[Any], actual: NDArray[Any]) -> dict[str, float]:
    """Root mean squared and mean absolute error, in units of the rating.

        rmse = sqrt(mean (p - r)^2),  mae = mean |p - r|

    Args:
        predicted: float `[n]`.
        actual: float `[n]`.

    Returns:
        `{"rmse", "mae"}`.

    Raises:
        ArgumentError: The shapes differ, there is nothing to score, or a value is not finite.
    """
    p, r = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if p.shape != r.shape or p.ndim != 1 or len(p) == 0:
        raise ArgumentError("predicted", f"expected as many values as ratings, at least one; got {p.shape}, {r.shape}")
    if not (np.isfinite(p).all() and np.isfinite(r).all()):
        raise ArgumentError("predicted", "expected finite values; the model may have diverged")
    error = p - r
    return {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}


def interval_metrics(low: NDArray[Any], high: NDArray[Any], actual: NDArray[Any]) -> dict[str, float]:
    """How many ratings lie in their intervals, which should be as many as the level says, and how wide these are.

    Args:
        low: float `[n]`.
        high: float `[n]`.
        actual: float `[n]`.

    Returns:
        `{"coverage", "width"}`, a share and the mean in units of the rating.
    """
    return {"coverage": float(((low <= actual) & (actual <= high)).mean()), "width": float((high - low).mean())}


def written_ratings(texts: Sequence[str], known: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Ratings that texts tell, as the other raters give them: within the range of training, for every pair.

    Args:
        texts: One for each pair, `[n]`.
        known: float `[any]`, training ratings.

    Returns:
        The first number of each text, cut to what occurs in training, or the mean of training where it has none,
        float64 `[n]`; and the share of texts without a number.
    """
    told = np.array([number_in(text) for text in texts], dtype=np.float64)
    none = np.isnan(told)
    return np.where(none, known.mean(), np.clip(told, known.min(), known.max())), float(none.mean())


def number_in(text: str) -> float:
    """The first number in a text, NaN where there is none."""
    found = _NUMBER.search(text)
    return float(found[0]) if found else float("nan")
