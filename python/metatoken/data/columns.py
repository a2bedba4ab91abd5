"""Turn raw columns into ids, ratings and texts; `data.times` has those of time.

A missing column, and a value that is empty or cannot be read, is a `DataError` that names the column and the row.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from metatoken.data.conditions import quoted
from metatoken.errors import DataError

IN_64_BITS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
WHOLE = r"^-?(0|[1-9]\d*)(\.0)?$"  # of which some were saved as floats
SAVED_AS_FLOAT = ".0"
RULE = r"^:?[-=+]{2,}:?$"
YEARS = (-62_135_596_800, 253_402_300_799)  # 1 to 9999, in seconds since 1970
A_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it was read, with the way back from a row to a line of the file.

    Attributes:
        frame: The raw columns.
        path: The file, folder or URI of a database, or None for a table that was given in memory.
        place: File of a 0-based row, its line (from 1), None where rows are not lines, and its 0-based row in the file.
        names: Columns that the source has, doubles included; the frame may hold fewer.
        value_of: Of JSON lines, the value of a row and column before it became text.
        decimal: Mark of fractions in text.
        parts: The tables of several files, where it is made of such: each has every column that is asked for. Objects
            of JSON lines leave out what is empty, so that those may lack it.
        coded: Columns of ids that are enums of texts without surrounding blanks in their order, see `data.coded`.
    """

    frame: pl.DataFrame
    path: Path | str | None = None
    place: Callable[[int], tuple[object, int | None, int]] | None = None
    names: list[str] = field(default_factory=list)
    value_of: Callable[[int, str], Any] | None = None
    decimal: str = "."
    parts: Sequence[RawTable] = ()
    coded: frozenset[str] = frozenset()

    def error(self, message: str, row: int | None = None) -> DataError:
        """The error of this table, at a row where one is given."""
        if row is None:
            return DataError(message, self.path)
        path, line, at = (self.path, None, row) if self.place is None else self.place(row)
        return DataError(message if line is not None else f"{message} (row {at + 1})", path, line)

    def column(self, name: str, argument: str) -> pl.Series:
        """The raw column that an argument names.

        Raises:
            DataError: There is no such column, or there are two; the message lists those that exist.
        """
        names = self.names or self.frame.columns
        if names.count(name) > 1:
            raise self.error(
                f"column {name!r} for {argument} stands in the header {names.count(name)} times; rename one"
            )
        if name in self.frame.columns:
            for part in self.parts:
                if part.value_of is None:
                    part.column(name, argument)
            found = self.frame[name]
            if found.dtype == pl.Object:
                raise self.error(f"column {name!r} for {argument} holds Python objects, expected text or numbers")
            return self.dated(found, argument)
        guess = closest(name, names)
        hint = f"; did you mean {guess!r}?" if guess else ""
        if other := other_separator(names):
            hint = f"; {other}"
        if quotes := [mark for mark in "\"'" if f"{mark}{name}{mark}" in names]:
            hint = f"; if the marks around names are no part of them, say quote: {quotes[0]!r}"
        if names and (told := re.fullmatch(r"sep=(.?)", names[0])):
            hint = f"; the first line is Excel's: remove it, and say separator: {told[1] or ','!r}"
        raise self.error(f"no column {name!r} for {argument}; the columns are {', '.join(map(repr, names))}{hint}")

    def dated(self, column: pl.Series, argument: str) -> pl.Series:
        """A column whose dates, where it has some, are of a calendar; `DataError` for the infinity of databases."""
        if (beyond := beyond_years(column)).any():
            said = f"{argument} in column {column.name!r} is beyond the years 1 to 9999"
            raise self.error(f"{said}; leave it empty where there is none", int(beyond.arg_max() or 0))
        return column

    def filter(self, mask: pl.Series) -> RawTable:
        """The rows where a mask is true."""
        rows, value_of = mask.arg_true(), self.value_of
        place = self.place or (lambda row: (self.path, None, row))
        return replace(
            self,
            frame=self.frame.filter(mask),
            place=lambda row: place(int(rows[row])),
            value_of=None if value_of is None else lambda row, name: value_of(int(rows[row]), name),
        )


