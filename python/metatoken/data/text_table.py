"""Texts that stand in a table of their own, joined to a log by pairs of user and item."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from metatoken.data import columns
from metatoken.data.columns import RawTable
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.data.readers import read_raw
from metatoken.data.settings import Dialect
from metatoken.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from pathlib import Path


def read_texts(
    log: Interactions,
    path: str | Path,
    *,
    user: str = "user",
    item: str = "item",
    review: str | None = None,
    summary: str | None = None,
    explanation: str | None = None,
    feature: str | None = None,
    title: str | None = None,
    add_pairs: bool = False,
    dialect: Dialect | None = None,
) -> Interactions:
    """Adds the texts of a table to the log.

    The first row of a pair gets its texts, and keeps the log's own where the table has none. Users and items must be
    known to the log. `data.settings.TextTableSettings` describes the table (CSV, TSV, Parquet or JSON lines, one row
    per pair) and the arguments that name its columns, `dialect` how it is written.

    Raises:
        ArgumentError: No text column is named.
        DataError: The table cannot be read, a pair stands twice, is not in the log, or an id is unknown to it.
    """
    named = {"review": review, "summary": summary, "explanation": explanation, "feature": feature}
    given = {name: column for name, column in named.items() if column is not None}
    if not given:
        raise ArgumentError("texts", f"expected the name of a column for at least one of {', '.join(named)}")
    wanted = [user, item, *given.values(), *([] if title is None else [title])]
    raw = read_raw(path, "table", list(dict.fromkeys(wanted)), dialect)
    rows = {"user": _rows(log.users, raw, user, path), "item": _rows(log.items, raw, item, path)}
    frame = pl.DataFrame(rows | {name: columns.texts(raw, column, name) for name, column in given.items()})
    twice = frame.filter(frame.select("user", "item").is_duplicated())
    if twice.height:
        raise DataError(f"{path}: {_first_pair(log, twice)} stand in several rows; keep one")
    fresh = frame.join(log.frame.select("user", "item"), on=["user", "item"], how="anti", maintain_order="left")
    if fresh.height and (not add_pairs or "rating" in log.frame.columns):
        remedy = "leave these rows out, or say add_pairs: true"
        if add_pairs:
            remedy = "in a log with ratings they would have none, so leave these rows out"
        example = _first_pair(log, fresh)
        raise DataError(f"{path}: {fresh.height:,} pairs are not in the log, e.g. {example}; {remedy}")
    result = log.with_rows(_join(log.frame, frame, fresh, list(given)))
    return result if title is None else _with_titles(result, rows["item"], columns.texts(raw, title, "title"))


def _first_pair(log: Interactions, frame: pl.DataFrame) -> str:
    return f"user {log.users.raw[frame['user'][0]]!r} and item {log.items.raw[frame['item'][0]]!r}"


def _rows(known: IdMap, raw: RawTable, column: str, path: str | Path) -> pl.Series:
    ids = columns.ids(raw, column, known.kind).to_list()
    if unknown := set(ids) - set(known.raw):
        raise DataError(f"{path}: {len(unknown):,} {known.kind} ids are not in the log, e.g. {min(unknown)!r}")
    return pl.Series(known.rows(ids))


def _join(frame: pl.DataFrame, texts: pl.DataFrame, fresh: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The log's rows with the texts' columns, then the pairs that it lacks."""
    # The first row of a pair carries its texts, so that no copy of it can be held out apart.
    first = pl.int_range(pl.len()).over("user", "item") == 0
    added = texts.rename({name: f"{name} added" for name in names})
    marked = frame.with_columns(first=first).join(added, on=["user", "item"], how="left", maintain_order="left")
    chosen = []
    for name in names:
        own, new = pl.col(name) if name in frame.columns else pl.lit(""), pl.col(f"{name} added").fill_null("")
        chosen.append(pl.when(pl.col("first") & (new != "")).then(new).otherwise(own.fill_null("")).alias(name))
    kept = marked.with_columns(chosen).drop("first", *(f"{name} added" for name in names))
    last = fresh.with_columns(order=pl.lit(np.iinfo(np.int32).max, dtype=pl.Int32))
    filled = [pl.col(name).fill_null("") for name in kept.columns if kept.schema[name] == pl.String]
    return pl.concat([kept, last], how="diagonal").select(kept.columns).with_columns(filled)


def _with_titles(log: Interactions, items: pl.Series, titles: pl.Series) -> Interactions:
    if log.item_table is not None:
        raise ArgumentError("title", "the log has an item table with titles already")
    found = pl.DataFrame({"item": items, "title": titles}).unique("item", keep="first")
    return replace(log, item_table=found.sort("item"))
