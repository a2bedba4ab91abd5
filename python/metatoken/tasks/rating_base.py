"""What a rating head's value means: something to add to what other ratings say already."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from metatoken.tasks.biases import RatingBias, rated, ratings_of
from metatoken.tasks.collaborative import Collaborative, Unseen, choose_regularization
from metatoken.tasks.intervals import RatingErrors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions

    Float64 = NDArray[np.float64]

DOUBT = 2.0  # standard errors
LEAST_OTHERS = 1e-9  # of what is added, in rows other than one


@dataclass(frozen=True)
class Kept:
    """What a base says of ratings that it has not seen, which takes a fit for each fold.

    Attributes:
        train: The interactions `[n]`.
        seed: Seed of the folds.
        said: float64 `[n]`.
    """

    train: Interactions
    seed: int
    said: Float64


@dataclass
class RatingBase:
    """`rating = base(u, i) + share * spread * value`, the base being biases, factors and neighbourhoods.

    Attributes:
        biases: Fitted on training ratings.
        spread: Standard deviation of what the base leaves over of ratings that it has not seen.
        share: Share of the head's part by task, chosen on validation ratings; 1 before that.
        collaborative: What is added to the biases; None in runs of older versions, whose base are the biases.
        errors: How far ratings are off, for intervals; None in runs of older versions.
        kept: What `unseen` has found last.
    """

    biases: RatingBias
    spread: float
    share: dict[str, float] = field(default_factory=dict)
    collaborative: Collaborative | None = None
    errors: RatingErrors | None = None
    kept: Kept | None = field(default=None, repr=False, compare=False)

    NAMES: ClassVar = ("user", "item", "numbers", "shares")

    @classmethod
    def fit(cls, train: Interactions, validation: Interactions, *, seed: int = 0) -> Self:
        """The base of `train`, its dampings, regularization and weights chosen on `validation`.

        Args:
            train: Interactions with ratings.
            validation: Others; without any, nothing but biases is taken.
            seed: Seed of the folds and factors.

        Raises:
            ArgumentError: There are no ratings.
        """
        train, held = rated(train), rated(validation)
        biases = RatingBias.choose_both(train, held)
        regularization = choose_regularization(train, held, biases)
        unseen = Unseen.of(train, biases, regularization, seed=seed)
        weights = unseen.weights(ratings_of(train))
        found = Collaborative.fit(train, biases, regularization, weights, seed=seed)
        users, items = (held.frame[name].to_numpy() for name in ("user", "item"))
        rest = ratings_of(held) - biases.predict(users, items)
        share = best_share(found.predict(users, items), rest)
        return cls(biases, 1.0, {}, replace(found, weights=weights * share)).with_rest(train, unseen, seed)

    def refitted(self, train: Interactions, *, seed: int = 0) -> Self:
        """The base of other ratings, with the dampings, weights and shares of this one."""
        train = rated(train)
        biases = RatingBias.fit(train, self.biases.damping, self.biases.item_damping)
        base = type(self)(biases, 1.0, dict(self.share))
        if (known := self.collaborative) is not None:
            base.collaborative = Collaborative.fit(train, biases, known.regularization, known.weights, seed=seed)
        found = base.with_rest(train, base.unseen_parts(train, seed), seed)
        if found.errors is not None and self.errors is not None:
            found.errors = replace(found.errors, quantiles=self.errors.quantiles)
        return found

    def unseen_parts(self, train: Interactions, seed: int) -> Unseen:
        """What biases and parts with these settings say of ratings that they have not seen; `seed` is of the folds."""
        regularization = None if self.collaborative is None else self.collaborative.regularization
        return Unseen.of(train, self.biases, regularization, seed=seed)

    def with_rest(self, train: Interactions, unseen: Unseen, seed: int) -> Self:
        """The base with how far it is off where it has not seen the ratings.

        Args:
            train: Interactions with ratings, `[n]`.
            unseen: Of these.
            seed: Seed of its folds.
        """
        said = self._said(unseen)
        rest = ratings_of(train) - said
        errors = RatingErrors.fit(train, rest)
        return replace(self, spread=float(max(rest.std(), 1e-6)), errors=errors, kept=Kept(train, seed, said))

    def unseen(self, train: Interactions, seed: int) -> Float64:
        """What the base says of its training ratings without having seen them, float64 `[n]`.

        Args:
            train: Interactions with ratings.
            seed: Seed of the folds.
        """
        if self.kept is None or self.kept.seed != seed or not self.kept.train.frame.equals(train.frame):
            self.kept = Kept(train, seed, self._said(self.unseen_parts(train, seed)))
        return self.kept.said

    def _said(self, unseen: Unseen) -> Float64:
        weights = np.zeros(3) if self.collaborative is None else self.collaborative.weights
        found: Float64 = np.clip(unseen.biases + unseen.parts @ weights, self.biases.low, self.biases.high)
        return found

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays to save, by name."""
        b = self.biases
        damping = b.damping if b.item_damping is None else b.item_damping
        numbers = np.array([b.mean, b.low, b.high, b.damping, self.spread, damping])
        found = {"user": b.user, "item": b.item, "numbers": numbers, "shares": np.array(list(self.share.values()))}
        for part in (self.collaborative, self.errors):
            found |= {} if part is None else part.tensors()
        return found

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, np.ndarray], tasks: Sequence[str]) -> Self:
        """Rebuilds what `tensors` gave; `tasks` are those of the run that rate, in its order."""
        mean, low, high, damping, spread, *item_damping = arrays["numbers"].tolist()
        biases = RatingBias(mean, arrays["user"], arrays["item"], low, high, damping, *item_damping)
        share = dict(zip(tasks, arrays["shares"].tolist(), strict=False))
        collaborative = Collaborative.from_tensors(arrays) if "weights" in arrays else None
        errors = RatingErrors.from_tensors(arrays, tasks) if "errors.user" in arrays else None
        return cls(biases, spread, share, collaborative, errors)

    def grown(self, n_users: int, n_items: int) -> Self:
        """The same for more users and items: their biases are 0, and nothing is known of them."""
        user, item = (
            np.pad(rows, (0, n - len(rows))) for rows, n in ((self.biases.user, n_users), (self.biases.item, n_items))
        )
        collaborative = None if self.collaborative is None else self.collaborative.grown(n_users, n_items)
        errors = None if self.errors is None else self.errors.grown(n_users, n_items)
        biases = replace(self.biases, user=user, item=item)
        return replace(self, biases=biases, collaborative=collaborative, errors=errors, kept=None)

    def known(self, users: np.ndarray, items: np.ndarray) -> Float64:
        """Ratings without the head, float64 `[n]` of user rows `[n]` and item rows `[n]`, within the range."""
        found = self.biases.mean + self.biases.user[users] + self.biases.item[items]
        if self.collaborative is not None:
            found = found + self.collaborative.predict(users, items)
        clipped: Float64 = np.clip(found, self.biases.low, self.biases.high)
        return clipped

    def predict(self, task: str, users: np.ndarray, items: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Ratings float64 `[n]` within the range of training.

        Args:
            task: Whose share counts.
            users: int `[n]` user rows.
            items: int `[n]` item rows.
            values: float `[n]` of the head.
        """
        added = self.share.get(task, 1.0) * self.spread * values
        return np.clip(self.known(users, items) + added, self.biases.low, self.biases.high)


def best_share(added: Float64, rest: Float64) -> float:
    """How much of something to add, in 0..1; 0 where there is nothing to go by.

    With `r` the rest and `a` what is added, `sum (r - w a)^2` is least at `w = sum r a / sum a^2`, so that what says
    nothing is left out.

    Args:
        added: float64 `[n]`.
        rest: float64 `[n]`.
    """
    power = float(added @ added)
    return float(np.clip(added @ rest / power, 0.0, 1.0)) if power > 0 else 0.0


def certain_share(added: Float64, rest: Float64) -> float:
    """`best_share`, where the rows leave little doubt that there is something to add; 0 otherwise.

    The least squares `w` has the standard error `sqrt(sum (a (r - w a) / (1 - h))^2) / sum a^2` with the leverages
    `h = a^2 / sum a^2`, whatever the variances of independent rows are (HC3 of MacKinnon and White, 1985). A share that
    is not `DOUBT` times as large may be the best of these rows by luck alone.

    Args:
        added: float64 `[n]`.
        rest: float64 `[n]`.
    """
    power = float(added @ added)
    if power == 0:
        return 0.0
    weight, others = float(added @ rest) / power, 1 - added**2 / power
    if others.min() < LEAST_OTHERS:
        return 0.0  # one row says it all
    doubt = np.linalg.norm(added * (rest - weight * added) / others) / power
    return min(weight, 1.0) if weight > DOUBT * doubt else 0.0