def other_separator(names: list[str]) -> str | None:
    """What to try where the only name of a header holds what separates the columns of other files; None elsewhere."""
    marks = [mark for mark in ";\t|," if mark in names[0]] if len(names) == 1 else []
    return f"if {marks[0]!r} separates them, say separator: {marks[0]!r}" if marks else None


def closest(name: str, names: list[str]) -> str | None:
    """The column that was probably meant, or None."""
    lowered = {n.lower(): n for n in reversed(names)}
    inside = [n for key, n in lowered.items() if name.lower() in key or key in name.lower()]
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[near[0]] if near else min(inside, key=len) if inside else None


def ids(table: RawTable, name: str, argument: str) -> pl.Series:
    """Raw ids as strings without surrounding blanks; whole numbers that came as floats lose their ".0"."""
    return plain_ids(table, name, argument).cast(pl.String)


def plain_ids(table: RawTable, name: str, argument: str) -> pl.Series:
    """The same, as int64 where the column is one of whole numbers: each has one text, which costs time to write.

    Of a column that is coded already, the enum.
    """
    raw = table.column(name, argument)
    if not raw.has_nulls() and (name in table.coded or raw.dtype in IN_64_BITS):
        return _plain_enum(raw) if name in table.coded else raw.cast(pl.Int64)
    text = filled_ids(table, name, argument)
    return text.str.strip_suffix(SAVED_AS_FLOAT) if saved_as_floats(text) else text


def _plain_enum(raw: pl.Series) -> pl.Series:
    """An enum of plain ids; what ids are is said by those that some row has, as others may have been filtered out."""
    texts: pl.Series = raw.dtype.categories  # type: ignore[attr-defined]
    if not texts.str.ends_with(SAVED_AS_FLOAT).any() or not saved_as_floats(raw.unique().cast(pl.String)):
        return raw
    plain = texts.str.strip_suffix(SAVED_AS_FLOAT)
    return plain.cast(pl.Enum(plain.unique().sort())).gather(raw.to_physical()).alias(raw.name)


def filled_ids(table: RawTable, name: str, argument: str) -> pl.Series:
    """Raw ids as text without surrounding blanks; `DataError` for an empty one, and for a list."""
    raw = table.column(name, argument)
    if not has_text(raw.dtype):
        raise table.error(f"column {name!r} for {argument} holds {raw.dtype}, ids are text or whole numbers")
    text = raw.cast(pl.String).str.strip_chars()
    if (bad := empty(raw, text)).any():
        remedy = f"give each row an id, or leave it out, which a log does with where: {quoted(name)} is not null"
        said = f"empty {argument} id in column {name!r}; {remedy}"
        raise table.error(said, int(bad.arg_max() or 0))
    if table.value_of is not None:
        for row in text.str.contains(r"^[\[{]").arg_true():
            if isinstance(value := table.value_of(row, name), list | dict):
                kind = "a list" if isinstance(value, list) else "an object"
                raise table.error(f"{argument} {text[row][:60]} in column {name!r} is {kind}; write one id a row", row)
    return text


def saved_as_floats(text: pl.Series) -> bool:
    """Whether ids are whole numbers of which some are written as 12.0, as other tools do in a column with gaps."""
    first = len(text) and re.match(WHOLE, text[0])
    return bool(first and text.str.ends_with(SAVED_AS_FLOAT).any() and text.str.contains(WHOLE).all())


def refuse_headers(table: RawTable, user: pl.Series, item: pl.Series, names: tuple[str, str]) -> None:
    """Refuses rows that are no data: the header again, where files were put together, or the rule of a drawn table."""
    if not all(side.dtype in (pl.String, pl.Enum) for side in (user, item)):
        return
    again = _holding(user, lambda ids: ids == names[0]) & _holding(item, lambda ids: ids == names[1])
    rule = _holding(user, lambda ids: ids.str.contains(RULE)) & _holding(item, lambda ids: ids.str.contains(RULE))
    if (bad := again | rule).any():
        row = int(bad.arg_max() or 0)
        said = "the header again" if again[row] else "a line of a drawn table"
        raise table.error(f"is {said}; remove it, or say where: {quoted(names[0])} != {user[row]!r}", row)


