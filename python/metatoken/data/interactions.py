"""Who met what, in which order: the log that everything else is learned from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metatoken.config import expect
from metatoken.data.assembly import Assembled, assemble, id_columns, places, wanted_columns
from metatoken.data.checksum import content_checksum
from metatoken.data.columns import RawTable
from metatoken.data.frames import as_frame, as_text
from metatoken.data.ids import IdMap
from metatoken.data.items import item_columns, read_item_table
from metatoken.data.parts import PART, TEST, TRAIN, VALIDATION
from metatoken.data.quick_csv import Wanted
from metatoken.data.ragged import Sequences, offsets_of
from metatoken.data.readers import joined, read_raw, read_table
from metatoken.data.settings import Format, LogSettings
from metatoken.errors import ArgumentError, DataError


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log of users and items.

    Rows of users and items are 0-based and sorted by raw id, so they do not depend on the order of the input; what is
    appended later stands behind (`append`).

    Attributes:
        frame: `user`, `item` (int32 rows), `order` (int32, 0-based place in the user's history, oldest first), then
            those of `timestamp` (int64 or float64), `rating` (float32, null where a row has none), `review`, `summary`,
            `explanation`, `feature` (str), `part` (str: train, validation or test), `learned` (bool: never to be held
            out) that the log has. Sorted by (user, order).
        users: Raw ids of the user rows.
        items: Raw ids of the item rows.
        item_table: `item` (int32 row), `title` (str), `categories` (list[str]) and further columns of the source
            (`data.items.attribute`), each where it had them, or None. One row per known item, sorted by item.
        notes: What was left out when it was read, a sentence for each reason.
        rows_read: Rows of what it was read from, before any was left out.
    """

    frame: pl.DataFrame
    users: IdMap
    items: IdMap
    item_table: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()
    rows_read: int = 0

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
        path: str | Path | None = None,
        format: Format = "table",  # noqa: A002 (the word users know)
        **settings: Any,
    ) -> Interactions:
        """Read a log from a file, several files, or a database.

        Ties in time keep the order of the file; without times, its order is the order in time.

        Args:
            path: A file, a folder or a pattern; None with `uri=`.
            format: "table" (CSV, TSV, Parquet or JSON lines by the name of the file), "sequences" (`user item item ...`
                per line, oldest first), "pairs" (`user item` per line, oldest first per user), or "sessions" (the items
                of one anonymous session per line; the user id is `session-<line number>`).
            settings: The other fields of `data.settings.LogSettings`, such as `user="userId", time="timestamp"`.

        Raises:
            ArgumentError: A setting is unknown or has a wrong value, or some do not go together.
            DataError: The log cannot be read; names file, line and value where they are known.
        """
        return read_log(LogSettings.read({"path": path, "format": format, **settings}))

    @classmethod
    def from_frame(cls, frame: Any, *, items: Any = None, **settings: Any) -> Interactions:
        """The log of a table in memory.

        Args:
            frame: A frame of polars (lazy, too) or pandas, a table of Arrow, or a mapping from names to columns.
            items: A table about items, of the same kinds.
            settings: Names of columns and other settings, as in `read`.

        Raises:
            ArgumentError: See `read`; or what is given is no table.
            DataError: A value cannot be read; names row and value.
        """
        here = "a table in memory"
        about = LogSettings.read({"path": here, "items": None if items is None else here, **settings})
        if about.split == "files":
            raise ArgumentError("split", "files names files; of a table in memory, a column may say it (split part)")
        raw = RawTable(as_frame(frame, "frame", list(wanted_columns(about))), decimal=about.decimal)
        if raw.frame.height == 0:
            raise DataError("the table has no rows")
        log = cls.of(assemble(raw, about))
        return (
            log if items is None else log.with_items(RawTable(as_frame(items, "items"), decimal=about.decimal), about)
        )

    @classmethod
    def of(cls, parts: Assembled) -> Interactions:
        """The log of assembled parts."""
        return cls(parts.frame, parts.users, parts.items, notes=parts.notes, rows_read=parts.rows_read)

    def with_items(self, table: RawTable, about: LogSettings, *, whole: bool = True) -> Interactions:
        """The same log with a table about its items, whose columns settings name; see `read_item_table` for `whole`."""
        names = item_columns(about.item, about.item_id, about.title, about.categories)
        return replace(self, item_table=read_item_table(table, names, self.items, whole=whole))

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
        arrays = {name: _array(f"{name}s", values) for name, values in given.items() if values is not None}
        if missing := {"user", "item"} - arrays.keys():
            raise ArgumentError(f"{min(missing)}s", "expected ids, got None")
        for name, array in arrays.items():
            if array.shape != (len(arrays["user"]),):
                expected = f"expected {len(arrays['user'])} values in one dimension"
                raise ArgumentError(f"{name}s", f"{expected}, got {array.shape}")
        try:
            frame = pl.DataFrame({name: _series(array) for name, array in arrays.items()})
        except UnicodeError as error:  # half of a pair of surrogates
            raise ArgumentError("users, items", f"hold text that is none: {error}") from error
        if titles is not None:
            expect("titles", titles, Mapping)
        table = None if titles is None else pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
        named = {name: name for name in ("time", "rating") if name in arrays}
        return cls.from_frame(frame, items=table, item_id=None if table is None else "item_id", **named)

    def append(self, new: Interactions) -> Interactions:
        """The log with a later one behind it; users and items of this one keep their rows, see `data.growth.append`."""
        from metatoken.data.growth import append

        expect("new", new, Interactions)
        return append(self, new)

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
        return replace(self, frame=frame.with_columns(order=places(users, self.n_users)))

    def having(self, names: Collection[str]) -> Interactions:
        """The rows with a value in every one of some columns: a rating, or a text that is not blank."""
        mask = pl.Series([True]).new_from_index(0, len(self))
        for name in names:
            column = self.frame[name]
            mask &= (column.is_not_null() if name == "rating" else column.str.strip_chars() != "").fill_null(
                value=False
            )
        return self if mask.all() else self.with_rows(mask)

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
        known = dict(self.item_table.select("item", pl.col("title").fill_null("")).iter_rows())
        return [known.get(row, "") for row in range(self.n_items)]

    def checksum(self) -> str:
        """SHA-256 over ids, interactions and item table, as hex.

        Two logs agree exactly when they hold the same histories, whatever the order of the rows they were read from.
        """
        return content_checksum([self.users, self.items], [self.frame, self.item_table])

    def edges_checksum(self) -> str:
        """SHA-256 over ids, who met what and in which order, as hex: all that a vocabulary is learned from."""
        return content_checksum([self.users, self.items], [self.frame.select("user", "item", "order")])


