"""Rating metrics, and the untrained answers that a rating model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError
from metatoken.tasks.biases import RatingBias, ratings_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions

    Float64 = NDArray[np.float64]

__all__ = ["GlobalMean", "RatingBias", "rating_metrics"]


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


@dataclass(frozen=True)
class GlobalMean:
    """The mean training rating for every pair."""

    mean: float

    @classmethod
    def fit(cls, train: Interactions) -> GlobalMean:
        """Reads the ratings of `train`."""
        return cls(float(ratings_of(train).mean()))

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Predicted ratings float64 `[n]` of user rows and item rows `[n]`; they are not looked at."""
        return np.full(np.broadcast_shapes(np.shape(users), np.shape(items)), self.mean)
