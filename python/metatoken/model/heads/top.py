"""The best items of dense scores: one selection and one rule for ties, wherever items are ranked.

A matrix product rounds by the place of a row in its batch, so equal requests get scores that differ in the last digits,
differently on every kind of processor. Items whose scores are that close are therefore ties, in the order of their
rows: a list does not depend on what else is in the batch. An item stands before another unless its score is lower, or
higher by less than the tolerance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from metatoken.data.ragged import Sequences

    Int32 = NDArray[np.int32]
    Float32 = NDArray[np.float32]

NOTHING = -1
TOLERANCE = 1e-5  # of a probability relative to itself, hence of its logarithm as it is

# Users whose scores are sorted at once: small enough for the cache.
BLOCK = 128


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
    users, items = _pairs(seen, *table.shape)
    width = min(k, table.shape[1])
    items_out = np.full((len(table), k), NOTHING, dtype=np.int32)
    scores_out = np.full((len(table), k), -np.inf, dtype=np.float32)
    for begin in range(0, len(table), BLOCK):
        block = table[begin : begin + BLOCK] + np.float32(0.0)  # a copy of our own, and -0.0 becomes 0.0
        if np.isnan(block).any():
            row = begin + int(np.isnan(block).any(axis=1).argmax())
            raise ArgumentError("scores", f"user {row} of the batch has a NaN score; the model may have diverged")
        here = slice(*np.searchsorted(users, [begin, begin + BLOCK]))
        block[users[here] - begin, items[here]] = -np.inf
        rows, values = _settled(block, width, tolerance, log)
        items_out[begin : begin + BLOCK, :width] = np.where(np.isneginf(values), NOTHING, rows)
        scores_out[begin : begin + BLOCK, :width] = values
    return items_out, scores_out


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


def _settled(block: Float32, width: int, tolerance: float, log: bool) -> tuple[NDArray[np.int64], Float32]:
    """Columns and scores of the best of each row, ties settled."""
    rows = _best(block, width)
    values = np.take_along_axis(block, rows, axis=1)
    if tolerance <= 0.0 or width == 0:
        return rows, values
    # A run that crosses the end of the list is looked at whole.
    reach = int((block >= _bound(values[:, -1], tolerance, log)[:, None]).sum(axis=1).max(initial=width))
    if width < reach:
        rows = _best(block, reach)
        values = np.take_along_axis(block, rows, axis=1)
    rows, values = settle(rows, values, tolerance=tolerance, log=log)
    return rows[:, :width], values[:, :width]


def _float32(scores: NDArray[Any] | torch.Tensor) -> Float32:
    # Torch is not imported here: this module also serves people who bring NumPy scores.
    array: Any = scores if isinstance(scores, np.ndarray) else scores.detach().float().cpu().numpy()
    return np.asarray(array, dtype=np.float32)


def _best(table: Float32, width: int) -> NDArray[np.int64]:
    """Columns of the `width` largest scores of each row, best first, the lowest column first among equals."""
    # Score and column in one unsigned key: no two are equal, so selection and order are the same on every machine.
    # As unsigned integers floats keep their order if positive ones get the sign bit and negative ones are inverted.
    bits = table.view(np.uint32)
    sign, low = np.uint32(1 << 31), np.uint64(0xFFFFFFFF)
    keys = np.where(bits & sign, ~bits, bits | sign).astype(np.uint64) << np.uint64(32)
    keys |= low - np.arange(table.shape[1], dtype=np.uint64)
    if 0 < width < table.shape[1]:
        keys = np.partition(keys, table.shape[1] - width, axis=1)[:, -width:]
    best = np.sort(keys, axis=1)[:, ::-1]
    return (low - (best & low)).astype(np.int64)


def _pairs(seen: Sequences | None, n_users: int, n_items: int) -> tuple[NDArray[np.int64], Int32]:
    """Coordinates (row of the batch, item row) of the seen items, in the order of the batch."""
    if seen is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
    if len(seen) != n_users:
        raise ArgumentError("seen", f"expected the histories of the {n_users} scored users, got {len(seen)}")
    items = seen.items
    if len(items) and (items.min() < 0 or items.max() >= n_items):
        raise ArgumentError("seen", f"expected item rows from 0 to {n_items - 1}, got {items.min()} to {items.max()}")
    return seen.owners, items
