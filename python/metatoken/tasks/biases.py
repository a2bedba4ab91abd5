"""User and item biases of ratings, a baseline of their own, and the base that the rating head adds to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.tasks.pairs import Pairs

    Float64 = NDArray[np.float64]

TOLERANCE = 1e-9  # of a bias between two sweeps, in units of the rating
SWEEPS = 10_000


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
        train = rated(train)
        ratings = ratings_of(train)
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
        validation = rated(validation)
        if len(validation) == 0:
            return cls.fit(train)
        fits = [cls.fit(train, damping) for damping in sorted(dampings)]
        actual = ratings_of(validation)
        users, items = (validation.frame[name].to_numpy() for name in ("user", "item"))
        return min(fits, key=lambda fit: float(((fit.predict(users, items) - actual) ** 2).mean()))

    @classmethod
    def out_of_fold(cls, train: Interactions, damping: float, *, folds: int = 5, seed: int = 0) -> Float64:
        """Predictions for the rows of `train`, each by biases that have not seen its rating.

        What is left over there is as large as on held-out rows, so a model of the rest trains on what it will meet.

        Args:
            train: Interactions with ratings.
            damping: As in `fit`.
            folds: Parts, each left out once.
            seed: Seed of the parts.

        Returns:
            float64 `[n]`.
        """
        part = np.random.default_rng(seed).integers(folds, size=len(train))
        predicted = np.empty(len(train))
        users, items = (train.frame[name].to_numpy() for name in ("user", "item"))
        for number in np.unique(part):
            inside = part == number
            rest = train if inside.all() else train.with_rows(~inside)
            predicted[inside] = cls.fit(rest, damping).predict(users[inside], items[inside])
        return predicted

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Predicted ratings float64 `[n]` of user rows `[n]` and item rows `[n]`."""
        predicted: Float64 = np.clip(self.mean + self.user[users] + self.item[items], self.low, self.high)
        return predicted

    def rate(self, pairs: Pairs) -> Float64:
        """Predicted ratings float64 `[n]` of pairs."""
        return self.predict(pairs.users, pairs.items)


@dataclass
class RatingBase:
    """What a rating head's value means: `rating = bias(u, i) + share * spread * value`.

    Attributes:
        biases: Fitted on training ratings.
        spread: Standard deviation of what the biases leave over in training.
        share: Share of the head's part by task, chosen on validation ratings; 1 before that.
    """

    biases: RatingBias
    spread: float
    share: dict[str, float] = field(default_factory=dict)
    NAMES: ClassVar = ("user", "item", "numbers", "shares")

    @classmethod
    def fit(cls, train: Interactions, validation: Interactions) -> RatingBase:
        """Biases of `train` with the damping that is best on `validation`, and what they leave over.

        Raises:
            ArgumentError: There are no ratings.
        """
        return cls(RatingBias.choose(train, validation), 1.0).refitted(train)

    def refitted(self, train: Interactions) -> RatingBase:
        """Biases of other ratings, with the damping and the shares of these."""
        train = rated(train)
        biases = RatingBias.fit(train, self.biases.damping)
        rest = ratings_of(train) - RatingBias.out_of_fold(train, biases.damping)
        return RatingBase(biases, float(max(rest.std(), 1e-6)), dict(self.share))

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays to save, by name."""
        b = self.biases
        numbers = np.array([b.mean, b.low, b.high, b.damping, self.spread])
        return {"user": b.user, "item": b.item, "numbers": numbers, "shares": np.array(list(self.share.values()))}

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, np.ndarray], tasks: Sequence[str]) -> RatingBase:
        """Rebuilds what `tensors` gave; `tasks` are those of the run that rate, in its order."""
        mean, low, high, damping, spread = arrays["numbers"].tolist()
        biases = RatingBias(mean, arrays["user"], arrays["item"], low, high, damping)
        return cls(biases, spread, dict(zip(tasks, arrays["shares"].tolist(), strict=False)))

    def predict(self, task: str, users: np.ndarray, items: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Ratings float64 `[n]` within the range of training.

        Args:
            task: Whose share counts.
            users: int `[n]` user rows.
            items: int `[n]` item rows.
            values: float `[n]` of the head.
        """
        added = self.share.get(task, 1.0) * self.spread * values
        return np.clip(self.biases.predict(users, items) + added, self.biases.low, self.biases.high)


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
