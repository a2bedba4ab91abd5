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
    add_pairs: bool = False,
) -> Interactions:
    """Adds the texts of a table to the log.

    The first row of a pair gets its texts, and keeps the log's own where the table has none. Users and items must be
    known to the log.

    Args:
        log: The log.
        path: The table (CSV, TSV, Parquet or JSON lines), a row for each pair.
        user: Its column of user ids; likewise `item`.
        item: See `user`.
        review: Its column of text; so are `summary` and `explanation`.
        summary: See `review`.
        explanation: See `review`.
        title: Its column of item titles, for a log without an item table.
        add_pairs: Take pairs that the log lacks for interactions, the last ones of their users. Without it they are
            refused, and so they are in a log with ratings, where they would have none.

    Raises:
        ArgumentError: No text column is named.
        DataError: The table cannot be read, a pair stands twice, is not in the log, or an id is unknown to it.
    """
    named = {"review": review, "summary": summary, "explanation": explanation}
    given = {name: column for name, column in named.items() if column is not None}
    if not given:
        raise ArgumentError("texts", f"expected the name of a column for at least one of {', '.join(named)}")
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
    fresh = frame.join(log.frame.select("user", "item"), on=["user", "item"], how="anti", maintain_order="left")
    if fresh.height and (not add_pairs or "rating" in log.frame.columns):
        example = f"user {log.users.raw[fresh['user'][0]]!r} and item {log.items.raw[fresh['item'][0]]!r}"
        missing = f"{path}: {fresh.height:,} pairs are not in the log, e.g. {example}"
        if add_pairs:
            raise DataError(f"{missing}; in a log with ratings they would have none, so leave these rows out")
        raise DataError(f"{missing}; leave these rows out, or say add_pairs: true")
    result = log.with_rows(_join(log.frame, frame, fresh, list(given)))
    return result if title is None else _with_titles(result, rows["item"], columns.texts(raw, title, "title"))


def _rows(log: Interactions, raw: pl.Series, kind: str, path: str | Path) -> np.ndarray:
    known = log.users if kind == "user" else log.items
    unknown = set(raw.unique().to_list()) - set(known.raw)
    if unknown:
        raise DataError(f"{path}: {len(unknown):,} {kind} ids are not in the log, e.g. {min(unknown)!r}")
    return known.rows(raw.to_list()).astype(np.int32)


def _join(frame: pl.DataFrame, texts: pl.DataFrame, fresh: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The log's rows with the texts' columns, then the pairs that it lacks."""
    # The first row of a pair carries its texts, so that no copy of it can be held out apart.
    first = pl.int_range(pl.len()).over("user", "item") == 0
    added = texts.rename({name: f"{name} added" for name in names})
    marked = frame.with_columns(first=first).join(added, on=["user", "item"], how="left", maintain_order="left")
    own = {name: pl.col(name) if name in frame.columns else pl.lit("") for name in names}
    chosen = [
        pl.when(pl.col("first") & (pl.col(f"{name} added").fill_null("") != ""))
        .then(pl.col(f"{name} added"))
        .otherwise(own[name].fill_null(""))
        .alias(name)
        for name in names
    ]
    kept = marked.with_columns(chosen).drop("first", *(f"{name} added" for name in names))
    last = fresh.with_columns(order=pl.lit(np.iinfo(np.int32).max, dtype=pl.Int32))
    filled = [pl.col(name).fill_null("") for name in kept.columns if kept.schema[name] == pl.String]
    return pl.concat([kept, last], how="diagonal").select(kept.columns).with_columns(filled)


def _with_titles(log: Interactions, items: np.ndarray, titles: pl.Series) -> Interactions:
    found = pl.DataFrame({"item": pl.Series(items, dtype=pl.Int32), "title": titles}).unique("item", keep="first")
    if log.item_table is not None:
        raise ArgumentError("title", "the log has an item table with titles already")
    return replace(log, item_table=found.sort("item"))