def read_log(about: LogSettings, *, unrated: bool = False) -> Interactions:
    """The log that settings name, with its item table and its texts; errors as in `Interactions.read`.

    With `unrated`, no row needs to have a rating.
    """
    from metatoken.data.text_table import read_texts

    wanted = wanted_columns(about)
    if about.uri is not None:
        from metatoken.data.database import read_query

        raw = replace(read_query(about.uri, str(about.query)), decimal=about.decimal)
    else:
        raw = _read_files(about, wanted)
    log = Interactions.of(assemble(raw, about, unrated=unrated))
    if about.items is not None:
        log = log.with_items(read_table(about.items, None, about.items_dialect), about)
    if about.texts is None:
        return log
    return read_texts(log, **vars(about.texts), dialect=about.beside(about.texts.path))


def _read_files(about: LogSettings, wanted: Wanted) -> RawTable:
    """The table of a log, or of several files that are parts of one."""
    given = {TRAIN: about.path, VALIDATION: about.validation_path, TEST: about.test_path}
    read = partial(read_raw, form=about.format, wanted=wanted, dialect=about, ids=id_columns(about))
    tables = {part: read(path) for part, path in given.items() if path is not None}
    if about.split == "files":
        tables = {part: replace(one, frame=one.frame.with_columns(pl.lit(part).alias(PART)), names=[*one.names, PART])
                  for part, one in tables.items()}  # fmt: skip
    return joined(cast("Path", about.path), list(tables.values()))


def _array(argument: str, values: ArrayLike) -> NDArray[np.generic]:
    """Values as NumPy has them, texts as they are; `ArgumentError` for those that it would change without a word."""
    if np.ma.is_masked(values):
        raise ArgumentError(argument, "expected plain values, got some that are masked; leave those rows out")
    array = np.asarray(values)
    if array.ndim != 1:
        raise ArgumentError(argument, f"expected values in one dimension, got {array.shape}")
    if array.dtype.kind == "U" and isinstance(values, list | tuple):
        # Text of NumPy loses zeros at its end, and has a word for what is missing.
        return np.asarray([as_text(value) for value in values], dtype=object)
    return array


def _series(array: NDArray[np.generic]) -> pl.Series:
    if array.dtype.kind == "M" and array.dtype.name[11:-1] not in ("D", "ms", "us", "ns"):
        array = array.astype("datetime64[us]")  # polars knows no seconds
    return pl.Series(array.tolist(), strict=False) if array.dtype.kind in "OUS" else pl.Series(array)
