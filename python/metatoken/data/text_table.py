"""Texts that stand in a table of their own, joined to a log by pairs of user and item."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from metatoken.data import columns
from metatoken.data.interactions import Interactions
from metatoken.data.readers import read_raw
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
    title: str | None = None,
) -> Interactions:
    """Adds the texts of a table to the log.

    A pair that the log has gets its texts in its first row; a pair that it lacks becomes a new row at the end of its
    user's history. Users and items must be known to the log.

    Args:
        log: The log.
        path: The table (CSV, TSV, Parquet or JSON lines), a row for each pair.
        user: Its column of user ids; likewise `item`.
        item: See `user`.
        review: Its column of text; so are `summary` and `explanation`.
        summary: See `review`.
        explanation: See `review`.
        title: Its column of item titles; taken for items that have none.

    Raises:
        ArgumentError: No text column is named.
        DataError: The table cannot be read, a pair stands twice, or an id is unknown to the log.
    """
    named = {"review": review, "summary": summary, "explanation": explanation}
    given = {name: column for name, column in named.items() if column is not None}
    if not given:
        raise ArgumentError("explanation", f"expected the name of at least one column of {', '.join(named)}")
    extra = {} if title is None else {"title": title}
    raw = read_raw(path, "table", list(dict.fromkeys([user, item, *given.values(), *extra.values()])))
    rows = {
        kind: _rows(log, columns.ids(raw, column, kind), kind, path)
        for kind, column in (("user", user), ("item", item))
    }
    data: dict[str, pl.Series] = {name: pl.Series(name, values) for name, values in rows.items()}
    for name, column in given.items():
        data[name] = columns.texts(raw, column, name)
    frame = pl.DataFrame(data)
    twice = frame.filter(frame.select("user", "item").is_duplicated())
    if twice.height:
        pair = log.users.raw[twice["user"][0]], log.items.raw[twice["item"][0]]
        raise DataError(f"{path}: user {pair[0]!r} and item {pair[1]!r} stand in several rows; keep one")
    joined = _join(log.frame, frame, list(given))
    result = log.with_rows(joined)
    return result if title is None else _with_titles(result, rows["item"], columns.texts(raw, title, "title"))


def _rows(log: Interactions, raw: pl.Series, kind: str, path: str | Path) -> np.ndarray:
    known = log.users if kind == "user" else log.items
    unknown = set(raw.unique().to_list()) - set(known.raw)
    if unknown:
        raise DataError(f"{path}: {len(unknown):,} {kind} ids are not in the log, e.g. {min(unknown)!r}")
    return known.rows(raw.to_list()).astype(np.int32)


def _join(frame: pl.DataFrame, texts: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The log's rows with the texts' columns, then the pairs that it lacks."""
    clash = [name for name in names if name in frame.columns]
    frame = frame.drop(clash)
    # The first row of a pair carries its texts, so that no copy of it can be held out apart.
    first = pl.int_range(pl.len()).over("user", "item") == 0
    marked = frame.with_columns(first=first).join(texts, on=["user", "item"], how="left", maintain_order="left")
    empty = [pl.when(pl.col("first")).then(pl.col(name)).otherwise(None).alias(name) for name in names]
    kept = marked.with_columns(empty).drop("first")
    fresh = texts.join(frame.select("user", "item"), on=["user", "item"], how="anti", maintain_order="left")
    fresh = fresh.with_columns(order=pl.lit(np.iinfo(np.int32).max, dtype=pl.Int32))
    filled = [pl.col(name).fill_null("") for name in names]
    return pl.concat([kept, fresh], how="diagonal").select(kept.columns).with_columns(filled)


def _with_titles(log: Interactions, items: np.ndarray, titles: pl.Series) -> Interactions:
    found = pl.DataFrame({"item": pl.Series(items, dtype=pl.Int32), "title": titles}).unique("item", keep="first")
    if log.item_table is not None:
        raise ArgumentError("title", "the log has an item table with titles already")
    return replace(log, item_table=found.sort("item"))
