"""A log that grows: new rows stand behind the old ones, so nothing that was numbered once gets another number.

New users and new items are numbered in the order in which they first appear, those of one time by raw id, and items
that no row names come last. So a log to which others are appended one after the other in time is the same as one to
which they are appended at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.config import expect
from metatoken.data import columns
from metatoken.data.assembly import places
from metatoken.data.ids import IdMap, lookalikes
from metatoken.data.interactions import Interactions, read_log
from metatoken.data.items import item_columns
from metatoken.data.readers import read_table
from metatoken.data.settings import LogSettings
from metatoken.data.split import leave_last_out
from metatoken.data.times import A_SECOND, as_date, epoch_unit
from metatoken.errors import DataError

ENOUGH, NEARLY_ALL = 3, 0.9  # new ids that look like known ones: so many, and this share, are no accident


def read_addition(about: LogSettings, *, log: bool = True) -> Interactions:
    """New interactions and every item of a table, those without interactions among them.

    Args:
        about: Names the log and the table.
        log: Whether there is a log; else the table is read alone.

    Raises:
        DataError: A file cannot be read.
    """
    plain = replace(about, items=None, item_id=None, title=None, categories=None)
    found = read_log(plain, unrated=True) if log else nothing()  # of a few new rows, none may have a rating
    if about.items is None:
        return found
    table = read_table(about.items, None, about.items_dialect)
    key = item_columns(about.item, about.item_id, about.title, about.categories).key(table.frame)
    known = IdMap(sorted({*found.items.raw, *columns.ids(table, key, "item_id")}), "item")
    item = known.rows(found.items.raw)[found.frame["item"].to_numpy()]
    return replace(found, frame=found.frame.with_columns(item=item), items=known).with_items(table, about, whole=False)


def nothing() -> Interactions:
    """A log without rows, users and items."""
    frame = pl.DataFrame(schema=dict.fromkeys(("user", "item", "order"), pl.Int32()))
    return Interactions(frame, IdMap((), "user"), IdMap((), "item"))


@dataclass(frozen=True)
class Files:
    """What a new log and its item table were read from, for messages; None for tables in memory."""

    log: Path | None = None
    items: Path | None = None


def append(log: Interactions, new: Interactions, files: Files | None = None) -> Interactions:
    """A log with new interactions, users and items behind its own.

    Args:
        log: The log. Its columns are those of the result, without `part` and `learned`, which say nothing of new rows.
        new: What comes later. What its item table says goes over what was known of an item.
        files: Where `new` is from.

    Returns:
        The log whose first user and item rows are those of `log`.

    Raises:
        DataError: `new` has no times, but `log` has; they are of another unit; a row is older than the newest of `log`;
            or a column of the item tables holds lists in one and something else in the other.
    """
    expect("log", log, Interactions)
    expect("new", new, Interactions)
    files = files or Files()
    _check_times(log, new, files.log)
    users, user = _grown(log.users, new.users, _first(new, "user"))
    items, item = _grown(log.items, new.items, _first(new, "item"))
    old = log.frame.drop("part", "learned", strict=False)
    moved = new.frame.select(name for name in new.frame.columns if name in old.columns).with_columns(
        user=user[new.frame["user"].to_numpy()], item=item[new.frame["item"].to_numpy()]
    )
    frame = pl.concat([old, moved], how="diagonal_relaxed") if moved.height else old
    frame = frame[np.argsort(frame["user"].to_numpy(), kind="stable")]
    return replace(
        log,
        frame=frame.with_columns(order=places(frame["user"].to_numpy(), len(users))),
        users=users,
        items=items,
        item_table=_tables(log.item_table, new.item_table, item, files.items),
        notes=new.notes,
        rows_read=new.rows_read,
    )


def keep_learned(log: Interactions, train: Interactions) -> Interactions:
    """A log that has grown, with a mark on rows that were learned from, where the last two of a user are such.

    Args:
        log: It.
        train: What was learned from: the first rows of each of its first users.

    Returns:
        The log with the column `learned`, which `data.split.leave_last_out` never holds out; without it where nothing
        of that part would be held out anyhow.
    """
    log = replace(log, frame=log.frame.drop("learned", strict=False))
    lengths = np.pad(train.sequences().lengths, (0, log.n_users - train.n_users))
    held = leave_last_out(log)
    if (held.train.sequences().lengths >= lengths).all():
        return log
    learned = log.frame["order"].to_numpy() < lengths[log.frame["user"].to_numpy()]
    return replace(log, frame=log.frame.with_columns(learned=learned))


def repeats(log: Interactions, new: Interactions) -> Iterator[str]:
    """A word of rows of `new` that are rows of `log`, time included: copies of the newest ones, as none is older."""
    if not all("timestamp" in one.frame.columns and len(one) for one in (log, new)):
        return
    newest = pl.col("timestamp") == log.frame["timestamp"].max()
    known, again = (_pairs(one, one.frame.filter(newest)) for one in (log, new))
    copies = again.join(known.unique(), on=["user", "item"], how="semi").height
    if copies:
        yield f"{copies:,} of {len(new):,} new rows are known already, time included; each counts again."


def check_ids(log: Interactions, new: Interactions, files: Files) -> Iterator[str]:
    """A word of new ids that may be known ones, as a spreadsheet that takes ids for numbers leaves them.

    Raises:
        DataError: Nearly all new users, or new items, are such.
    """
    for known, given in ((log.users, new.users), (log.items, new.items)):
        pairs = lookalikes(known, given)
        if not pairs:
            continue
        fresh = sum(raw not in known for raw in given.raw)
        examples = ", ".join(f"{raw!r} for {old!r}" for raw, old in pairs[:3])
        said = f"{len(pairs):,} of {fresh:,} new {known.kind}s may be known ones that lost zeros, blanks or capitals"
        if len(pairs) >= ENOUGH and len(pairs) >= NEARLY_ALL * fresh:
            file = files.log if known.kind == "user" or files.items is None else files.items
            raise DataError(f"{said}: {examples}; write ids as the run has them, as text", file)
        yield f"{said}: {examples}; each counts as another {known.kind}."


def unlisted(log: Interactions, new: Interactions, files: Files) -> Iterator[str]:
    """A word of new items that come with a table about items and are not in it; it need not have the known ones."""
    if new.item_table is None:
        return
    rows = np.setdiff1d(new.frame["item"].to_numpy(), new.item_table["item"].to_numpy())
    gone = [raw for raw in new.items.column(rows) if raw not in log.items]
    if gone:
        yield f"{len(gone):,} new items are not in {files.items or 'the table about them'}, e.g. {gone[0]!r}"


def _pairs(log: Interactions, frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame({"user": log.users.column(frame["user"]), "item": log.items.column(frame["item"])})


def _check_times(log: Interactions, new: Interactions, file: Path | None) -> None:
    if "timestamp" not in log.frame.columns or len(new) == 0:
        return
    if "timestamp" not in new.frame.columns:
        raise DataError(
            "the new log has no times, but the log that it continues has; name their column with time", file
        )
    units = [epoch_unit(one.frame["timestamp"]) for one in (log, new)]
    if None not in units and units[0] != units[1]:
        said = f"the times of the new log are {units[1]} since 1970, those of the log that it continues {units[0]}"
        raise DataError(f"{said}, e.g. {new.frame['timestamp'][0]}; write both in one unit", file)
    newest, times = log.frame["timestamp"].to_numpy().max(), new.frame["timestamp"].to_numpy()
    if older := int((times < newest).sum()):
        known, begin = as_date(newest.item()), as_date(times.min().item())
        said = f"{older:,} of {len(new):,} new rows are older than the newest row that is known ({known}, theirs begin"
        remedy = f"leave out the rows that are known already: --set since={_after(newest.item())} takes what came later"
        raise DataError(f"{said} at {begin}), and time does not run backwards; {remedy}", file)


def _after(time: float) -> str:
    """What `since` can be that leaves out the rows up to a time: the next second of a date, else the next number."""
    unit = epoch_unit(pl.Series([time]))
    return as_date(time + (1 if unit is None else A_SECOND[unit]))


def _first(log: Interactions, kind: str) -> NDArray[np.float64]:
    """Time of the first row of each user or item, float64 `[n]`; infinite where there is none, 0 without times."""
    found = np.full(log.n_users if kind == "user" else log.n_items, np.inf)
    times = log.frame["timestamp"].to_numpy() if "timestamp" in log.frame.columns else np.zeros(len(log))
    np.minimum.at(found, log.frame[kind].to_numpy(), times)
    return found


def _grown(known: IdMap, more: IdMap, first: NDArray[np.float64]) -> tuple[IdMap, NDArray[np.int32]]:
    """Known ids, then new ones in the order of their first times; and the row of each of `more`, int32."""
    rows = known.find(more.raw)
    fresh = np.flatnonzero(rows < 0)
    fresh = fresh[np.argsort(first[fresh], kind="stable")]
    rows[fresh] = len(known) + np.arange(len(fresh), dtype=np.int32)
    return (IdMap((*known.raw, *(more.raw[row] for row in fresh)), known.kind) if len(fresh) else known), rows


def _tables(
    old: pl.DataFrame | None, new: pl.DataFrame | None, item: NDArray[np.int32], file: Path | None
) -> pl.DataFrame | None:
    """One item table of two; `item` has the rows of the items of the second, which was read from `file`."""
    if new is None:
        return old
    moved = new.with_columns(item=item[new["item"].to_numpy()])
    if "title" in moved.columns:
        moved = moved.with_columns(pl.col("title").replace("", None))
    if old is None:
        return moved.sort("item")
    both = [name for name in moved.columns if name in old.columns and name != "item"]
    for name in both:
        one, other = _alike(old[name], moved[name], file)
        old, moved = old.with_columns(one), moved.with_columns(other)
    joined = old.join(moved, on="item", how="full", coalesce=True, suffix="\0new")
    newest = [pl.coalesce(f"{name}\0new", name).alias(name) for name in both]
    return joined.with_columns(newest).drop([f"{name}\0new" for name in both]).sort("item")


def _alike(known: pl.Series, new: pl.Series, file: Path | None) -> tuple[pl.Series, pl.Series]:
    """A column of both tables in types that go together: text where one is text; an empty new list says nothing."""
    kinds = (known.dtype, new.dtype)
    if isinstance(new.dtype, pl.List):
        new = new.to_frame().select(pl.when(pl.col(new.name).list.len() > 0).then(pl.col(new.name))).to_series()
    if kinds[0] == kinds[1] or all(kind.is_numeric() for kind in kinds):
        return known, new
    if any(kind.is_nested() for kind in kinds):
        said = f"{kinds[0]} in what is known and {kinds[1]} in the new table"
        raise DataError(f"column {known.name!r} of the item table holds {said}; write both in one way", file)
    return known.cast(pl.String), new.cast(pl.String)
