"""Ranks and ranking metrics of top-k lists, one held-out item per user.

Lists are item rows (0-based int32, -1 where nothing is recommended). Every evaluated user counts: one without
recommendations, or whose target no training prefix has shown, is a miss and not left out of the mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError
from metatoken.model.heads.top import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Int32 = NDArray[np.int32]

MISS = 0


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
    lists, held_out = np.asarray(recommendations), np.asarray(targets)
    for name, array in (("recommendations", lists), ("targets", held_out)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ArgumentError(name, f"expected item rows as integers, got {array.dtype}")
    if lists.ndim != 2 or held_out.shape != (len(lists),):
        shapes = f"{list(lists.shape)} and {list(held_out.shape)}"
        raise ArgumentError("recommendations", f"expected shape [m, k] with targets [m], got {shapes}")
    if (held_out < 0).any():
        raise ArgumentError("targets", "expected item rows from 0, got a negative one")
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
    place, lists = ranks(recommendations, targets).astype(np.float64), np.asarray(recommendations)
    cuts = sorted(set(ks))
    if not cuts or cuts[0] < 1 or cuts[-1] > lists.shape[1]:
        raise ArgumentError("ks", f"expected cut-offs from 1 to the length of the lists, {lists.shape[1]}; got {ks}")
    if n_items < 1:
        raise ArgumentError("n_items", f"expected at least 1 item, got {n_items}")
    if len(place) == 0:
        raise ArgumentError("targets", "expected at least one evaluated user, got none")
    metrics: dict[str, float] = {}
    for k in cuts:
        hit = (place > MISS) & (place <= k)
        found = place[hit]
        metrics[f"hr@{k}"] = float(hit.mean())
        metrics[f"ndcg@{k}"] = float((1.0 / np.log2(found + 1.0)).sum() / len(place))
        metrics[f"mrr@{k}"] = float((1.0 / found).sum() / len(place))
    top = cuts[-1]
    listed = lists[:, :top]
    metrics[f"coverage@{top}"] = len(np.unique(listed[(listed >= 0) & (listed < n_items)])) / n_items
    metrics[f"invalid@{top}"] = _invalid_share(listed, n_items)
    return metrics


def user_metrics(places: NDArray[Any], ks: Sequence[int] = (5, 10)) -> dict[str, NDArray[np.float64]]:
    """Hit rate, NDCG and reciprocal rank of each user, whose means `ranking_metrics` gives.

    Args:
        places: int [m], what `ranks` gives.
        ks: Cut-offs.

    Returns:
        `{"hr@5", "ndcg@5", "mrr@5", ...}`, float64 [m] each.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for k in sorted(set(ks)):
        hit = (places > MISS) & (places <= k)
        rank = np.where(hit, places, 1).astype(np.float64)
        found[f"hr@{k}"] = hit.astype(np.float64)
        found[f"ndcg@{k}"] = hit / np.log2(rank + 1.0)
        found[f"mrr@{k}"] = hit / rank
    return found


def by_novelty(found: Mapping[str, NDArray[np.float64]], new: NDArray[np.bool_] | None) -> dict[str, float]:
    """Hit rate and NDCG at 10 by whether training has met the target: `hr@10_known`, `hr@10_new` and so on.

    Args:
        found: What `user_metrics` gives, float64 [m] each.
        new: Which targets are items that no training row has, bool [m]; None where the split cannot tell.

    Returns:
        The means over both kinds of targets; nothing where there are not both, so that they would say nothing more.
    """
    if new is None or new.all() or not new.any():
        return {}
    names, sides = ("hr@10", "ndcg@10"), {"known": ~new, "new": new}
    return {f"{name}_{side}": float(found[name][of].mean()) for name in names for side, of in sides.items()}


def _invalid_share(recommendations: Int32, n_items: int) -> float:
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
