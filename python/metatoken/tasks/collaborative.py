"""What others' ratings say of a pair beyond biases: factors, near items and near users, weighed by what they foretell.

The weights come from predictions for ratings that the parts have not seen (`folds`), so that a part that only knows its
own training rows by heart gets none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import optimize, sparse

from metatoken.tasks.biases import RatingBias, rated, ratings_of
from metatoken.tasks.factors import RatingFactors
from metatoken.tasks.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions

    Float64 = NDArray[np.float64]

FOLDS = 5
REGULARIZATIONS = (0.1, 0.2, 0.4)  # that are tried for the factors
RIDGE = 10.0  # of the weights, in ratings


@dataclass(frozen=True)
class Collaborative:
    """The parts and their weights.

    Attributes:
        left: What biases leave over of the training ratings, float32 `[n_users, n_items]`.
        factors: Fitted on it.
        regularization: Of the factors.
        weights: float64 `[3]`: factors, near items, near users.
    """

    left: sparse.csr_array
    factors: RatingFactors
    regularization: float
    weights: Float64

    @classmethod
    def fit(
        cls, train: Interactions, biases: RatingBias, regularization: float, weights: Float64, *, seed: int = 0
    ) -> Self:
        """Fits the parts on rated interactions that `biases` were fitted on."""
        left = left_over(train, biases)
        return cls(left, RatingFactors.fit(left, regularization, seed=seed), regularization, weights)

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """What to add to the biases, float64 `[n]`, of user rows `[n]` and item rows `[n]`."""
        found: Float64 = self.parts(users, items) @ self.weights
        return found

    def parts(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """What each part says, float64 `[n, 3]`; a neighbourhood without a weight is not asked."""
        found = np.zeros((len(users), 3))
        found[:, 0] = self.factors.predict(users, items)
        sides = ((self.near_items, users, items), (self.near_users, items, users))
        for column, (near, rows, columns) in enumerate(sides, 1):
            if self.weights[column] > 0 and near.is_affordable:
                found[:, column] = near.predict(rows, columns)
        return found

    @cached_property
    def near_items(self) -> Neighbourhood:
        """Of items."""
        return Neighbourhood(self.left)

    @cached_property
    def near_users(self) -> Neighbourhood:
        """Of users."""
        return Neighbourhood(self.left.T.tocsr())

    def grown(self, n_users: int, n_items: int) -> Self:
        """The same for more users and items, of whom it says nothing."""
        offsets = np.pad(self.left.indptr, (0, n_users + 1 - len(self.left.indptr)), mode="edge")
        left = sparse.csr_array((self.left.data, self.left.indices, offsets), shape=(n_users, n_items))
        return type(self)(left, self.factors.grown(n_users, n_items), self.regularization, self.weights)

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays to save, by name."""
        return {
            "left.offsets": self.left.indptr.astype(np.int64), "left.items": self.left.indices.astype(np.int32),
            "left.values": self.left.data, "factors.user": self.factors.user, "factors.item": self.factors.item,
            "weights": np.append(self.weights, self.regularization),
        }  # fmt: skip

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuilds what `tensors` gave."""
        factors = RatingFactors(arrays["factors.user"], arrays["factors.item"])
        shape = (len(factors.user), len(factors.item))
        left = sparse.csr_array((arrays["left.values"], arrays["left.items"], arrays["left.offsets"]), shape=shape)
        *weights, regularization = arrays["weights"].tolist()
        return cls(left, factors, regularization, np.array(weights))


def left_over(train: Interactions, biases: RatingBias) -> sparse.csr_array:
    """What biases leave over of ratings, float32 `[n_users, n_items]`; the mean where a pair was rated twice."""
    users, items = (train.frame[name].to_numpy().astype(np.int64) for name in ("user", "item"))
    rest = ratings_of(train) - biases.predict(users, items)
    keys, place, times = np.unique(users * train.n_items + items, return_inverse=True, return_counts=True)
    means = (np.bincount(place, rest) / times).astype(np.float32)
    shape = (train.n_users, train.n_items)
    return sparse.csr_array((means, (keys // train.n_items, keys % train.n_items)), shape=shape)


def choose_regularization(
    train: Interactions, validation: Interactions, biases: RatingBias, values: Sequence[float] = REGULARIZATIONS
) -> float:
    """The regularization of the factors with the least squared error on `validation`; the last where there is none."""
    validation = rated(validation)
    if len(validation) == 0:
        return values[-1]
    users, items = (validation.frame[name].to_numpy() for name in ("user", "item"))
    rest, left = ratings_of(validation) - biases.predict(users, items), left_over(train, biases)

    def error(value: float) -> float:
        return float(((RatingFactors.fit(left, value).predict(users, items) - rest) ** 2).mean())

    return min(values, key=error)


@dataclass(frozen=True)
class Unseen:
    """Predictions for training rows by what has not seen their ratings.

    Attributes:
        biases: float64 `[n]`.
        parts: float64 `[n, 3]`.
    """

    biases: Float64
    parts: Float64

    @classmethod
    def of(cls, train: Interactions, biases: RatingBias, regularization: float | None, *, seed: int = 0) -> Self:
        """Fits everything `FOLDS` times, each time without a part of the rows, for which it then speaks.

        What is left over there is as large as on held-out rows, so a model of the rest trains on what it will meet.

        Args:
            train: Interactions with ratings, `[n]`.
            biases: Whose dampings to take.
            regularization: Of the factors; None for biases alone.
            seed: Seed of the parts.
        """
        part = np.random.default_rng(seed).integers(FOLDS, size=len(train))
        users, items = (train.frame[name].to_numpy() for name in ("user", "item"))
        known, parts = np.empty(len(train)), np.zeros((len(train), 3))
        for number in np.unique(part):
            inside = part == number
            rest = train if inside.all() else train.with_rows(~inside)
            fit = RatingBias.fit(rest, biases.damping, biases.item_damping)
            known[inside] = fit.predict(users[inside], items[inside])
            if regularization is not None:
                asked = Collaborative.fit(rest, fit, regularization, np.ones(3), seed=seed)
                parts[inside] = asked.parts(users[inside], items[inside])
        return cls(known, parts)

    def weights(self, ratings: Float64) -> Float64:
        """Weights of the parts, none below 0, that are best for these ratings `[n]`, by ridge regression."""
        x = np.concatenate([self.parts, np.sqrt(RIDGE) * np.eye(3)])
        found: Float64 = optimize.nnls(x, np.concatenate([ratings - self.biases, np.zeros(3)]))[0]
        return found
