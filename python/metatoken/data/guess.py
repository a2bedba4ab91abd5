"""Guess how a log is to be read: its format, dialect, columns and dates, each with the reason.

Nothing is guessed when a log is read: these are suggestions for a configuration, which a person can see and change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from metatoken.data.columns import RawTable, as_numbers, empty, ratings
from metatoken.data.conditions import parse_condition, quoted
from metatoken.data.expressions import names_in
from metatoken.data.files import find_files, suffix_of
from metatoken.data.guess_beside import held_out_beside, items_beside
from metatoken.data.guess_items import guess_items
from metatoken.data.guess_text import guess_text
from metatoken.data.guess_times import are_dates, guess_time
from metatoken.data.readers import JSON_LINES, PARQUET, TABLES, read_lines, read_table
from metatoken.data.roles import AMOUNTS, CATEGORIES, ROLES, TITLES, of_role, of_words
from metatoken.data.understood import Guess
from metatoken.errors import ArgumentError, DataError, MetatokenError


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
        _look_at_columns(found, table)
        table = _without_gaps(found, table)
    if "path" in given and Path(given["path"]).is_file():
        held_out_beside(found, table)
        items_beside(found, table)
    if "items" in found.settings:
        guess_items(found, table)
    return found


def _guess_file(found: Guess, path: Path) -> RawTable:
    """Format and dialect; the table, of lines their users and items."""
    first = find_files(path, TABLES if path.is_dir() else ())[0]
    if suffix_of(first) not in (*PARQUET, *JSON_LINES):
        guess_text(found, first)
    form = found.settings.get("format", "table")
    return read_table(path, None, found.dialect()) if form == "table" else read_lines(path, form, found.dialect())


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
        _guess_dates(found, table, [name for name in names if name not in taken and names.count(name) == 1])


def _guess_dates(found: Guess, table: RawTable, names: list[str]) -> None:
    """The only column of dates among some that have no role, whatever it is called."""
    dates = [name for name in names if are_dates(table, name)]
    if len(dates) == 1 and guess_time(found, table, dates[0]):
        found.add("time", dates[0], "its values are dates")
    elif len(dates) > 1:
        said = f"{', '.join(dates)} hold dates, and which of them says when a row was made cannot be told"
        found.warnings.append(f"{said}; say --time")


def _look_at_columns(found: Guess, table: RawTable) -> None:
    """Keeps the column of events, and warns of ids that have lost something before they came here."""
    if "event" in found.others:
        events = table.column(found.others["event"], "event")
        found.events = None if events.dtype.is_nested() else events
    for role in ("user", "item"):
        column = table.column(found.settings.get(role, role), role)
        if column.dtype.is_float():
            said = f"{role} ids in column {column.name!r} are floats: long numbers have lost digits, gaps became NaN"
            found.warnings.append(f"{said}; save them as text")
    if (name := of_words(AMOUNTS, table.names or table.frame.columns)) is not None:
        _look_for_returns(found, table, name)


def _look_for_returns(found: Guess, table: RawTable, name: str) -> None:
    """Warns of amounts below zero, which a person who filters by them knows of."""
    raw = table.column(name, "where")
    if raw.dtype.is_nested():
        return
    amounts = as_numbers(raw.cast(pl.String, strict=False), table.decimal)
    back = int((amounts < 0).sum())
    where = found.settings.get("where")
    if back and (where is None or name not in names_in(parse_condition(where))):
        said = f"{name} is below zero in {back:,} rows, such as returns, which count as if they had been taken"
        found.warnings.append(f"{said}; leave them out with where: {quoted(name)} > 0")


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
