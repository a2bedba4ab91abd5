"""What is known about items: titles, categories, and any other column of the item table."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import polars as pl

from metatoken.data import columns
from metatoken.data.columns import RawTable
from metatoken.data.ids import IdMap, warn_of_missing


@dataclass(frozen=True)
class ItemColumns:
    """Columns of an item table; the first of `item_id` that exists is used, and optional columns may be absent.

    `required` are those of the names that the user asked for, so that a missing one is an error.
    """

    item_id: tuple[str, ...]
    title: str
    categories: str
    required: frozenset[str]

    @property
    def wanted(self) -> list[str]:
        """Every column that may be used."""
        return list(dict.fromkeys([*self.item_id, self.title, self.categories]))

    def key(self, frame: pl.DataFrame) -> str:
        """The id column of a table."""
        return next((name for name in self.item_id if name in frame.columns), self.item_id[0])


def item_columns(item: str, item_id: str | None, title: str | None, categories: str | None) -> ItemColumns:
    """Resolve the arguments of `Interactions.read` that concern the item table; None means the usual name."""
    candidates = ("item_id", item) if item_id is None else (item_id,)
    asked = frozenset(name for name in (item_id, title, categories) if name is not None)
    return ItemColumns(candidates, title or "title", categories or "categories", asked)


def read_item_table(raw: RawTable, names: ItemColumns, items: IdMap, *, whole: bool = True) -> pl.DataFrame:
    """The table of the items that are in a log.

    Args:
        raw: The table.
        names: Its columns.
        items: The items of the log.
        whole: Whether it should have all of them.

    Returns:
        `item` (int32 row), then `title` (str) and `categories` (list[str]) where the source has them, then its other
        columns as `attribute` makes them, those without a value left out; sorted by item.

    Warns:
        MetatokenWarning: Some items of the log are not in it, though all should be.

    Raises:
        DataError: A column is missing, an id is empty or has two different lines, or no item of the table is in the
            log.
    """
    have = raw.names or raw.frame.columns
    raw = _with_lists(raw, names.categories)
    key = names.key(raw.frame)
    ids = columns.ids(raw, key, "item_id")
    if ids.is_duplicated().any():
        raw, ids = _once(raw, key)
    rows = items.find(ids)
    table = pl.DataFrame({"item": rows})
    if names.title in raw.frame.columns or names.title in names.required:
        table = table.with_columns(columns.texts(raw, names.title, "title").alias("title"))
    if names.categories in raw.frame.columns or names.categories in names.required:
        table = table.with_columns(columns.categories(raw, names.categories).alias("categories"))
    if table.width == 1:
        raise raw.error(
            f"neither a title nor a categories column; the columns are {', '.join(map(repr, have))}, "
            "name one of them with title= or categories="
        )
    used = {key, names.title, names.categories, *table.columns}
    others = [
        attribute(raw.dated(raw.frame[name], "value"), raw.decimal) for name in raw.frame.columns if name not in used
    ]
    table = table.with_columns(column for column in others if column is not None)
    table = table.filter(pl.col("item") >= 0).sort("item")
    if table.height == 0:
        raise raw.error(
            f"none of its {len(ids):,} ids in column {key!r} is an item of the log (first: {ids[0]!r}, "
            f"log: {items.raw[0]!r}); name the id column with item_id="
        )
    if whole:
        warn_of_missing(items, ids, rows, raw.path)
    return table


def _once(raw: RawTable, key: str) -> tuple[RawTable, pl.Series]:
    """A table without the lines that equal an earlier one, and its ids; `DataError` where an item has two lines."""
    comparable = [name for name in raw.frame.columns if raw.frame[name].dtype != pl.Object]
    raw = raw.filter(raw.frame.select(pl.struct(comparable).is_first_distinct()).to_series())
    ids = columns.ids(raw, key, "item_id")
    if (twice := ids.is_duplicated()).any():
        first = ids[int(twice.arg_max() or 0)]
        row = int((ids == first).arg_true()[1])
        raise raw.error(f"item {first!r} appears for the second time, with other values; keep one line per item", row)
    return raw, ids


def _with_lists(raw: RawTable, name: str) -> RawTable:
    """The table with JSON lists of a column as lists; JSON lines are read as text."""
    if name not in raw.frame.columns or raw.frame[name].dtype != pl.String:
        return raw
    lists = attribute(raw.frame[name])
    if lists is None or not lists.dtype.is_nested():
        return raw
    return replace(raw, frame=raw.frame.with_columns(lists.alias(name)))


def attribute(raw: pl.Series, decimal: str = ".") -> pl.Series | None:
    """A column of an item table as one of a few types, so that filters need to know no other.

    Text that holds nothing but whole numbers, numbers, `true` and `false`, or JSON lists becomes int64, float64, bool
    or list[str]; a number with a leading zero (a code) keeps its column text. Dates become ISO 8601 text. A missing
    value, NaN or an empty text is null; in a list, it is dropped.

    Returns:
        int64, float64, bool, str or list[str]; None for other types (structs, bytes) and for a column without a value.
    """
    dtype, column = raw.dtype, None
    if dtype.is_nested():
        return _lists(raw) if isinstance(dtype, pl.List) and columns.has_text(dtype.inner) else None
    if dtype == pl.Boolean:
        column = raw
    elif dtype in columns.IN_64_BITS:
        column = raw.cast(pl.Int64)
    elif dtype.is_numeric():
        column = raw.cast(pl.Float64).fill_nan(None)
    elif dtype in (pl.Binary, pl.Object, pl.Null):
        return None
    else:
        text = raw.dt.to_string("iso") if dtype.is_temporal() else raw.cast(pl.String).str.strip_chars()
        column = _typed(columns.unescape(text.fill_null("")).replace("", None), decimal)
    return None if column is None or column.null_count() == len(column) else column.rechunk()


def _typed(text: pl.Series, decimal: str) -> pl.Series | None:
    """The type that all texts of a column share."""
    given = text.drop_nulls()
    if len(given) == 0:
        return text
    if given.is_in(["true", "false", "True", "False"]).all():
        return text.str.to_lowercase() == "true"
    if not given.str.contains(r"^[+-]?0[0-9]").any():
        for number in (text.cast(pl.Int64, strict=False), columns.as_numbers(text, decimal)):
            if number.null_count() == text.null_count() and number.drop_nulls().is_finite().all():
                return number
    if given.str.starts_with("[").all() and given.str.ends_with("]").all():
        return _json_lists(text)
    return text


def _json_lists(text: pl.Series) -> pl.Series | None:
    """JSON lists as list[str], which JSON lines hold; the text itself where one of them is no such list."""
    try:
        lists = [json.loads(one) if one is not None else [] for one in text]
    except ValueError:
        return text
    if any(isinstance(one, list | dict) for inner in lists for one in inner):
        return text
    return _lists(pl.Series(text.name, [[str(one) for one in inner if one is not None] for inner in lists]))


def _lists(raw: pl.Series) -> pl.Series | None:
    lists = columns.stripped(raw.cast(pl.List(pl.String)))
    return lists if lists.list.len().sum() else None
