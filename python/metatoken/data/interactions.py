"""Who met what, in which order: the log that everything else is learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metatoken.data import columns
from metatoken.data.checksum import content_checksum
from metatoken.data.columns import RawTable
from metatoken.data.ids import IdMap
from metatoken.data.items import ItemColumns, item_columns, read_item_table
from metatoken.data.ragged import Sequences, offsets_of
from metatoken.data.readers import read_raw, read_table
from metatoken.data.settings import Format
from metatoken.errors import ArgumentError, DataError

TEXTS = ("review", "summary", "explanation")


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log of users and items.

    Rows of users and items are 0-based and sorted by raw id, so they do not depend on the order of the input.

    Attributes:
        frame: `user`, `item` (int32 rows), `order` (int32, 0-based place in the user's history, oldest first), then
            those of `timestamp` (int64 or float64), `rating` (float32), `review`, `summary`, `explanation` (str) that
            the log has. Sorted by (user, order).
        users: Raw ids of the user rows.
        items: Raw ids of the item rows.
        item_table: `item` (int32 row), `title` (str), `categories` (list[str]) and further columns of the source
            (`data.items.attribute`), each where it had them, or None. One row per known item, sorted by item.
    """

    frame: pl.DataFrame
    users: IdMap
    items: IdMap
    item_table: pl.DataFrame | None = None

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"Interactions({self.n_users:,} users, {self.n_items:,} items, {len(self):,} interactions)"

    @property
    def n_users(self) -> int:
        """Number of user rows, those without interactions included."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of item rows, those without interactions included."""
        return len(self.items)

    @classmethod
    def read(
        cls,
        path: str | Path,
        format: Format = "table",  # noqa: A002 (the word users know)
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        rating: str | None = None,
        review: str | None = None,
        summary: str | None = None,
        explanation: str | None = None,
        items: str | Path | None = None,
        item_id: str | None = None,
        title: str | None = None,
        categories: str | None = None,
    ) -> Interactions:
        """Read a log from a file; `data.settings.LogSettings` says what each argument names.

        Ties in time keep the order of the file; without times, its order is the order in time.

        A format is "table" (CSV, TSV, Parquet or JSON lines by the name of the file), "sequences" (`user item item ...`
        per line, oldest first), "pairs" (`user item` per line, oldest first per user), or "sessions" (the items of one
        anonymous session per line; the user id is `session-<line number>`).

        Raises:
            ArgumentError: Unknown format, or column names that do not go together.
            DataError: The file cannot be read as such a log; names file, line and value where they are known.
        """
        given = _given(time=time, rating=rating, review=review, summary=summary, explanation=explanation)
        if format != "table" and given:
            raise ArgumentError(next(iter(given)), f"format={format!r} has no named columns, only format='table' has")
        names = given | ({"user": user, "item": item} if format == "table" else {"user": "user", "item": "item"})
        _check_names(names)
        if items is None:
            for argument in _given(item_id=item_id, title=title, categories=categories):
                raise ArgumentError(argument, "is a column of the item table; give its file as items=")
        log = _assemble(read_raw(path, format, list(dict.fromkeys(names.values()))), names)
        if items is None:
            return log
        return _with_items(log, read_table(items, None), item_columns(item, item_id, title, categories))

    @classmethod
    def from_frame(
        cls,
        frame: pl.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        rating: str | None = None,
        review: str | None = None,
        summary: str | None = None,
        explanation: str | None = None,
        items: pl.DataFrame | None = None,
        item_id: str | None = None,
        title: str | None = None,
        categories: str | None = None,
    ) -> Interactions:
        """The log of a table in memory; arguments and errors as in `read`, `items` being a table, too."""
        given = _given(time=time, rating=rating, review=review, summary=summary, explanation=explanation)
        names = {"user": user, "item": item} | given
        _check_names(names)
        if frame.height == 0:
            raise DataError("the table has no rows")
        log = _assemble(RawTable(frame), names)
        if items is None:
            return log
        return _with_items(log, RawTable(items), item_columns(item, item_id, title, categories))

    @classmethod
    def from_arrays(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        *,
        times: ArrayLike | None = None,
        ratings: ArrayLike | None = None,
        titles: Mapping[str, str] | None = None,
    ) -> Interactions:
        """The log of parallel arrays or lists.

        Args:
            users: Raw user ids (text or whole numbers), `[n]`.
            items: Raw item ids, `[n]`.
            times: Unix times, `[n]`; without them the given order is the order in time.
            ratings: Finite numbers, `[n]`.
            titles: Titles by raw item id.

        Raises:
            ArgumentError: The arrays are not of one length and dimension.
            DataError: They are empty, or hold an empty id or a number that is not finite.
        """
        given = {"user": users, "item": items, "time": times, "rating": ratings}
        arrays = {name: np.asarray(values) for name, values in given.items() if values is not None}
        for name, array in arrays.items():
            if array.shape != (len(arrays["user"]),):
                expected = f"expected {len(arrays['user'])} values in one dimension"
                raise ArgumentError(f"{name}s", f"{expected}, got {array.shape}")
        frame = pl.DataFrame({name: _series(array) for name, array in arrays.items()})
        table = None if titles is None else pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
        named = {name: name for name in ("time", "rating") if name in arrays}
        return cls.from_frame(frame, items=table, item_id=None if table is None else "item_id", **named)

    def with_rows(self, rows: NDArray[np.bool_] | pl.Series | pl.DataFrame) -> Interactions:
        """A part of the log over the same users and items, by a mask over the rows of `frame` or a frame like it.

        Places in each history are counted anew; id maps and item table are the same.

        Raises:
            ArgumentError: The mask has another length, or the frame lacks columns or names rows that do not exist.
        """
        if isinstance(rows, pl.DataFrame):
            missing = {"user", "item", "order"} - set(rows.columns)
            if missing:
                raise ArgumentError("rows", f"the frame lacks {', '.join(sorted(missing))}")
            frame = rows.sort("user", "order", maintain_order=True)
        else:
            mask = np.asarray(rows)
            if mask.shape != (len(self),) or mask.dtype != np.bool_:
                raise ArgumentError("rows", f"expected bool [{len(self)}], got {mask.dtype} {list(mask.shape)}")
            frame = self.frame.filter(pl.Series(mask))
        for name, size in (("user", self.n_users), ("item", self.n_items)):
            if frame.height and not 0 <= int(frame[name].min()) <= int(frame[name].max()) < size:  # type: ignore[arg-type]
                raise ArgumentError("rows", f"{name} rows must lie in 0..{size - 1}")
        users = frame["user"].to_numpy()
        return replace(self, frame=frame.with_columns(order=_places(users, self.n_users)))

    def sequences(self) -> Sequences:
        """Histories of all user rows, oldest first."""
        return self._sequences

    @cached_property
    def _sequences(self) -> Sequences:
        lengths = np.bincount(self.frame["user"].to_numpy(), minlength=self.n_users)
        return Sequences(offsets_of(lengths), self.frame["item"].to_numpy().astype(np.int32, copy=False))

    def titles(self) -> list[str] | None:
        """A title for each item row, "" where unknown; None where the log has no titles at all."""
        if self.item_table is None or "title" not in self.item_table.columns:
            return None
        known = dict(self.item_table.select("item", "title").iter_rows())
        return [known.get(row, "") for row in range(self.n_items)]

    def checksum(self) -> str:
        """SHA-256 over ids, interactions and item table, as hex.

        Two logs agree exactly when they hold the same histories, whatever the order of the rows they were read from.
        """
        return content_checksum([self.users, self.items], [self.frame, self.item_table])

    def edges_checksum(self) -> str:
        """SHA-256 over ids, who met what and in which order, as hex: all that a vocabulary is learned from."""
        return content_checksum([self.users, self.items], [self.frame.select("user", "item", "order")])


