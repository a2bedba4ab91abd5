"""Guess how the item table of a log is to be read: which of its columns has the ids, which the titles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from metatoken.data.columns import RawTable, ids, ratings
from metatoken.data.files import find_files, suffix_of
from metatoken.data.guess_text import dialect_of
from metatoken.data.readers import SEPARATORS, TABLES, read_table
from metatoken.data.roles import CATEGORIES, TITLES, of_words
from metatoken.data.settings import Dialect, LogSettings
from metatoken.data.understood import Guess
from metatoken.errors import MetatokenError

DIFFERENT = 0.5  # share of the titles that are different, and that have more than one word


def guess_items(found: Guess, table: RawTable) -> None:
    """Adds the form of the item table that is known, its columns of ids, titles and categories; `table` is the log."""
    path = Path(found.settings["items"])
    first = find_files(path, TABLES if path.is_dir() else ())[0]
    usual = LogSettings.read(found.settings).items_dialect
    own = {name: found.settings[f"items_{name}"] for name in ("separator", "encoding", "columns")
           if f"items_{name}" in found.settings}  # fmt: skip
    default = {"separator": SEPARATORS.get(suffix_of(first)), "encoding": None}
    for name, value in dialect_of(own, first).items():
        if value != (getattr(usual, name) or default[name]):
            found.add(f"items_{name}", value, "as its lines are written")
            own[name] = value
    items = read_table(path, None, Dialect.read(vars(usual) | own))
    _guess_ids(found, table, items)
    _guess_decimal(found, table, items)
    for role, words in (("title", TITLES), ("categories", CATEGORIES)):
        column = of_words(words, items.names)
        if column is not None and column != role:
            found.add(role, column, "by its name")
    if not {"title", "categories"} & found.settings.keys() and not {"title", "categories"} & set(items.names):
        column = column_of_words(items, found.settings.get("item_id", found.settings.get("item", "item")))
        if column is not None:
            found.add("title", column, "its values are words, most of them different")


def column_of_words(items: RawTable, key: str) -> str | None:
    """The column that may have titles, by its values: words, most of them different, the shortest such; or None.

    Args:
        items: A table about items.
        key: Its column of ids.
    """
    lengths = {}
    for name in items.frame.columns:
        text = items.frame[name].drop_nulls()
        if name == key or text.dtype != pl.String or len(text) == 0:
            continue
        words = int(text.str.contains(r"\pL\s+\S").sum())
        if min(words, text.n_unique()) >= DIFFERENT * len(text):
            lengths[name] = int(text.str.len_chars().sum())
    return min(lengths, key=lengths.__getitem__, default=None)


def _guess_decimal(found: Guess, table: RawTable, items: RawTable) -> None:
    """A decimal comma, where a column has one and the ratings of the log do not speak against it."""
    if "decimal" in found.settings:
        return
    for name in items.frame.columns:
        if items.frame[name].dtype.is_nested():  # such as a list of categories
            continue
        text = items.frame[name].drop_nulls().cast(pl.String, strict=False)
        fractions = text.filter(text.str.contains(r"^[+-]?\d+,\d+$"))
        # Three digits behind every comma are thousands.
        if len(fractions) == 0 or fractions.str.contains(r",\d{3}$").all():
            continue
        if text.str.contains(r"^([+-]?\d+(,\d+)?)?$").all() and _are_ratings(found, table):
            found.add("decimal", ",", f"{name} of the item table has fractions behind a comma")
            return


def _are_ratings(found: Guess, table: RawTable) -> bool:
    try:
        if "rating" in found.settings:
            ratings(replace(table, decimal=","), found.settings["rating"])
    except MetatokenError:
        return False
    return True


def _guess_ids(found: Guess, table: RawTable, items: RawTable) -> None:
    """The column whose values are most often items of the log."""
    item = found.settings.get("item", "item")
    if "item_id" in items.names or item in items.names or "item_id" in found.settings:
        return
    known = set(ids(table, item, "item"))
    shared = {name: shared_ids(known, items, name) for name in items.frame.columns}
    name = max(shared, key=shared.__getitem__, default="")
    if shared.get(name):
        found.add("item_id", name, f"{shared[name]:,} of its values are items of the log")


def shared_ids(known: set[str], items: RawTable, name: str) -> int:
    """How many ids of a log a column of another table has; 0 where it holds no ids."""
    try:
        return len(known.intersection(ids(items, name, "item_id")))
    except MetatokenError:
        return 0
