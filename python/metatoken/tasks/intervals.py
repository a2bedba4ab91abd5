"""How far predicted ratings are off: intervals that hold as many ratings as they promise.

Some users and items are harder to foretell. With `e` the error of ratings that a base has not seen, `v` the mean of
`e^2`, and `v_u`, `v_i` those of a user's and an item's ratings, drawn towards `v` where there are few, errors of a pair
are about `s = sqrt(v_u v_i / v)` wide. Quantiles of `(r - p) / s` over validation ratings then say where ratings lie
(split conformal prediction, Lei et al. 2018): the interval of level `a` is `[p + s q_low, p + s q_high]`, cut to the
range of ratings, and holds a share `a` of ratings that come from where those of validation came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from metatoken.config import shown
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions

    Float64 = NDArray[np.float64]

PRIOR = 10.0  # ratings that the mean squared error counts as
POINTS = 401  # of the distribution of errors that is kept


def check_level(level: Any) -> None:
    """Refuses what is no level of an interval: `ArgumentError`."""
    known = isinstance(level, Real)
    if not (known and 0 < level < 1):
        raise ArgumentError("interval", f"expected a share above 0 and below 1, e.g. 0.8; got {shown(level)}")


@dataclass(frozen=True)
class RatingErrors:
    """Widths of errors, and how errors are distributed.

    Attributes:
        user: float64 `[n_users]`, `sqrt(v_u)`.
        item: float64 `[n_items]`, `sqrt(v_i / v)`.
        quantiles: float64 `[POINTS]` by task, evenly spaced quantiles of `(r - p) / s` from the least to the greatest.
    """

    user: Float64
    item: Float64
    quantiles: dict[str, Float64] = field(default_factory=dict)

    @classmethod
    def fit(cls, train: Interactions, errors: Float64) -> Self:
        """Widths by the errors `[n]` of training rows by what has not seen their ratings."""
        squares = errors**2
        mean = max(float(squares.mean()), 1e-12)
        user, item = (
            np.sqrt((np.bincount(rows, squares, minlength=n) + PRIOR * mean) / (np.bincount(rows, minlength=n) + PRIOR))
            for rows, n in (
                (train.frame["user"].to_numpy(), train.n_users),
                (train.frame["item"].to_numpy(), train.n_items),
            )
        )
        return cls(user, item / np.sqrt(mean))

    def width(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """`s` of pairs, float64 `[n]`."""
        found: Float64 = self.user[users] * self.item[items]
        return found

    def calibrate(
        self, task: str, predicted: Float64, actual: Float64, users: NDArray[Any], items: NDArray[Any]
    ) -> None:
        """Keeps the distribution of errors of validation ratings; of none, none is kept."""
        if len(actual):
            shares = np.linspace(0.0, 1.0, POINTS)
            self.quantiles[task] = np.quantile((actual - predicted) / self.width(users, items), shares)

    def interval(
        self, task: str, level: float, predicted: Float64, users: NDArray[Any], items: NDArray[Any]
    ) -> tuple[Float64, Float64]:
        """Where the ratings of pairs are with probability `level`, float64 `[n]` each, not yet cut to the range.

        Raises:
            ArgumentError: `level` is not between 0 and 1, or the run has no errors of this task to go by.
        """
        check_level(level)
        if task not in self.quantiles:
            raise ArgumentError("interval", f"nothing was held out to learn errors of {task!r} from")
        tail = (1 - float(level)) / 2
        low, high = np.interp([tail, 1 - tail], np.linspace(0.0, 1.0, POINTS), self.quantiles[task])
        width = self.width(users, items)
        return predicted + low * width, predicted + high * width

    def grown(self, n_users: int, n_items: int) -> Self:
        """The same for more users and items, whose errors are as wide as the mean."""
        user, item = (
            np.pad(rows, (0, n - len(rows)), constant_values=float(np.sqrt((rows**2).mean())))
            for rows, n in ((self.user, n_users), (self.item, n_items))
        )
        return type(self)(user, item, dict(self.quantiles))

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays to save, by name."""
        named = {f"quantiles.{task}": values for task, values in self.quantiles.items()}
        return {"errors.user": self.user, "errors.item": self.item} | named

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, np.ndarray], tasks: Sequence[str]) -> Self:
        """Rebuilds what `tensors` gave, for these tasks."""
        quantiles = {task: arrays[f"quantiles.{task}"] for task in tasks if f"quantiles.{task}" in arrays}
        return cls(arrays["errors.user"], arrays["errors.item"], quantiles)
