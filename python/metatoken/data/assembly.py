"""From raw columns to the rows of a log: what counts, in which order, and under which ids."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.data import columns
from metatoken.data.columns import RawTable
from metatoken.data.conditions import parse_condition
from metatoken.data.expressions import names_in
from metatoken.data.ids import IdMap, encode
from metatoken.data.parts import PART, last_validates, named_parts, parts_by_ratio, parts_by_time
from metatoken.data.ragged import offsets_of
from metatoken.data.selection import borders, in_window, left_out, select_core, select_where
from metatoken.data.settings import LogSettings
from metatoken.data.times import times
from metatoken.errors import DataError

TEXTS = ("review", "summary", "explanation")
NAMED = ("user", "item", "time", "rating", *TEXTS, "part")


@dataclass(frozen=True)
class Assembled:
    """The parts of an `Interactions`, whose attributes have the same names."""

    frame: pl.DataFrame
    users: IdMap
    items: IdMap
    notes: tuple[str, ...] = field(default=())
    rows_read: int = 0


def validates_last(settings: LogSettings) -> bool:
    """Whether the last training row of each user is for validation, for want of rows of its own."""
    by_file = settings.split == "files" and settings.validation_path is None
    return by_file or (settings.split == "time" and settings.validation_from is None)


def wanted_columns(settings: LogSettings) -> list[str]:
    """Columns that a log is read from, those of its filter included."""
    if settings.format != "table":
        return ["user", "item"]
    named = [name for argument in NAMED if (name := getattr(settings, argument)) is not None]
    return list(dict.fromkeys([*named, *(names_in(parse_condition(settings.where)) if settings.where else ())]))


def assemble(raw: RawTable, settings: LogSettings) -> Assembled:
    """The log of a raw table; `DataError` for a value that cannot be read, or where no row is left."""
    notes, rows_read = [], raw.frame.height
    if settings.where is not None:
        raw, said = select_where(raw, settings.where)
        notes.append(said)
    frame = _typed(raw, settings)
    if settings.time is not None:
        frame, window = _dated(raw, frame, settings)
        notes.extend(window)
    if settings.min_user > 1 or settings.min_item > 1:
        frame, said = select_core(frame, settings, raw.path)
        notes.append(said)
    users, user = encode(frame["user"], "user")
    items, item = encode(frame["item"], "item")
    frame = in_order(frame.with_columns(user=user, item=item))
    frame = frame.with_columns(order=places(frame["user"].to_numpy(), len(users)))
    if settings.split == "ratio":
        frame = frame.with_columns(parts_by_ratio(frame, settings.validation_share, settings.test_share))
    if validates_last(settings):
        frame = frame.with_columns(last_validates(frame))
    frame = frame.select("user", "item", "order", pl.exclude("user", "item", "order"))
    return Assembled(frame, users, items, tuple(notes), rows_read)


def _typed(raw: RawTable, settings: LogSettings) -> pl.DataFrame:
    """All columns but that of times, with raw ids."""
    user, item = (settings.user, settings.item) if settings.format == "table" else ("user", "item")
    data = {"user": columns.ids(raw, user, "user"), "item": columns.ids(raw, item, "item")}
    if settings.rating is not None:
        data["rating"] = columns.ratings(raw, settings.rating)
    for name in TEXTS:
        if (column := getattr(settings, name)) is not None:
            data[name] = columns.texts(raw, column, name)
    if settings.part is not None or PART in raw.frame.columns:
        data["part"] = named_parts(raw, settings.part or PART)
    return pl.DataFrame(data)


def _dated(raw: RawTable, frame: pl.DataFrame, settings: LogSettings) -> tuple[pl.DataFrame, list[str]]:
    """The frame with times, cut to the window and with the parts that settings name."""
    column = raw.column(str(settings.time), "time")
    values = times(raw, column.name, settings.time_format, settings.time_zone)
    data = [values.alias("timestamp")]
    mask = in_window(values, column, settings)
    if settings.split == "time" and (mask is None or mask.any()):
        counted = values if mask is None else values.filter(mask)
        data.append(parts_by_time(values, *borders(counted, column, settings)))
    # Behind the ids, before ratings and texts.
    frame = frame.with_columns(data).select("user", "item", "timestamp", pl.exclude("user", "item", "timestamp"))
    if mask is None:
        return frame, []
    kept = frame.filter(mask)
    window = " ".join(
        f"{name} {value}" for name in ("since", "until") if (value := getattr(settings, name)) is not None
    )
    if kept.height == 0:
        raise DataError(f"no row lies in the window {window}", raw.path)
    return kept, [left_out(window, frame.height, kept.height)]


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows by user, then by time where there are times; ties stay as they are."""
    if "timestamp" not in frame.columns:
        return frame.sort("user", maintain_order=True)
    user, time = frame["user"], frame["timestamp"]
    first = int(time.min() or 0) if time.dtype == pl.Int64 else None  # type: ignore[arg-type]
    if first is None or (span := int(time.max() or 0) - first + 1) * (int(user.max() or 0) + 1) >= 2**63:  # type: ignore[arg-type]
        return frame.sort("user", "timestamp", maintain_order=True)
    # Both in one number, which is sorted in a fifth of the time.
    return frame.sort(pl.col("user").cast(pl.Int64) * span + (pl.col("timestamp") - first), maintain_order=True)


def places(users: NDArray[np.int32], n_users: int) -> pl.Series:
    """Place of each row in its user's history, int32; rows are sorted by user."""
    begin = offsets_of(np.bincount(users, minlength=n_users))
    return pl.Series((np.arange(len(users)) - begin[users]).astype(np.int32))
