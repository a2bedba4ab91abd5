"""The best items of dense scores: one selection and one rule for ties, wherever items are ranked.

A matrix product rounds by the place of a row in its batch, so equal requests get scores that differ in the last digits,
differently on every kind of processor. Items whose scores are that close are therefore ties, in the order of their
rows: a list does not depend on what else is in the batch. An item stands before another unless its score is lower, or
higher by less than the tolerance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from metatoken._core import top
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from metatoken.data.ragged import Sequences

    Int32 = NDArray[np.int32]
    Float32 = NDArray[np.float32]

T = TypeVar("T", bound=np.generic)

NOTHING = -1
TOLERANCE = 1e-5  # of a probability relative to itself, hence of its logarithm as it is


def top_k(
    scores: NDArray[Any] | torch.Tensor, seen: Sequences | None, k: int, *, tolerance: float = 0.0, log: bool = False
) -> tuple[Int32, Float32]:
    """The k best unseen items of each user; among ties the lowest item row comes first.

    Args:
        scores: float [b, n_items], NumPy or torch (any device), compared in float32. -inf marks an item that must
            not be listed.
        seen: CSR rows of the same b users; their items are removed. None removes nothing.
        k: Length of the lists.
        tolerance: Scores below the best of a run of ties by no more than this share of it belong to the run; 0 takes
            equal scores alone.
        log: Whether scores are logarithms, so that the tolerance is a difference instead of a share.

    Returns:
        Item rows int32 [b, k], best first, -1 where fewer than k items remain, and their scores float32 [b, k],
        -inf there.

    Raises:
        ArgumentError: A score is NaN, `seen` is for another number of users or has items outside the catalogue.
    """
    table = _float32(scores)
    if table.ndim != 2:
        raise ArgumentError("scores", f"expected shape [users, items], got {list(table.shape)}")
    if k < 1:
        raise ArgumentError("k", f"expected at least 1, got {k}")
    offsets, removed = _removed(seen, len(table))
    width = min(k, table.shape[1])
    ties = {} if tolerance <= 0.0 else {"tolerance" if log else "share": tolerance}
    # A run of ties that crosses the end of the list is looked at whole.
    items, values = top.best(table, offsets, removed, max(width, 1), **ties)
    if ties:
        items, values = settle(items, values, tolerance=tolerance, log=log)
    return padded(items, k, NOTHING), padded(values, k, -np.inf)


def settle(
    items: NDArray[Any], scores: Float32, *, tolerance: float = TOLERANCE, log: bool = True
) -> tuple[NDArray[Any], Float32]:
    """Lists, best first, with ties in the order of their item rows; arguments as those of `top_k`.

    A run of ties begins with its best score and ends before the first that is lower by more than the tolerance.
    """
    # Most lists have no two neighbours that tie, and are settled as they stand.
    near = (scores[:, 1:] >= _bound(scores[:, :-1], tolerance, log)) & np.isfinite(scores[:, 1:])
    tied = near.any(axis=1)
    if not tied.all():
        items, scores = items.copy(), scores.copy()
        if tied.any():
            items[tied], scores[tied] = settle(items[tied], scores[tied], tolerance=tolerance, log=log)
        return items, scores
    run = np.zeros(items.shape, dtype=np.int64)
    best = scores[:, 0].copy() if items.shape[1] else np.zeros(len(items), dtype=np.float32)
    for place in range(1, items.shape[1]):
        new = scores[:, place] < _bound(best, tolerance, log)
        best[new] = scores[new, place]
        run[:, place] = run[:, place - 1] + new
    # What is no item stays behind: minus infinity is below every bound, and its own run has one row, -1.
    order = np.lexsort((items, run), axis=1)
    return np.take_along_axis(items, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _bound(best: Float32, tolerance: float, log: bool) -> Float32:
    """The lowest score that ties with `best`."""
    slack = np.float32(tolerance) * (np.float32(1.0) if log else np.abs(best))
    return np.where(np.isinf(best), best, best - np.where(np.isinf(best), 0, slack)).astype(np.float32)


def _float32(scores: NDArray[Any] | torch.Tensor) -> Float32:
    # Torch is not imported here: this module also serves people who bring NumPy scores.
    array: Any = scores if isinstance(scores, np.ndarray) else scores.detach().float().cpu().numpy()
    return np.ascontiguousarray(array, dtype=np.float32)


def _removed(seen: Sequences | None, n_users: int) -> tuple[NDArray[np.int64], Int32]:
    """Where the seen items of each user begin and end, `[n_users + 1]`, and these items."""
    if seen is None:
        return np.zeros(n_users + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    if len(seen) != n_users:
        raise ArgumentError("seen", f"expected the histories of the {n_users} scored users, got {len(seen)}")
    return seen.offsets.astype(np.int64, copy=False), seen.items.astype(np.int32, copy=False)


def padded(lists: NDArray[T], k: int, nothing: float) -> NDArray[T]:
    """Lists `[b, any]` of length k, `[b, k]`, with `nothing` where they are shorter."""
    room = ((0, 0), (0, max(0, k - lists.shape[1])))
    return np.pad(lists[:, :k], room, constant_values=nothing)