def _holding(ids: pl.Series, test: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Which rows hold an id that passes a test of texts; of an enum, each of its texts is looked at once."""
    if ids.dtype == pl.String:
        return test(ids)
    texts: pl.Series = ids.dtype.categories  # type: ignore[attr-defined]
    return test(texts).gather(ids.to_physical())


def beyond_years(dates: pl.Series) -> pl.Series:
    """Which dates no calendar has, such as the infinity of databases; polars panics where it is to show one."""
    if isinstance(dates.dtype, pl.Date):
        low, high = (one // 86_400 for one in YEARS)
    elif isinstance(dates.dtype, pl.Datetime):
        low, high = (one * A_SECOND[dates.dtype.time_unit] for one in YEARS)
    else:
        return pl.Series([False])
    return ~dates.to_physical().is_between(max(low, -(2**63)), min(high, 2**63 - 1)).fill_null(value=True)


def has_text(dtype: Any) -> bool:
    """Whether each value of a type can be written as one text."""
    return not (
        dtype.is_nested() or isinstance(dtype, pl.BaseExtension) or dtype in (pl.Binary, pl.Duration, pl.Object)
    )


def empty(raw: pl.Series, text: pl.Series | None = None) -> pl.Series:
    """Which rows of a column have no value, given its text without surrounding blanks if that is known."""
    if not has_text(raw.dtype):
        return raw.is_null()
    if text is None:
        text = raw.cast(pl.String, strict=False).str.strip_chars()
    return text.is_null() | (text == "").fill_null(True) | (text == "NaN" if raw.dtype.is_float() else False)


def refuse(table: RawTable, raw: pl.Series, bad: pl.Series, argument: str, expected: str) -> None:
    """Raises the error of the first bad value, if there is one."""
    if bad.any():
        row = int(bad.arg_max() or 0)
        if argument == "time" and raw[row] in (None, ""):
            raise table.error(f"time in column {raw.name!r} is empty; say where: {quoted(raw.name)} is not null", row)
        raise table.error(f"{argument} {raw[row]!r} in column {raw.name!r} is not {expected}", row)


def as_numbers(text: pl.Series, decimal: str) -> pl.Series:
    """Numbers as float64, null where a value is none; a point is no mark of thousands."""
    if decimal != "." and text.dtype == pl.String:
        text = text.str.replace_all(".", "?", literal=True).str.replace(decimal, ".", literal=True)
    return text.cast(pl.Float64, strict=False)


def ratings(table: RawTable, name: str, *, none: bool = False) -> pl.Series:
    """Ratings as float32, null where a row has none; with `none`, no row needs to have one."""
    raw = table.column(name, "rating")
    expected = "a finite number; leave it empty where there is none"
    if not (raw.dtype == pl.String or raw.dtype.is_numeric() or raw.dtype == pl.Null):
        raise table.error(f"column {name!r} for rating holds {raw.dtype}, expected numbers")
    text, number = raw, as_numbers(raw, table.decimal)
    if raw.dtype == pl.String and number.null_count() > raw.null_count():
        text = raw.str.strip_chars().replace("", None)
        number = as_numbers(text, table.decimal)
    if raw.dtype.is_float():
        number = text = number.fill_nan(None)
    number = number.cast(pl.Float32)  # which larger ones do not fit
    refuse(table, raw, text.is_not_null() & ~number.is_finite().fill_null(False), "rating", expected)
    if not none and number.null_count() == len(number):
        raise table.error(f"column {name!r} for rating is empty in every row")
    return number


def texts(table: RawTable, name: str, argument: str) -> pl.Series:
    """Texts with HTML entities decoded and surrounding blanks removed; a missing text is ""."""
    raw = table.column(name, argument)
    if not has_text(raw.dtype):
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
    if not has_text(raw.dtype.inner if isinstance(raw.dtype, pl.List | pl.Array) else raw.dtype):
        raise table.error(f"column {name!r} for categories holds {raw.dtype}, expected text or lists of texts")
    if raw.dtype.is_nested():
        parts = raw.cast(pl.List(pl.String))
    else:
        parts = unescape(raw.cast(pl.String).fill_null("")).str.split("|")
    return stripped(parts)


def stripped(lists: pl.Series) -> pl.Series:
    """Lists of texts without surrounding blanks and empty texts; a missing list is empty."""
    element = pl.element().str.strip_chars()
    return lists.fill_null([]).list.eval(element.filter(element != ""))
