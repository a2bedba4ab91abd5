"""Tables in memory, of whichever library, as frames of polars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from metatoken.errors import ArgumentError

# What libraries raise for a table that they cannot give; a lazy one may read files.
VALUES = (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError)
EXACT = 2**53  # from here on a float does not tell whole numbers apart
UNREADABLE = (*VALUES, pa.ArrowException, AttributeError, OSError)


def as_frame(table: Any, argument: str, wanted: Sequence[str] | None = None) -> pl.DataFrame:
    """A table as a frame of polars.

    Args:
        table: A frame of polars, lazy or not, of pandas, a table, batch or stream of Arrow (anything with
            `__arrow_c_stream__` or `__arrow_c_array__`), or a mapping from names to columns.
        argument: What it was given as.
        wanted: Columns that are used; of a lazy frame, no others are computed.

    Raises:
        ArgumentError: It is something else, or its columns cannot be read.
    """
    try:
        if isinstance(table, pl.LazyFrame):
            return table.select(_used(table.collect_schema().names(), wanted)).collect()
        if isinstance(table, pl.DataFrame):
            return table
        if hasattr(table, "iloc") and hasattr(table, "columns"):
            # Column by column: one of mixed types, which Arrow refuses, costs the others nothing.
            used = _used(list(table.columns), wanted)
            if twice := next((name for name in used if used.count(name) > 1), None):
                raise ValueError(f"{twice!r} stands twice; rename one")
            return pl.DataFrame([_column(str(name), table[name]) for name in used])
        if isinstance(table, Mapping):
            return pl.DataFrame([_column(str(name), values) for name, values in table.items()])
        if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
            return from_arrow(table)
    except UNREADABLE as error:
        raise ArgumentError(argument, f"its columns cannot be read: {str(error).splitlines()[0]}") from error
    expected = "a table of polars, pandas or Arrow, or a mapping from names to columns"
    raise ArgumentError(argument, f"expected {expected}; got {type(table).__name__}")


def _column(name: str, values: Any) -> pl.Series:
    if isinstance(values, str | bytes | Mapping) or not (hasattr(values, "__len__") and hasattr(values, "__getitem__")):
        raise ValueError(f"{name} is {type(values).__name__}, expected a list of values")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has values that are masked; leave those rows out")
    try:
        return pl.Series(name, values, nan_to_null=True)
    except VALUES:
        return pl.Series(name, [as_text(value) for value in values], dtype=pl.String)


def as_text(value: Any) -> str | None:
    """A value among others of other types; none where it is missing, as pandas has it."""
    missing = value is None or value != value or type(value).__name__ == "NAType"  # noqa: PLR0124 (NaN)
    return None if missing else str(value)


def _used(names: list[Any], wanted: Sequence[str] | None) -> list[Any]:
    """The columns that are wanted, by their names as text; all of them where one is missing, for the message."""
    if wanted is None or not set(wanted) <= {str(name) for name in names}:
        return names
    return [name for name in names if str(name) in wanted]


def from_arrow(table: Any) -> pl.DataFrame:
    """A table of Arrow; types that databases add to those of Arrow become what they are made of, and UUIDs text."""
    table = pa.table(table)
    uuids = []
    for place, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            if field.type.extension_name == "arrow.uuid":
                uuids.append(field.name)
            chunks = [chunk.storage for chunk in table.column(place).chunks]
            table = table.set_column(place, field.name, pa.chunked_array(chunks, field.type.storage_type))
        elif pa.types.is_dictionary(field.type) and field.metadata:
            # Other programs keep the note of polars about its texts when they put some more beside these.
            table = table.set_column(place, field.remove_metadata(), table[place])
        elif pa.types.is_timestamp(field.type) and str(field.type.tz or "").startswith(("+", "-")):
            # An hour that clocks are shifted by is no zone to polars; the moments stay.
            table = table.set_column(place, field.name, table[place].cast(pa.timestamp(field.type.unit, "UTC")))
    frame: pl.DataFrame = pl.DataFrame(table)
    return frame.with_columns(_uuid(frame[name]) for name in uuids)


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames of several sources as one, the columns that one lacks empty, each value as it was.

    Raises:
        ValueError: A column holds numbers in one frame and dates or truth values in another, or whole numbers beyond
            those of a float beside floats.
        PolarsError: Its types have nothing in common.
    """
    columns: dict[str, list[pl.Series]] = {}
    for frame in frames:
        for column in frame:
            columns.setdefault(column.name, []).append(column)
    kinds = {name: kind for name, parts in columns.items() if (kind := _common(name, parts)) is not None}
    return pl.concat(
        [frame.cast({name: kinds[name] for name in frame.columns if name in kinds}) for frame in frames],
        how="diagonal_relaxed",
    )


def _common(name: str, parts: Sequence[pl.Series]) -> Any:
    """The type that columns of several have to become; None where the one that polars chooses loses nothing."""
    types = list(dict.fromkeys(part.dtype for part in parts if part.dtype != pl.Null))
    if len(types) < 2 or pl.String in types:
        return None
    if any(one in (pl.Enum, pl.Categorical) for one in types):
        return pl.String  # each file has texts of its own
    if all(isinstance(one, pl.Date | pl.Datetime) for one in types):
        moments = [one for one in types if isinstance(one, pl.Datetime)]
        unit: Any = "ns" if any(one.time_unit == "ns" for one in moments) else "us"
        zones = {one.time_zone for one in moments}
        return pl.Datetime(unit, zones.pop()) if len(zones) == 1 and len(moments) == len(types) else None
    if all(one.is_integer() for one in types):
        return pl.String if any(one in (pl.UInt64, pl.Int128) for one in types) else None
    numbers = [one.is_numeric() for one in types]
    if any(numbers) and not all(numbers):
        raise ValueError(f"column {name!r} holds {' and '.join(map(str, types))}")
    whole = [part for part in parts if part.dtype.is_integer()]
    if any(one.is_float() for one in types) and any((part.abs() >= EXACT).any() for part in whole if len(part)):
        raise ValueError(f"column {name!r} holds floats and whole numbers beyond those that a float tells apart")
    return None


def _uuid(values: pl.Series) -> pl.Series:
    return values.bin.encode("hex").str.replace("^(.{8})(.{4})(.{4})(.{4})", "$1-$2-$3-$4-")
