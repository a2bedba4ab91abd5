"""Look at a log before anything is learned from it, and say in plain words what may spoil the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.config import expect
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.data.parts import SHORTEST
from metatoken.data.split import split_log
from metatoken.data.times import suspicious

# Neighbours in random order ascend half of the time. Above SORTED nothing but a sort explains the share; above
# LEANING part of the order comes from the ids, as in logs whose days are sorted inside by product.
SORTED = 0.9
LEANING = 0.6
# Fewer neighbours than this say nothing about order.
ENOUGH = 50
MANY_TIES = 0.1
LISTS = r"^\s*(\[.*[,\"'].*\]|\(.*,.*\)|\{.*[:,].*\})\s*$"  # of JSON or Python, with several values or quotes


@dataclass(frozen=True)
class AuditReport:
    """What `audit` found. Shares lie in 0..1 and are None where there is nothing to count.

    Attributes:
        users: Users with at least one interaction.
        items: Items with at least one interaction.
        interactions: Rows of the log.
        repeated_pairs: Rows whose (user, item) came before in the same history.
        users_with_repeats: Users who have such rows.
        duplicate_rows: Rows equal to an earlier one in every column, time included; None for a log without times,
            where a copy cannot be told from a second visit.
        tied_neighbours: Share of consecutive interactions of a user with the same timestamp; None without times.
        ascending_neighbours: Share of consecutive, different items of a user in ascending order of their ids (as
            numbers where all ids are whole numbers, else as text); .5 by chance.
        ascending_ties: The same among neighbours with the same timestamp; None without times.
        short_users: Users of whom nothing is held out: by leave-last-one-out, those with fewer than three interactions.
        items_seen_once: Items with a single interaction.
        cold_targets: Test targets whose item is nowhere in train.
        repeated_targets: Test targets that are already in their user's history.
        targets: Test targets of the split that the log was read for, else of leave-last-one-out.
        non_finite_ratings: Ratings that are NaN or infinite.
        warnings: What a person should know, one or two sentences each, the gravest first.
    """

    users: int
    items: int
    interactions: int
    repeated_pairs: int
    users_with_repeats: int
    duplicate_rows: int | None
    tied_neighbours: float | None
    ascending_neighbours: float | None
    ascending_ties: float | None
    short_users: int
    items_seen_once: int
    cold_targets: int
    repeated_targets: int
    targets: int
    non_finite_ratings: int
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"
        return "\n".join([head, *(f"- {warning}" for warning in self.warnings)])


def audit(log: Interactions) -> AuditReport:
    """Check a log for what spoils training or measurement. Nothing is changed.

    Raises:
        ConfigError: It was read for a split that leaves no row to train on.
    """
    expect("log", log, Interactions)
    parted = "part" in log.frame.columns
    user, item = log.frame["user"].to_numpy(), log.frame["item"].to_numpy()
    times = log.frame["timestamp"].to_numpy() if "timestamp" in log.frame.columns else None
    pair = pl.Series(user.astype(np.int64) * log.n_items + item)
    repeats = ~pair.is_first_distinct().to_numpy()
    per_user, per_item = np.bincount(user), np.bincount(item)
    ascending, tied_ascending, tied = _strongest_order(log, times, parted=parted)
    split = split_log(log, "part" if parted else "leave-last-out")
    trained = np.bincount(split.train.frame["item"].to_numpy(), minlength=log.n_items)
    ratings = log.frame["rating"] if "rating" in log.frame.columns else pl.Series(dtype=pl.Float32)
    again = log.frame.drop("order").filter(pair.is_duplicated())  # the only rows that may have a copy
    duplicates = again.height - again.n_unique() if times is not None and len(log) else None
    report = AuditReport(
        users=int((per_user > 0).sum()),
        items=int((per_item > 0).sum()),
        interactions=len(log),
        repeated_pairs=int(repeats.sum()),
        users_with_repeats=int(np.count_nonzero(np.bincount(user[repeats]))),
        duplicate_rows=duplicates,
        tied_neighbours=tied,
        ascending_neighbours=ascending,
        ascending_ties=tied_ascending,
        short_users=split.train_only_users,
        items_seen_once=int((per_item == 1).sum()),
        cold_targets=int((trained[split.test.items] == 0).sum()),
        repeated_targets=split.repeated_targets("test"),
        targets=len(split.test),
        non_finite_ratings=int((~ratings.drop_nulls().is_finite()).sum()),
    )
    short = "nothing that is held out" if parted else f"fewer than {SHORTEST} interactions"
    report.warnings.extend([*oddities(log), *_order_warnings(report), *_count_warnings(report, short)])
    return report


def oddities(log: Interactions) -> Iterator[str]:
    """What looks wrong about the values of a log, however few rows it has: times of no log, ids that are lists."""
    if "timestamp" in log.frame.columns and len(log):
        yield from suspicious(log.frame["timestamp"])
    yield from _list_warnings("user", log.users)
    yield from _list_warnings("item", log.items)


def _strongest_order(
    log: Interactions, times: NDArray[np.generic] | None, *, parted: bool
) -> tuple[float | None, float | None, float | None]:
    """`_order` by text or by number, whichever is further from chance."""
    # Where files of several parts were joined, each has an order of its own.
    run = log.frame.select(pl.struct("user", "part").rle_id() if parted else "user").to_series().to_numpy()
    orders = [_order(run, rank[log.frame["item"].to_numpy()], times) for rank in _id_ranks(log.items)]
    return max(orders, key=lambda shares: abs((0.5 if shares[0] is None else shares[0]) - 0.5))


def _list_warnings(kind: str, ids: IdMap) -> Iterator[str]:
    """A word of ids that are written like a list or an object of several."""
    raw = pl.Series(ids.raw, dtype=pl.String)
    lists = raw.filter(raw.str.contains(LISTS))
    if len(lists):
        yield (
            f"{len(lists):,} of {len(raw):,} {kind} ids, e.g. {lists[0][:60]}, look like lists or objects; each counts "
            "as one id. Write one id a row."
        )


def _id_ranks(ids: IdMap) -> list[NDArray[np.int64]]:
    """Place of each item row in the order of the ids: as text, and as numbers where all are whole numbers."""
    # Rows are sorted by text already.
    text = np.arange(len(ids))
    numbers = pl.Series(ids.raw, dtype=pl.String).cast(pl.Int64, strict=False)
    return [text] if numbers.has_nulls() else [text, numbers.rank("ordinal").cast(pl.Int64).to_numpy()]


def _order(
    user: NDArray[np.integer[Any]], rank: NDArray[np.int64], times: NDArray[np.generic] | None
) -> tuple[float | None, float | None, float | None]:
    """Shares of neighbours that ascend by id, of tied neighbours that do, and of neighbours that are tied."""
    inside = user[1:] == user[:-1]
    step = np.diff(rank)
    moved = inside & (step != 0)

    def share(part: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
        return float(part[of].mean()) if of.any() else None

    if times is None:
        return share(step > 0, moved), None, None
    tied = times[1:] == times[:-1]
    return share(step > 0, moved), share(step > 0, moved & tied), share(tied, inside)


def _order_warnings(report: AuditReport) -> Iterator[str]:
    share, ties, tied = report.ascending_neighbours, report.ascending_ties, report.tied_neighbours
    neighbours = report.interactions - report.users
    if share is not None and neighbours >= ENOUGH:
        side, strong = ("ascending", share) if share >= 0.5 else ("descending", 1 - share)
        text = f"{strong:.0%} of consecutive items of a user are in {side} order of their ids (50% by chance)"
        if strong > SORTED:
            fix = "Give the log with its times." if tied is None else "Check that the time column is the right one."
            yield (
                f"{text}: the histories look sorted by item id, not by time. The last item of a user is then not the "
                f"latest, and scores measure the sort. {fix}"
            )
        elif strong > LEANING and tied is None:
            yield (
                f"{text}: part of the order seems to come from the ids, for example within a day. A model may learn "
                "that; compare with a log that has exact times if there is one."
            )
    if tied is not None and tied > MANY_TIES:
        text = f"{tied:.0%} of consecutive interactions of a user share a timestamp; their order is that of the file"
        by_id = ties is not None and tied * neighbours >= ENOUGH and max(ties, 1 - ties) > SORTED
        more = ", which is sorted by item id there: part of every score measures that sort" if by_id else ""
        yield f"{text}{more}."


def _count_warnings(report: AuditReport, short: str) -> Iterator[str]:
    if report.non_finite_ratings:
        yield f"{report.non_finite_ratings:,} ratings are not finite numbers; a model of ratings cannot be fitted."
    if report.duplicate_rows:
        yield (
            f"{report.duplicate_rows:,} rows are exact copies of others, time included; "
            "remove them, they count as interactions otherwise."
        )
    if report.repeated_pairs:
        yield (
            f"{report.repeated_pairs:,} interactions repeat an item that the user already had "
            f"({report.users_with_repeats:,} users). {report.repeated_targets:,} of {report.targets:,} test targets "
            "are such repeats; where seen items are removed from recommendations, these are counted as misses."
        )
    if report.short_users:
        yield (
            f"{report.short_users:,} of {report.users:,} users have {short}; they are trained on, but not evaluated."
        )
    if report.targets == 0:
        yield "No user has enough interactions to be held out, so nothing can be measured on this log."
    if report.cold_targets:
        yield (
            f"{report.cold_targets:,} of {report.targets:,} test targets ({report.cold_targets / report.targets:.1%}) "
            "are items that never occur in train; a model without item content cannot find them."
        )
    if report.items_seen_once > 0.05 * report.items:
        yield (
            f"{report.items_seen_once:,} of {report.items:,} items ({report.items_seen_once / report.items:.0%}) "
            "were met once only; little can be learned about them."
        )