def _given(**names: str | None) -> dict[str, str]:
    return {argument: column for argument, column in names.items() if column is not None}


def _with_items(log: Interactions, table: RawTable, names: ItemColumns) -> Interactions:
    return replace(log, item_table=read_item_table(table, names, log.items))


def _check_names(names: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for argument, column in names.items():
        if column in seen and {argument, seen[column]} & {"user", "item"}:
            raise ArgumentError(argument, f"column {column!r} is already used for {seen[column]}")
        seen.setdefault(column, argument)


def _assemble(raw: RawTable, names: dict[str, str]) -> Interactions:
    """Rows, order and id maps from raw columns; `names` maps argument to column."""
    users, user = _encode(columns.ids(raw, names["user"], "user"), "user")
    items, item = _encode(columns.ids(raw, names["item"], "item"), "item")
    data = {"user": user, "item": item}
    if "time" in names:
        data["timestamp"] = columns.times(raw, names["time"])
    if "rating" in names:
        data["rating"] = columns.ratings(raw, names["rating"])
    for name in TEXTS:
        if name in names:
            data[name] = columns.texts(raw, names[name], name)
    frame = pl.DataFrame(data).sort("user", *(["timestamp"] if "time" in names else []), maintain_order=True)
    frame = frame.with_columns(order=_places(frame["user"].to_numpy(), len(users)))
    return Interactions(frame.select("user", "item", "order", pl.exclude("user", "item", "order")), users, items)


def _encode(raw: pl.Series, kind: str) -> tuple[IdMap, pl.Series]:
    """Sorted ids and the row of each entry. Polars sorts by UTF-8 bytes, which is Python's order of strings."""
    known = raw.unique().sort()
    return IdMap(known.to_list(), kind), raw.cast(pl.Enum(known)).to_physical().cast(pl.Int32)


def _places(users: NDArray[np.int32], n_users: int) -> pl.Series:
    """Place of each row in its user's history, int32; rows are sorted by user."""
    begin = offsets_of(np.bincount(users, minlength=n_users))
    return pl.Series((np.arange(len(users)) - begin[users]).astype(np.int32))


def _series(array: NDArray[np.generic]) -> pl.Series:
    return pl.Series(array.tolist(), strict=False) if array.dtype.kind in "OUS" else pl.Series(array)
