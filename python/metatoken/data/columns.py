"""Turn raw columns into ids, times, ratings and texts.

A missing column, and a value that is empty or cannot be read, is a `DataError` that names the column and the row.
"""

from __future__ import annotations

import difflib
import html
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from metatoken.errors import DataError

# The largest whole number below which every integer is a float64.
EXACT = 2.0**53
DATETIME_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f")


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it was read, with the way back from a row to a line of the file.

    Attributes:
        frame: The raw columns.
        path: The file, or None for a table that was given in memory.
        line_of: Line number (from 1) of a 0-based row, or None where rows are not lines.
        names: Columns that the source has; the frame may hold fewer.
    """

    frame: pl.DataFrame
    path: Path | None = None
    line_of: Callable[[int], int | None] = lambda _: None
    names: list[str] = field(default_factory=list)

    def error(self, message: str, row: int | None = None) -> DataError:
        """The error of this table, at a row where one is given."""
        line = None if row is None else self.line_of(row)
        if row is not None and line is None:
            message = f"{message} (row {row + 1})"
        return DataError(message, self.path, line)

    def column(self, name: str, argument: str) -> pl.Series:
        """The raw column that an argument names.

        Raises:
            DataError: There is no such column; the message lists those that exist and suggests the closest.
        """
        if name in self.frame.columns:
            return self.frame[name]
        names = self.names or self.frame.columns
        guess = closest(name, names)
        hint = f"; did you mean {guess!r}?" if guess else ""
        if len(names) == 1 and any(mark in names[0] for mark in ",;\t|"):
            hint = "; columns of .csv are separated by commas, of .tsv by tabs"
        raise self.error(f"no column {name!r} for {argument}; the columns are {', '.join(map(repr, names))}{hint}")


def closest(name: str, names: list[str]) -> str | None:
    """The column that was probably meant, or None."""
    lowered = {n.lower(): n for n in reversed(names)}
    inside = [n for key, n in lowered.items() if name.lower() in key or key in name.lower()]
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[near[0]] if near else min(inside, key=len) if inside else None


def ids(table: RawTable, name: str, argument: str) -> pl.Series:
    """Raw ids as strings without surrounding blanks; whole numbers that came as floats lose their ".0"."""
    raw = table.column(name, argument)
    if raw.dtype.is_nested() or raw.dtype == pl.Binary:
        raise table.error(f"column {name!r} for {argument} holds {raw.dtype}, ids are text or whole numbers")
    text = raw.cast(pl.String).str.strip_chars()
    bad = text.is_null() | (text == "").fill_null(True) | (text == "NaN" if raw.dtype.is_float() else False)
    if bad.any():
        said = f"empty {argument} id in column {name!r}; give each row an id or remove the row"
        raise table.error(said, int(bad.arg_max() or 0))
    # A column of whole numbers that once held a gap is written as 12.0 by other tools; the catalogue says 12.
    if len(text) and text[0].endswith(".0") and text.str.contains(r"^-?\d+\.0$").all():
        text = text.str.strip_suffix(".0")
    return text


def _refuse(table: RawTable, raw: pl.Series, bad: pl.Series, argument: str, expected: str) -> None:
    """Raises the error of the first bad value, if there is one."""
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise table.error(f"{argument} {raw[row]!r} in column {raw.name!r} is not {expected}", row)


def _numbers(table: RawTable, name: str, argument: str, expected: str) -> pl.Series:
    raw = table.column(name, argument)
    text = raw.str.strip_chars() if raw.dtype == pl.String else raw
    if not (raw.dtype == pl.String or raw.dtype.is_numeric()):
        raise table.error(f"column {name!r} for {argument} holds {raw.dtype}, expected {expected}")
    number = text.cast(pl.Float64, strict=False)
    _refuse(table, raw, ~number.is_finite().fill_null(False), argument, expected)
    return number


def ratings(table: RawTable, name: str) -> pl.Series:
    """Ratings as float32."""
    return _numbers(table, name, "rating", "a finite number").cast(pl.Float32)


def times(table: RawTable, name: str) -> pl.Series:
    """Times as numbers: int64 where all are whole, else float64.

    Numbers are kept in the unit they came in (seconds, milliseconds); dates become seconds since 1970 UTC.
    """
    raw = table.column(name, "time")
    expected = "a number (unix time) or an ISO 8601 date such as 2024-05-31T12:00:00Z"
    if raw.dtype.is_integer():
        _refuse(table, raw, raw.is_null(), "time", expected)
        return raw.cast(pl.Int64)
    if raw.dtype.is_temporal() or (raw.dtype == pl.String and not _looks_numeric(raw)):
        number = _dates(table, raw, expected)
    else:
        if raw.dtype == pl.String:
            whole = raw.str.strip_chars().cast(pl.Int64, strict=False)
            if not whole.has_nulls():
                return whole
        number = _numbers(table, name, "time", expected)
    values = number.to_numpy()
    integral = bool(np.all((values == np.floor(values)) & (np.abs(values) < EXACT)))
    return number.cast(pl.Int64) if integral else number


def _looks_numeric(raw: pl.Series) -> bool:
    """The first non-empty value decides how the column is read."""
    text = raw.drop_nulls().head(100).str.strip_chars()
    text = text.filter(text != "")
    return len(text) == 0 or text.head(1).cast(pl.Float64, strict=False)[0] is not None


def _dates(table: RawTable, raw: pl.Series, expected: str) -> pl.Series:
    if raw.dtype in (pl.Time, pl.Duration):
        raise table.error(f"column {raw.name!r} for time holds {raw.dtype}, expected {expected}")
    if raw.dtype == pl.String:
        text = raw.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"[zZ]$", "+00:00")
        naive = [pl.col("t").str.to_datetime(f, strict=False, time_unit="us") for f in DATETIME_FORMATS]
        zoned = [
            pl.col("t").str.to_datetime(f"{f}%:z", strict=False, time_unit="us", time_zone="UTC")
            for f in DATETIME_FORMATS[1:]
        ]
        read = [d.dt.replace_time_zone("UTC") for d in naive] + zoned
        when = text.alias("t").to_frame().select(pl.coalesce(read))["t"]
    else:
        when = raw.cast(pl.Datetime("us"))
    _refuse(table, raw, when.is_null(), "time", expected)
    return when.dt.epoch("us").cast(pl.Float64) / 1e6


def texts(table: RawTable, name: str, argument: str) -> pl.Series:
    """Texts with HTML entities decoded and surrounding blanks removed; a missing text is ""."""
    raw = table.column(name, argument)
    if raw.dtype.is_nested() or raw.dtype == pl.Binary:
        raise table.error(f"column {name!r} for {argument} holds {raw.dtype}, expected text")
    return unescape(raw.cast(pl.String).fill_null("")).str.strip_chars()


def unescape(text: pl.Series) -> pl.Series:
    """Decode HTML entities (`&amp;`), in the few rows that have one."""
    rows = text.str.contains("&", literal=True).arg_true()
    if len(rows) == 0:
        return text
    decoded = [html.unescape(value) for value in text.gather(rows).to_list()]
    return text.clone().scatter(rows, decoded)


def categories(table: RawTable, name: str) -> pl.Series:
    """Categories as list[str]: lists as they are, text split on "|"; blanks and empty names are dropped."""
    raw = table.column(name, "categories")
    if raw.dtype.is_nested():
        parts = raw.cast(pl.List(pl.String))
    else:
        parts = unescape(raw.cast(pl.String).fill_null("")).str.split("|")
    return stripped(parts)


def stripped(lists: pl.Series) -> pl.Series:
    """Lists of texts without surrounding blanks and empty texts; a missing list is empty."""
    element = pl.element().str.strip_chars()
    return lists.fill_null([]).list.eval(element.filter(element != ""))
