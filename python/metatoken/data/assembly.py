"""From raw columns to the rows of a log: what counts, in which order, and under which ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.data import columns
from metatoken.data.columns import RawTable
from metatoken.data.conditions import parse_condition
from metatoken.data.expressions import names_in
from metatoken.data.ids import IdMap, encode
from metatoken.data.parts import PART, last_validates, named_parts, parts_by_ratio, parts_by_time
from metatoken.data.quick_csv import Kind
from metatoken.data.ragged import offsets_of
from metatoken.data.selection import borders, in_window, left_out, select_core, select_where
from metatoken.data.settings import LogSettings
from metatoken.data.times import times
from metatoken.errors import DataError

TEXTS = ("review", "summary", "explanation", "feature")
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


def wanted_columns(settings: LogSettings) -> dict[str, Kind | None]:
    """Columns that a log is read from, those of its filter included, and as what text that is a table may be read."""
    if settings.format != "table":
        return dict.fromkeys(("user", "item"))
    named = [name for argument in NAMED if (name := getattr(settings, argument)) is not None]
    kinds: dict[str, Kind | None] = dict.fromkeys(named) | {settings.user: pl.Int64, settings.item: pl.Int64}
    if settings.time is not None and settings.time_format is None:
        kinds[settings.time] = pl.Int64
    if settings.rating is not None and settings.decimal == ".":
        kinds[settings.rating] = pl.Float64
    # Filters look at the text of a column for themselves.
    return kinds | dict.fromkeys(names_in(parse_condition(settings.where)) if settings.where else ())


def id_columns(settings: LogSettings) -> dict[str, str]:
    """Columns whose ids may be numbers as soon as they are read, by argument; none where texts are looked at again."""
    filtered = names_in(parse_condition(settings.where)) if settings.where is not None else ()
    named = {"user": settings.user, "item": settings.item}
    return {} if settings.split == "files" or set(filtered) & set(named.values()) else named


def assemble(raw: RawTable, settings: LogSettings, *, unrated: bool = False) -> Assembled:
    """The log of a raw table; `DataError` for a value that cannot be read, or where no row is left.

    With `unrated`, no row needs to have a rating: it is a piece of a log, and others have some.
    """
    notes, rows_read = [], raw.frame.height
    if settings.where is not None:
        raw, said = select_where(raw, settings.where)
        notes.append(said)
    frame = _typed(raw, settings, unrated)
    if settings.time is not None:
        frame, window = _dated(raw, frame, settings)
        notes.extend(window)
    if settings.min_user > 1 or settings.min_item > 1:
        frame, said = select_core(frame, settings, raw.path)
        notes.append(said)
    users, user = encode(frame["user"], "user")
    items, item = encode(frame["item"], "item")
    frame = in_order(frame.with_columns(user=user, item=item), user)
    frame = frame.with_columns(order=places(frame["user"].to_numpy(), len(users)))
    if settings.split == "ratio":
        frame = frame.with_columns(parts_by_ratio(frame, settings.validation_share, settings.test_share))
    if validates_last(settings):
        frame = frame.with_columns(last_validates(frame))
    frame = frame.select("user", "item", "order", pl.exclude("user", "item", "order"))
    return Assembled(frame, users, items, tuple(notes), rows_read)


def _typed(raw: RawTable, settings: LogSettings, unrated: bool) -> pl.DataFrame:
    """All columns but that of times, with raw ids."""
    user, item = (settings.user, settings.item) if settings.format == "table" else ("user", "item")
    data = {"user": columns.plain_ids(raw, user, "user"), "item": columns.plain_ids(raw, item, "item")}
    if settings.format == "table":
        columns.refuse_headers(raw, data["user"], data["item"], names=(user, item))
    if settings.rating is not None:
        data["rating"] = columns.ratings(raw, settings.rating, none=unrated)
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


def in_order(frame: pl.DataFrame, users: NDArray[np.int32]) -> pl.DataFrame:
    """The rows by user, then by time where there are times; ties stay as they are."""
    rows = None
    if "timestamp" in frame.columns:
        rows = ascending(frame["timestamp"].to_numpy())
    by_user = ascending(users if rows is None else users[rows])
    rows = by_user if rows is None else rows[by_user]
    return frame.rechunk().select(pl.all().gather(pl.Series(rows.astype(np.uint32))))


def ascending(values: NDArray[Any]) -> NDArray[np.int64]:
    """The places of values in ascending order, ties as they stand.

    That is `numpy.argsort(kind="stable")`, in a tenth of the time for whole numbers that leave room for their places in
    63 bits: both in one number are sorted without a second array.
    """
    bits = len(values).bit_length()
    if len(values) == 0 or values.dtype.kind != "i" or (int(values.max()) - int(values.min())) << bits >= 2**63:
        return np.argsort(values, kind="stable")
    packed = values.astype(np.int64) - int(values.min())
    packed <<= bits
    packed |= np.arange(len(values))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def places(users: NDArray[np.int32], n_users: int) -> pl.Series:
    """Place of each row in its user's history, int32; rows are sorted by user."""
    lengths = np.bincount(users, minlength=n_users)
    return pl.Series((np.arange(len(users)) - np.repeat(offsets_of(lengths)[:-1], lengths)).astype(np.int32))
