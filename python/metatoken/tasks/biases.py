"""User and item biases of ratings: a baseline of their own, and where the base of the rating head begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.tasks.pairs import Pairs

    Float64 = NDArray[np.float64]

TOLERANCE = 1e-9  # of a bias between two sweeps, in units of the rating
SWEEPS = 10_000


@dataclass(frozen=True)
class RatingBias:
    """User and item biases, `p = mean + b_u + b_i`.

    Minimises `sum (r - mean - b_u - b_i)^2 + damping |b_user|^2 + item_damping |b_item|^2` (Koren, Bell and Volinsky,
    "Matrix factorization techniques for recommender systems", 2009, without factors). With the items fixed, each
    user's best bias is

        b_u = sum_{i rated by u} (r - mean - b_i) / (damping + n_u),

    and the other way round; the problem is convex, so alternating sweeps reach its one minimum.

    Attributes:
        mean: Mean training rating.
        user: float64 `[n_users]`, 0 for users without ratings.
        item: float64 `[n_items]`, 0 for items without ratings.
        low: Least training rating; predictions are cut to what can occur.
        high: Greatest training rating.
        damping: How strongly biases are drawn to 0.
        item_damping: The same for those of items, where it differs.
    """

    mean: float
    user: Float64
    item: Float64
    low: float
    high: float
    damping: float
    item_damping: float | None = None

    @classmethod
    def fit(cls, train: Interactions, damping: float = 5.0, item_damping: float | None = None) -> RatingBias:
        """Solves for the biases.

        Args:
            train: Interactions with ratings.
            damping: Above 0.
            item_damping: Of the biases of items, above 0; None takes the same.

        Raises:
            ArgumentError: `train` has no ratings, or a damping is not above 0.
        """
        of_items = damping if item_damping is None else item_damping
        for name, value in (("damping", damping), ("item_damping", of_items)):
            if not (np.isfinite(value) and value > 0):
                raise ArgumentError(name, f"expected a number above 0, got {value}")
        train = rated(train)
        ratings = ratings_of(train)
        users, items = (train.frame[name].to_numpy() for name in ("user", "item"))
        mean = float(ratings.mean())
        rest = ratings - mean
        user, item = np.zeros(train.n_users), np.zeros(train.n_items)
        by_user = damping + np.bincount(users, minlength=train.n_users)
        by_item = of_items + np.bincount(items, minlength=train.n_items)
        for _ in range(SWEEPS):
            before = np.concatenate([user, item])
            user = np.bincount(users, rest - item[items], minlength=train.n_users) / by_user
            item = np.bincount(items, rest - user[users], minlength=train.n_items) / by_item
            if np.abs(np.concatenate([user, item]) - before).max() < TOLERANCE:
                break
        return cls(mean, user, item, float(ratings.min()), float(ratings.max()), damping, item_damping)

    @classmethod
    def choose(
        cls, train: Interactions, validation: Interactions, dampings: Sequence[float] = (1, 2, 3, 5, 7, 10, 15, 25)
    ) -> RatingBias:
        """The fit whose damping has the least RMSE on `validation`; the least damping among equals."""
        return cls.best([(damping, None) for damping in sorted(dampings)], train, validation)

    @classmethod
    def choose_both(
        cls, train: Interactions, validation: Interactions, dampings: Sequence[float] = (1, 2, 3, 5, 7, 10, 15, 25)
    ) -> RatingBias:
        """The same with a damping for users and one for items, chosen one after the other.

        A log where users rate much and items are rated little, or the other way round, needs two.
        """
        common = cls.choose(train, validation, dampings).damping
        user = cls.best([(damping, common) for damping in sorted(dampings)], train, validation).damping
        return cls.best([(user, damping) for damping in sorted(dampings)], train, validation)

    @classmethod
    def best(
        cls, grid: Sequence[tuple[float, float | None]], train: Interactions, validation: Interactions
    ) -> RatingBias:
        """The fit whose dampings of users and items have the least RMSE on `validation`, the first among equals."""
        validation = rated(validation)
        if len(validation) == 0:
            return cls.fit(train)
        fits = [cls.fit(train, *dampings) for dampings in grid]
        actual = ratings_of(validation)
        users, items = (validation.frame[name].to_numpy() for name in ("user", "item"))
        return min(fits, key=lambda fit: float(((fit.predict(users, items) - actual) ** 2).mean()))

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Predicted ratings float64 `[n]` of user rows `[n]` and item rows `[n]`."""
        predicted: Float64 = np.clip(self.mean + self.user[users] + self.item[items], self.low, self.high)
        return predicted

    def rate(self, pairs: Pairs) -> Float64:
        """Predicted ratings float64 `[n]` of pairs."""
        return self.predict(pairs.users, pairs.items)


def rated(log: Interactions) -> Interactions:
    """The rows of a log that have a rating."""
    return log.having(["rating"]) if "rating" in log.frame.columns else log


def ratings_of(log: Interactions) -> Float64:
    """Ratings of the rows, float64 `[n]`; NaN where a row has none.

    Raises:
        ArgumentError: The log has none.
    """
    if "rating" not in log.frame.columns or len(log) == 0:
        raise ArgumentError("train", "expected interactions with ratings; read the log with rating=<its column>")
    return log.frame["rating"].to_numpy().astype(np.float64)
