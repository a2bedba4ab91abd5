"""Ranks and ranking metrics of top-k lists, one held-out item a user.

Lists are item rows (0-based int32, -1 where nothing is recommended). Every evaluated user counts: one without
recommendations, or whose target no training prefix has shown, is a miss and not left out of the mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.data.sequences import Sequences
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    Int32 = NDArray[np.int32]
    Float32 = NDArray[np.float32]

MISS = 0
NOTHING = -1

# Users whose scores are sorted at once: small enough for the cache.
BLOCK = 128


def ranks(recommendations: Int32, targets: Int32) -> Int32:
    """Place of each user's target in the user's list.

    Args:
        recommendations: int32 [m, k] item rows, best first, -1 = no recommendation.
        targets: int32 [m] item rows.

    Returns:
        int32 [m], from 1; 0 where the target is not in the list. The first place counts if it stands there twice.

    Raises:
        ArgumentError: The shapes do not fit, or a target is negative.
    """
    lists, held_out = _checked(recommendations, targets)
    hits = lists == held_out[:, None]
    if hits.shape[1] == 0:
        return np.zeros(len(hits), dtype=np.int32)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, MISS).astype(np.int32)


def ranking_metrics(
    recommendations: Int32, targets: Int32, n_items: int, ks: Sequence[int] = (5, 10)
) -> dict[str, float]:
    """Hit rate, NDCG and reciprocal rank at each cut-off, coverage and invalid share at the largest.

    One item is relevant, so the ideal DCG is 1 and, with r the rank of the target (0 = miss),

        hr@k = mean [1 <= r <= k],  ndcg@k = mean [1 <= r <= k] / log2(r + 1),  mrr@k = mean [1 <= r <= k] / r.

    `coverage@k` is the share of the catalogue that stands in some user's list, `invalid@k` the share of the listed
    ids that are outside the catalogue or repeat an id further up in the same list (0 if nothing is listed).

    Args:
        recommendations: int32 [m, k] item rows, best first, -1 = no recommendation; k at least `max(ks)`.
        targets: int32 [m] item rows.
        n_items: Size of the catalogue.
        ks: Cut-offs, each at least 1.

    Returns:
        `{"hr@5", "ndcg@5", "mrr@5", ..., "coverage@10", "invalid@10"}`, each in [0, 1].

    Raises:
        ArgumentError: No user, a cut-off below 1 or beyond the lists, or shapes that do not fit.
    """
    lists, held_out = _checked(recommendations, targets)
    cuts = sorted(set(ks))
    if not cuts or cuts[0] < 1 or cuts[-1] > lists.shape[1]:
        raise ArgumentError("ks", f"expected cut-offs from 1 to the length of the lists, {lists.shape[1]}; got {ks}")
    if n_items < 1:
        raise ArgumentError("n_items", f"expected at least 1 item, got {n_items}")
    if len(held_out) == 0:
        raise ArgumentError("targets", "expected at least one evaluated user, got none")
    place = ranks(lists, held_out).astype(np.float64)
    metrics: dict[str, float] = {}
    for k in cuts:
        hit = (place > MISS) & (place <= k)
        found = place[hit]
        metrics[f"hr@{k}"] = float(hit.mean())
        metrics[f"ndcg@{k}"] = float((1.0 / np.log2(found + 1.0)).sum() / len(place))
        metrics[f"mrr@{k}"] = float((1.0 / found).sum() / len(place))
    top = cuts[-1]
    metrics[f"coverage@{top}"] = coverage(lists[:, :top], n_items)
    metrics[f"invalid@{top}"] = invalid_share(lists[:, :top], n_items)
    return metrics


def coverage(recommendations: Int32, n_items: int) -> float:
    """Share of the `n_items` item rows that occur in int32 [m, k] `recommendations`."""
    inside = recommendations[(recommendations >= 0) & (recommendations < n_items)]
    return len(np.unique(inside)) / n_items


def invalid_share(recommendations: Int32, n_items: int) -> float:
    """Share of the ids listed in int32 [m, k] that are no row below `n_items` or repeat one of the same list."""
    listed = recommendations != NOTHING
    if not listed.any():
        return 0.0
    outside = (recommendations < 0) | (recommendations >= n_items)
    # A stable sort puts equal ids of a list side by side in list order: all but the first of a run are repeats.
    order = np.argsort(recommendations, axis=1, kind="stable")
    ordered = np.take_along_axis(recommendations, order, axis=1)
    repeated = np.zeros(recommendations.shape, dtype=bool)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return float((listed & (outside | repeated)).sum() / listed.sum())


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


def possible(metrics: Mapping[str, float], small: int = 5, large: int = 10, tolerance: float = 1e-9) -> bool:
    """Whether NDCG and hit rate at two cut-offs can belong to the same lists.

    With one relevant item, ranks small+1 to large alone make the two cut-offs differ, and each such hit gains between
    1/log2(large + 1) and 1/log2(small + 2): NDCG@10 - NDCG@5 lies in [.289, .356] x (HR@10 - HR@5). Published tables
    have been found that break this rule.

    Args:
        metrics: Has `hr@` and `ndcg@` at both cut-offs.
        small: The smaller cut-off.
        large: The larger cut-off.
        tolerance: Slack for rounded figures, 2e-4 for a table of four digits.
    """
    hits = metrics[f"hr@{large}"] - metrics[f"hr@{small}"]
    gain = metrics[f"ndcg@{large}"] - metrics[f"ndcg@{small}"]
    low, high = hits / math.log2(large + 1), hits / math.log2(small + 2)
    return hits >= -tolerance and low - tolerance <= gain <= high + tolerance


def mean_and_std(rows: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and sample standard deviation (n - 1 in the denominator; 0 for one row) of each metric over seeds.

    Args:
        rows: `ranking_metrics` of the same model and task, one for each seed.

    Raises:
        ArgumentError: No rows, or rows with different metrics.
    """
    table = list(rows)
    if not table or any(row.keys() != table[0].keys() for row in table):
        raise ArgumentError("rows", "expected at least one row, and the same metrics in each")
    summary = {}
    for name in table[0]:
        values = np.array([row[name] for row in table], dtype=np.float64)
        summary[name] = (float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0)
    return summary


def _checked(recommendations: Int32, targets: Int32) -> tuple[Int32, Int32]:
    lists, held_out = np.asarray(recommendations), np.asarray(targets)
    for name, array in (("recommendations", lists), ("targets", held_out)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ArgumentError(name, f"expected item rows as integers, got {array.dtype}")
    if lists.ndim != 2 or held_out.shape != (len(lists),):
        raise ArgumentError(
            "recommendations",
            f"expected shape [m, k] with targets [m], got {list(lists.shape)} and {list(held_out.shape)}",
        )
    if (held_out < 0).any():
        raise ArgumentError("targets", "expected item rows from 0, got a negative one")
    return lists, held_out


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
