"""Rankers that are counted, not trained: what is popular, and what tends to come next.

Both give each user a probability distribution over the catalogue, so that they can be printed beside a model and also
be mixed with its softmax, p = (1 - w) p_model + w p_prior. Seen items are removed later, by `model.heads.top`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from metatoken._core.transitions import distributions
from metatoken.data.ragged import check_rows
from metatoken.data.transitions import BACKWARD, DAMPING, GAPS, SECOND_HOP, transition_steps
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.data.ragged import Sequences

    Float32 = NDArray[np.float32]
    Arrays = tuple[NDArray[np.int64], NDArray[np.int32], Float32]


@dataclass(frozen=True)
class Popularity:
    """The share of each item in the training interactions, the same for every user.

    Attributes:
        share: float32 [n_items], sums to 1 (uniform if there are no interactions).
    """

    share: Float32

    @classmethod
    def fit(cls, train: Interactions) -> Popularity:
        """Counts the items of `train`."""
        return cls(_shares(train.sequences().items, train.n_items))

    def scores(self, history: Sequences, users: NDArray[Any]) -> Float32:
        """Popularity for a batch of users: float32 [b, n_items]; `history` is not looked at."""
        rows = check_rows(users, len(history))
        return np.tile(self.share, (len(rows), 1))


@dataclass(frozen=True)
class TransitionGraph:
    """Two-hop walk on the item-item transitions, started from the last items of the history.

    T has a row of steps for every item, see `data.transitions`. A user whose last items are x_1 (newest), x_2, ...
    starts from v = sum_r recency[r] e(x_r), and the graph says

        g = v T + second_hop (v T) T,    p = (1 - smoothing) g / |g|_1 + smoothing popularity.

    `smoothing` orders the items that two steps do not reach; a user without a known transition gets popularity alone.
    T^2 is never formed.

    Source of the idea: recommenders by first-order Markov chains, as in FPMC (Rendle et al., WWW 2010), without the
    factors.

    Attributes:
        transitions: T, sparse float32 [n_items, n_items].
        popularity: The distribution that fills in.
        recency: Weights of the last items of a history, newest first.
        second_hop: Weight of the second step.
        smoothing: Share of popularity in each distribution, from 0 to 1.
    """

    transitions: sparse.csr_array
    popularity: Popularity
    recency: tuple[float, ...]
    second_hop: float
    smoothing: float

    @classmethod
    def fit(
        cls,
        train: Interactions,
        *,
        gaps: Sequence[float] = GAPS,
        backward: float = BACKWARD,
        damping: float = DAMPING,
        recency: Sequence[float] = (1.0, 0.6, 0.3),
        second_hop: float = SECOND_HOP,
        smoothing: float = 0.01,
    ) -> TransitionGraph:
        """Counts and scales the transitions of `train`; reads nothing else.

        Args:
            train: The training interactions.
            gaps: Weight of a pair one place apart, two places apart, ...
            backward: Weight of a transition against the order of time.
            damping: Power of the row sum that a row is divided by.
            recency: Weights of the last items of a history, newest first.
            second_hop: Weight of the second step.
            smoothing: Share of popularity in each distribution.

        Raises:
            ArgumentError: A weight is negative or not finite, or `smoothing` is above 1.
        """
        _check_weights(gaps=gaps, backward=backward, damping=damping, recency=recency, second_hop=second_hop)
        if not 0.0 <= smoothing <= 1.0:
            raise ArgumentError("smoothing", f"expected a share from 0 to 1, got {smoothing}")
        scaled = transition_steps(train.sequences(), train.n_items, gaps=gaps, backward=backward, damping=damping)
        return cls(scaled, Popularity.fit(train), tuple(recency), second_hop, smoothing)

    def scores(self, history: Sequences, users: NDArray[Any]) -> Float32:
        """Distribution over the items for a batch of users.

        Args:
            history: What each user has seen, oldest first, rows of the items of `fit`. The last `len(recency)` count.
            users: Integer [b], rows of `history`.

        Returns:
            float32 [b, n_items], non-negative, each row sums to 1.

        Raises:
            ArgumentError: `users` are not rows of `history`, or its items not rows of the catalogue.
        """
        rows = check_rows(users, len(history))
        starts = _arrays(start(history, rows, self.recency, self.transitions.shape[0]))
        return distributions(self._steps, starts, self.popularity.share, self.second_hop, self.smoothing)

    @cached_property
    def _steps(self) -> Arrays:
        return _arrays(self.transitions)


def start(history: Sequences, users: NDArray[np.int64], recency: Sequence[float], n_items: int) -> sparse.csr_array:
    """Where users start from: weights of their last items, newest first, sparse float32 `[b, n_items]`.

    Raises:
        ArgumentError: An item is no row of the catalogue.
    """
    ends, lengths = history.offsets[users + 1], history.lengths[users]
    user, place = np.nonzero(np.arange(len(recency)) < lengths[:, None])
    items = history.items[ends[user] - 1 - place]
    if len(items) and (items.min() < 0 or items.max() >= n_items):
        raise ArgumentError("history", f"expected item rows from 0 to {n_items - 1}, got {items.max()}")
    weights = np.asarray(recency, dtype=np.float32)[place]
    return sparse.csr_array((weights, (user, items)), shape=(len(users), n_items))


def _arrays(rows: sparse.csr_array) -> Arrays:
    """What the native core takes of sparse rows."""
    offsets, columns = rows.indptr.astype(np.int64, copy=False), rows.indices.astype(np.int32, copy=False)
    return offsets, columns, rows.data.astype(np.float32, copy=False)


def _shares(items: NDArray[np.int32], n_items: int) -> Float32:
    if n_items < 1:
        raise ArgumentError("train", "expected a catalogue of at least one item, got none")
    counts = np.bincount(items, minlength=n_items) + float(len(items) == 0)
    share: Float32 = (counts / counts.sum()).astype(np.float32)
    return share


def _check_weights(**weights: float | Sequence[float]) -> None:
    for name, value in weights.items():
        array = np.atleast_1d(np.asarray(value, dtype=np.float64))
        if array.size == 0 or not np.isfinite(array).all() or (array < 0).any():
            raise ArgumentError(name, f"expected finite weights of at least 0, got {value}")
