"""Which edges a training log gives a graph: how much each weighs, and which item came next."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metatoken.errors import ArgumentError, MetatokenWarning
from metatoken.tokens.settings import EdgeWeights

if TYPE_CHECKING:
    import polars as pl

# Older interactions than this many half-lives weigh the same, so that no weight becomes zero.
MOST_HALF_LIVES = 500.0


class Edges(NamedTuple):
    """User row and item row of each edge, int32 `[m]`, and its weight, float64 above 0; `None` where all are equal."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    weights: NDArray[np.float64] | None


def user_item_edges(frame: pl.DataFrame, mode: EdgeWeights, half_life: float | None) -> Edges:
    """Edges of a log, sorted by (user, order), with weights as docs/walks.md defines them for `edge_weights`.

    Raises:
        ArgumentError: The mode does not fit the log, or `half_life` is missing or not for this mode.
    """
    ages = mode in ("recency", "position")
    if ages and half_life is None:
        raise ArgumentError("half_life", f"edge_weights={mode!r} needs a number above 0, got {half_life}")
    if not ages and half_life is not None:
        raise ArgumentError("half_life", f"is for edge_weights 'recency' and 'position', not for {mode!r}")
    users = np.ascontiguousarray(frame["user"].to_numpy(), np.int32)
    items = np.ascontiguousarray(frame["item"].to_numpy(), np.int32)
    if mode == "distinct" and len(users):
        keys = np.unique(users.astype(np.int64) << 32 | items)
        return Edges((keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32), None)
    if mode == "rating":
        return Edges(users, items, _ratings(frame))
    if half_life is not None:
        lives = (_ages(frame) if mode == "recency" else _later(users)) / half_life
        _warn_of_old(lives, mode, half_life)
        return Edges(users, items, np.exp2(-np.minimum(lives, MOST_HALF_LIVES)))
    return Edges(users, items, None)


def next_items(edges: Edges) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None]:
    """Steps in time, without repeats of an item: rows before, rows after (int32 `[n]`) and weights of the latter."""
    users, items, weights = edges
    steps = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    later = None if weights is None else np.ascontiguousarray(weights[1:][steps])
    return np.ascontiguousarray(items[:-1][steps]), np.ascontiguousarray(items[1:][steps]), later


def _warn_of_old(lives: NDArray[np.float64], mode: EdgeWeights, half_life: float) -> None:
    old = int((lives > MOST_HALF_LIVES).sum())
    if old:
        unit = "the unit of the times" if mode == "recency" else "interactions"
        said = (
            f"half_life: {old:,} of {len(lives):,} interactions are more than {MOST_HALF_LIVES:g} half-lives of "
            f"{half_life:g} old and all weigh the same; give a longer one (in {unit})"
        )
        warnings.warn(said, MetatokenWarning, stacklevel=3)


def _ratings(frame: pl.DataFrame) -> NDArray[np.float64]:
    if "rating" not in frame.columns:
        raise ArgumentError("edge_weights", "'rating' needs a log with ratings; name their column with rating=")
    if frame["rating"].has_nulls():
        said = (
            f"'rating' needs a rating in every row, {frame['rating'].null_count():,} have none; say where: <column> > 0"
        )
        raise ArgumentError("edge_weights", said)
    ratings = frame["rating"].to_numpy().astype(np.float64)
    if not (ratings > 0).all():
        lowest = float(np.min(ratings))
        raise ArgumentError("edge_weights", f"'rating' needs ratings above 0, the lowest is {lowest:g}; shift them")
    return ratings


def _ages(frame: pl.DataFrame) -> NDArray[np.float64]:
    if "timestamp" not in frame.columns:
        message = "'recency' needs a log with times; name their column with time=, or use 'position'"
        raise ArgumentError("edge_weights", message)
    times = frame["timestamp"].to_numpy().astype(np.float64)
    return np.asarray(times.max(initial=-np.inf) - times, np.float64)


def _later(users: NDArray[np.int32]) -> NDArray[np.float64]:
    """How many rows of the same user follow each row; rows are sorted by user."""
    ends = np.searchsorted(users, users, side="right")
    return (ends - 1 - np.arange(len(users))).astype(np.float64)
