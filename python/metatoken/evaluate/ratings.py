"""Rating metrics, and the untrained answers that a rating model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions

    Float64 = NDArray[np.float64]

TOLERANCE = 1e-9  # of a bias between two sweeps, in units of the rating
SWEEPS = 10_000


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
        return cls(float(_ratings(train).mean()))

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Predicted ratings float64 `[n]` of user rows and item rows `[n]`; they are not looked at."""
        return np.full(np.broadcast_shapes(np.shape(users), np.shape(items)), self.mean)


@dataclass(frozen=True)
class RatingBias:
    """User and item biases, `p = mean + b_u + b_i`.

    Minimises `sum (r - mean - b_u - b_i)^2 + damping (|b_user|^2 + |b_item|^2)` (Koren, Bell and Volinsky, "Matrix
    factorization techniques for recommender systems", 2009, without factors). With the items fixed, each user's best
    bias is

        b_u = sum_{i rated by u} (r - mean - b_i) / (damping + n_u),

    and the other way round; the problem is convex, so alternating sweeps reach its one minimum.

    Attributes:
        mean: Mean training rating.
        user: float64 `[n_users]`, 0 for users without ratings.
        item: float64 `[n_items]`, 0 for items without ratings.
        low: Least training rating; predictions are cut to what can occur.
        high: Greatest training rating.
        damping: How strongly biases are drawn to 0.
    """

    mean: float
    user: Float64
    item: Float64
    low: float
    high: float
    damping: float

    @classmethod
    def fit(cls, train: Interactions, damping: float = 5.0) -> RatingBias:
        """Solves for the biases.

        Args:
            train: Interactions with ratings.
            damping: Above 0.

        Raises:
            ArgumentError: `train` has no ratings, or `damping` is not above 0.
        """
        if not (np.isfinite(damping) and damping > 0):
            raise ArgumentError("damping", f"expected a number above 0, got {damping}")
        ratings = _ratings(train)
        users, items = (train.frame[name].to_numpy() for name in ("user", "item"))
        mean = float(ratings.mean())
        rest = ratings - mean
        user, item = np.zeros(train.n_users), np.zeros(train.n_items)
        by_user = damping + np.bincount(users, minlength=train.n_users)
        by_item = damping + np.bincount(items, minlength=train.n_items)
        for _ in range(SWEEPS):
            before = np.concatenate([user, item])
            user = np.bincount(users, rest - item[items], minlength=train.n_users) / by_user
            item = np.bincount(items, rest - user[users], minlength=train.n_items) / by_item
            if np.abs(np.concatenate([user, item]) - before).max() < TOLERANCE:
                break
        return cls(mean, user, item, float(ratings.min()), float(ratings.max()), damping)

    @classmethod
    def choose(
        cls, train: Interactions, validation: Interactions, dampings: Sequence[float] = (1, 2, 3, 5, 7, 10, 15, 25)
    ) -> RatingBias:
        """The fit whose damping has the least RMSE on `validation`; the least damping among equals."""
        fits = [cls.fit(train, damping) for damping in sorted(dampings)]
        actual = _ratings(validation)
        users, items = (validation.frame[name].to_numpy() for name in ("user", "item"))
        return min(fits, key=lambda fit: rating_metrics(fit.predict(users, items), actual)["rmse"])

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Predicted ratings float64 `[n]` of user rows `[n]` and item rows `[n]`."""
        predicted: Float64 = np.clip(self.mean + self.user[users] + self.item[items], self.low, self.high)
        return predicted


def _ratings(log: Interactions) -> Float64:
    if "rating" not in log.frame.columns or len(log) == 0:
        raise ArgumentError("train", "expected interactions with ratings; read the log with rating=<its column>")
    return log.frame["rating"].to_numpy().astype(np.float64)
