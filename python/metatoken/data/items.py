"""What is known about items: titles and categories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from metatoken.data import columns
from metatoken.data.columns import RawTable
from metatoken.data.ids import IdMap


@dataclass(frozen=True)
class ItemColumns:
    """Columns of an item table; the first of `item_id` that exists is used, and optional columns may be absent.

    Attributes:
        item_id: Candidates for the id column.
        title: Column of titles.
        categories: Column of categories.
        required: Those of the names that the user asked for, so that a missing one is an error.
    """

    item_id: tuple[str, ...]
    title: str
    categories: str
    required: frozenset[str]

    @property
    def wanted(self) -> list[str]:
        """Every column that may be used."""
        return list(dict.fromkeys([*self.item_id, self.title, self.categories]))


def item_columns(item: str, item_id: str | None, title: str | None, categories: str | None) -> ItemColumns:
    """Resolve the arguments of `Interactions.read` that concern the item table; None means the usual name."""
    candidates = ("item_id", item) if item_id is None else (item_id,)
    asked = frozenset(name for name in (item_id, title, categories) if name is not None)
    return ItemColumns(candidates, title or "title", categories or "categories", asked)


def read_item_table(raw: RawTable, names: ItemColumns, items: IdMap) -> pl.DataFrame:
    """The table of the items that are in a log.

    Returns:
        `item` (int32 row), then `title` (str) and `categories` (list[str]) where the source has them; sorted by item.

    Raises:
        DataError: A column is missing, an id is empty or appears twice, or no item of the table is in the log.
    """
    have = raw.names or raw.frame.columns
    key = next((name for name in names.item_id if name in raw.frame.columns), names.item_id[0])
    ids = columns.ids(raw, key, "item_id")
    twice = ids.is_duplicated()
    if twice.any():
        first = ids[int(twice.arg_max() or 0)]
        row = int((ids == first).arg_true()[1])
        raise raw.error(f"item {first!r} appears for the second time; keep one line an item", row)
    data = {"item": np.fromiter((items.row(name) if name in items else -1 for name in ids), np.int32, len(ids))}
    table = pl.DataFrame(data)
    if names.title in raw.frame.columns or names.title in names.required:
        table = table.with_columns(columns.texts(raw, names.title, "title").alias("title"))
    if names.categories in raw.frame.columns or names.categories in names.required:
        table = table.with_columns(columns.categories(raw, names.categories).alias("categories"))
    if table.width == 1:
        raise raw.error(
            f"neither a title nor a categories column; the columns are {', '.join(map(repr, have))}, "
            "name one of them with title= or categories="
        )
    table = table.filter(pl.col("item") >= 0).sort("item")
    if table.height == 0:
        raise raw.error(
            f"none of its {len(ids):,} ids in column {key!r} is an item of the log (first: {ids[0]!r}, "
            f"log: {items.raw[0]!r}); name the id column with item_id="
        )
    return table
