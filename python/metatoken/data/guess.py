"""Guess how a log is to be read: its format, dialect, columns and dates, each with the reason.

Nothing is guessed when a log is read: these are suggestions for a configuration, which a person can see and change.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from metatoken.data.columns import RawTable, empty, quoted, ratings
from metatoken.data.files import decode, find_files, read_bytes, suffix_of
from metatoken.data.guess_beside import held_out_beside, items_beside
from metatoken.data.guess_items import guess_items
from metatoken.data.guess_times import are_dates, guess_time
from metatoken.data.readers import JSON_LINES, PARQUET, SEPARATORS, TABLES, read_lines, read_table
from metatoken.data.roles import CATEGORIES, ROLES, TITLES, of_role, of_words
from metatoken.data.settings import Dialect
from metatoken.data.times import ISO
from metatoken.errors import ArgumentError, DataError, MetatokenError

LINES = 1000  # that decide about a separator
MARKS = (",", "\t", ";", "|", "::")


@dataclass
class Guess:
    """What was understood.

    Attributes:
        settings: Of `data.settings.LogSettings`, those that differ from the defaults.
        reasons: Why, by setting.
        others: Columns of a table that have no role yet, by what they seem to hold.
        warnings: What could be otherwise.
    """

    settings: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, value: Any, reason: str) -> None:
        """A setting, unless a person gave it."""
        if name not in self.settings:
            self.settings[name], self.reasons[name] = value, reason

    def dialect(self) -> Dialect:
        """How the log is written."""
        return Dialect.read({name: value for name, value in self.settings.items() if name in Dialect.keys()})  # noqa: SIM118


def guess_log(given: Mapping[str, Any]) -> Guess:
    """Settings with which a log can be read.

    Args:
        given: What is known of it; at least `path`, or `uri` and `query`.

    Raises:
        DataError: There is no such file, or it cannot be told which columns hold users and items.
    """
    found = Guess(dict(given))
    if "uri" in given:
        from metatoken.data.database import read_query

        if not given.get("query"):
            raise ArgumentError("query", "expected a query beside uri, such as select * from orders")
        table = read_query(given["uri"], given["query"])
    else:
        table = _guess_file(found, Path(given["path"]))
    if found.settings.get("format", "table") == "table":
        _guess_columns(found, table)
        table = _without_gaps(found, table)
    if "path" in given and Path(given["path"]).is_file():
        held_out_beside(found, table)
        items_beside(found, table, _dialect_of)
    if "items" in found.settings:
        guess_items(found, table, _dialect_of)
    return found


def _dialect_of(own: dict[str, Any], path: Path) -> dict[str, Any]:
    """Separator and encoding of a text file."""
    found, suffix = Guess({**own, "path": path}), suffix_of(path)
    if suffix in (*PARQUET, *JSON_LINES):
        return {}
    _guess_separator(found, _text_lines(found, path)[:LINES], suffix)
    separator = found.settings.get("separator", SEPARATORS.get(suffix))
    return {"encoding": found.settings.get("encoding", "utf-8")} | ({"separator": separator} if separator else {})


def _text_lines(found: Guess, path: Path) -> list[str]:
    """Lines of a text file that are not blank, and its encoding."""
    data = read_bytes(path)
    encoding = _encoding(data)
    if encoding != "utf-8":
        found.add("encoding", encoding, "not every byte is UTF-8")
    text = decode(path, data, found.settings.get("encoding", "utf-8"))
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError("the file is empty", path)
    return lines


def _guess_file(found: Guess, path: Path) -> RawTable:
    """Format and dialect; the table, of lines their users and items."""
    files = find_files(path, TABLES if path.is_dir() else ())
    suffix = suffix_of(files[0])
    if suffix not in (*PARQUET, *JSON_LINES):
        lines = _text_lines(found, files[0])
        if told := re.fullmatch(r"sep=(.)", lines[0]):
            raise DataError(f"the first line is Excel's: remove it, and say separator: {told[1]!r}", files[0], 1)
        is_table = _guess_separator(found, lines[:LINES], suffix) or _has_names(found, lines)
        if found.settings.get("format", "table") != "table" or not is_table:
            _guess_lines(found, lines)
            return read_lines(path, found.settings["format"], found.dialect())
        _guess_header(found, lines[:LINES], suffix)
    return read_table(path, None, found.dialect())


def _encoding(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for name in ("utf-8", "cp1252"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def _widths(lines: list[str], mark: str) -> list[int]:
    """Fields of each row at this separator; a row may have several lines."""
    if len(mark) > 1:
        return [line.count(mark) + 1 for line in lines]
    try:
        quoting: Any = csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
        return [len(row) for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=mark, quoting=quoting)]
    except csv.Error:
        return [line.count(mark) + 1 for line in lines]


def _guess_separator(found: Guess, lines: list[str], suffix: str) -> bool:
    """Finds the separator of a table; False where the text is no table."""
    usual = SEPARATORS.get(suffix)
    if "separator" in found.settings:
        return True
    scored = {}
    for mark in (usual, *MARKS) if usual else MARKS:
        widths = _widths(lines, mark)
        width = max(set(widths), key=widths.count)
        if width > 1 and widths.count(width) >= 0.95 * len(widths):
            scored[mark] = width
    if not scored:
        return usual is not None
    mark = (
        usual if usual in scored and scored[usual] * 2 > max(scored.values()) else max(scored, key=scored.__getitem__)
    )
    if mark != usual:
        found.add("separator", mark, f"divides every line into {scored[str(mark)]} fields")
    return True


def _has_names(found: Guess, lines: list[str]) -> bool:
    """Whether blanks divide a table: its first line names columns, and every line has as many words."""
    words = [line.split(" ") for line in lines[:LINES]]
    named = all(of_role(role, words[0]) for role in ("user", "item"))
    if named and len({len(one) for one in words}) == 1 and len(words) > 1:
        found.add("separator", " ", "the first line names columns")
    return "separator" in found.settings


def _guess_lines(found: Guess, lines: list[str]) -> None:
    words = [line.split() for line in lines]
    if all(len(one) == 2 for one in words):
        found.add("format", "pairs", "every line has two words")
    elif len({one[0] for one in words}) == len(words) and all(len(one) > 1 for one in words):
        found.add("format", "sequences", "every line begins with another word: its user")
    else:
        found.add("format", "sessions", "first words repeat, so lines have no users of their own")


def _guess_header(found: Guess, lines: list[str], suffix: str) -> None:
    """Names the columns of a table whose first line holds values."""
    mark = found.settings.get("separator") or SEPARATORS[suffix]
    rows = [line.split(mark) for line in lines] if len(mark) > 1 else list(csv.reader(lines, delimiter=mark))
    first = [name.strip() for name in rows[0]]
    if mark == "\t" and all(re.fullmatch('".*"', cell) for cell in lines[0].split(mark)):
        found.add("quote", '"', "names of columns stand in quotation marks")
    # pandas gives its index no name.
    values = any(_is_number(one) or re.fullmatch(ISO, one) for one in first)
    is_header = len(set(first)) == len(first) and all(first[1:]) and not values
    if is_header or "columns" in found.settings:
        return
    names = [f"column{at}" for at in range(1, len(first) + 1)]
    dates = [
        at for at in range(len(first)) if all(len(row) > at and re.fullmatch(ISO, row[at].strip()) for row in rows)
    ]
    ids = [at for at in range(len(first)) if at not in dates][:2]
    for at, name in [*zip(ids, ("user", "item"), strict=False), *((at, "time") for at in dates[:1])]:
        names[at] = name
    for at in range(len(first)):
        if at in ids or at in dates:
            continue
        numbers = [float(row[at]) for row in rows if len(row) > at and _is_number(row[at])]
        if numbers and min(numbers) >= 1e8:
            names[at] = "time" if "time" not in names else names[at]
        elif numbers and min(numbers) >= 0 and 0 < max(numbers) <= 100 and "rating" not in names:
            names[at] = "rating"
    found.add("columns", names, "the first line holds values, so it is no header; check the names")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) is not None


def _guess_columns(found: Guess, table: RawTable) -> None:
    names = list(table.names or table.frame.columns)
    taken = {found.settings[role] for role in ROLES if role in found.settings}
    for role in ROLES:
        if role in found.settings:
            continue
        name = of_role(role, [one for one in names if one not in taken])
        if role in ("user", "item") and name is None:
            hint = "; a table about items goes with the log, as --items" if _is_about_items(role, names) else ""
            known = ", ".join(map(repr, names))
            raise DataError(f"which column holds {role}s? Say --{role}; the columns are {known}{hint}", table.path)
        if name is None or (role == "rating" and not _are_ratings(found, table, name)):
            continue
        if role == "time" and not guess_time(found, table, name):
            continue
        taken.add(name)
        if role in ("event", "review", "summary", "explanation"):
            found.others[role] = name
        elif role not in ("user", "item") or name != role:
            found.add(role, name, "by its name")
    if "time" not in found.settings:
        dates = [name for name in names if name not in taken and are_dates(table, name)]
        if len(dates) == 1:
            found.add("time", dates[0], "its values are dates")


def _without_gaps(found: Guess, table: RawTable) -> RawTable:
    """The rows with a user, an item and a time; where some have none, a filter leaves them out."""
    used = [found.settings.get(role, default) for role, default in (("user", "user"), ("item", "item"), ("time", None))]
    gaps = {name: mask for name in used if name is not None and (mask := empty(table.column(name, "where"))).any()}
    if gaps:
        said = ", ".join(f"{mask.sum():,} rows have no {name}" for name, mask in gaps.items())
        found.add("where", " and ".join(f"{quoted(name)} is not null" for name in gaps), said)
        table = table.filter(~pl.DataFrame(list(gaps.values())).max_horizontal())
    return table


def _is_about_items(missing: str, names: list[str]) -> bool:
    words = (TITLES, CATEGORIES)
    return missing == "user" and of_role("item", names) is not None and any(of_words(one, names) for one in words)


def _are_ratings(found: Guess, table: RawTable, name: str) -> bool:
    """Whether a column holds numbers, perhaps with a decimal comma."""
    for mark in (".", ",") if "decimal" not in found.settings else (table.decimal,):
        try:
            ratings(replace(table, decimal=mark), name)
        except MetatokenError:
            continue
        if mark == ",":
            found.add("decimal", mark, f"{name} has fractions behind a comma")
        return True
    return False
