"""Metrics of ratings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
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


def number_in(text: str) -> float:
    """The first number in a text, NaN where there is none."""
    found = _NUMBER.search(text)
    return float(found[0]) if found else float("nan")
