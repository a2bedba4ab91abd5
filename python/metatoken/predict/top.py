"""The best items of dense scores: one selection and one rule for ties, wherever items are ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.data.ragged import Sequences
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Int32 = NDArray[np.int32]
    Float32 = NDArray[np.float32]

NOTHING = -1

# Users whose scores are sorted at once: small enough for the cache.
BLOCK = 128


def top_k(scores: NDArray[Any] | torch.Tensor, seen: Sequences | None, k: int) -> tuple[Int32, Float32]:
    """The k best unseen items of each user; among equal scores the lowest item row comes first.

    Args:
        scores: float [b, n_items], NumPy or torch (any device), compared in float32. -inf marks an item that must
            not be listed.
        seen: CSR rows of the same b users; their items are removed. None removes nothing.
        k: Length of the lists.

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
        rows = _best(block, width)
        values = np.take_along_axis(block, rows, axis=1)
        items_out[begin : begin + BLOCK, :width] = np.where(np.isneginf(values), NOTHING, rows)
        scores_out[begin : begin + BLOCK, :width] = values
    return items_out, scores_out


def take(history: Sequences, users: NDArray[Any]) -> Sequences:
    """The rows of some users (integer [b]) in that order, as `top_k` wants them for a batch.

    Raises:
        ArgumentError: `users` are not rows of `history`.
    """
    rows = user_rows(users, len(history))
    lengths = np.diff(history.offsets)[rows]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    # The n-th item of the result lies n - offsets[its user] after the start of that user's row.
    places = np.arange(offsets[-1]) + np.repeat(history.offsets[rows] - offsets[:-1], lengths)
    return Sequences(offsets, history.items[places])


def user_rows(users: NDArray[Any], n_users: int) -> NDArray[np.int64]:
    """`users` as int64 [b].

    Raises:
        ArgumentError: They are not integers of shape [b] from 0 to n_users - 1.
    """
    rows = np.asarray(users)
    if rows.ndim != 1 or not (np.issubdtype(rows.dtype, np.integer) or rows.size == 0):
        raise ArgumentError("users", f"expected user rows, integers of shape [b], got {rows.dtype} {list(rows.shape)}")
    rows = rows.astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= n_users):
        raise ArgumentError("users", f"expected user rows from 0 to {n_users - 1}, got {rows.min()} to {rows.max()}")
    return rows


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
    lengths = np.diff(seen.offsets)
    if len(lengths) != n_users:
        raise ArgumentError("seen", f"expected the histories of the {n_users} scored users, got {len(lengths)}")
    items = seen.items[int(seen.offsets[0]) : int(seen.offsets[-1])]
    if len(items) and (items.min() < 0 or items.max() >= n_items):
        raise ArgumentError("seen", f"expected item rows from 0 to {n_items - 1}, got {items.min()} to {items.max()}")
    return np.repeat(np.arange(n_users), lengths), items
