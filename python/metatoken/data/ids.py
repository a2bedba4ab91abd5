"""Raw ids and their rows."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metatoken.config import shown
from metatoken.errors import ArgumentError, MetatokenWarning, UnknownIdError


class IdMap:
    """Immutable map between raw ids (`str`) and 0-based rows.

    Args:
        raw: The ids in the order of their rows, each once.
        kind: What the ids name, for messages: "user" or "item".

    Raises:
        ArgumentError: An id is not a string, is empty, or appears twice.
    """

    def __init__(self, raw: Iterable[str], kind: str = "id") -> None:
        self.raw: tuple[str, ...] = tuple(raw)
        self.kind = kind
        if not set(map(type, self.raw)) <= {str} or "" in self._rows:
            for row, name in enumerate(self.raw):
                if not isinstance(name, str) or not name:
                    raise ArgumentError("ids", f"expected text that is not empty, row {row} is {shown(name)}")
        if len(self._rows) < len(self.raw):
            twice = next(name for row, name in enumerate(self.raw) if self._rows[name] != row)
            raise ArgumentError("ids", f"the {kind} id {twice!r} appears twice; each id has one row")

    @cached_property
    def _rows(self) -> dict[str, int]:
        return dict(zip(self.raw, range(len(self.raw)), strict=True))

    def __len__(self) -> int:
        return len(self.raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __contains__(self, raw: object) -> bool:
        return isinstance(raw, str) and raw in self._rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"IdMap({len(self):,} {self.kind}s)"

    def row(self, raw: str) -> int:
        """Row of a raw id.

        Raises:
            UnknownIdError: The id is not in the map.
            TypeError: It is a list or the like.
        """
        try:
            row = self._rows.get(raw)
        except TypeError as error:
            raise TypeError(f"{self.kind}: expected one id, which is text, got {shown(raw)}") from error
        if row is None:
            hint = "" if isinstance(raw, str) else f"; ids are strings, try {str(raw)!r}"
            raise UnknownIdError(f"{self.kind} {raw!r} is not among the {len(self):,} known {self.kind}s{hint}")
        return row

    def like(self, raw: str) -> str | None:
        """The first known id that may be meant by an unknown one: but for zeros, blanks or capitals it is the same."""
        bare = _bare(raw)
        return next((known for known in self.raw if _bare(known) == bare), None)

    def rows(self, raw: Sequence[str]) -> NDArray[np.int32]:
        """Rows of many raw ids, int32 `[len(raw)]`.

        Raises:
            UnknownIdError: One of the ids is not in the map; the first is named.
        """
        found = self.find(raw)
        if found.size and found.min() < 0:
            self.row(raw[int(np.argmin(found))])
        return found

    def find(self, raw: Sequence[str] | pl.Series) -> NDArray[np.int32]:
        """Rows of many raw ids, int32 `[len(raw)]`; -1 for an id that is not in the map."""
        try:
            return np.fromiter((self._rows.get(name, -1) for name in raw), dtype=np.int32, count=len(raw))
        except TypeError as error:
            lists = (name for name in raw if not isinstance(name, Hashable))
            raise TypeError(f"{self.kind}: expected ids, which are text, got {shown(next(lists, raw))}") from error

    def column(self, rows: ArrayLike) -> pl.Series:
        """Raw ids of rows, `[len(rows)]`, as text."""
        return pl.Series(self.raw, dtype=pl.String).gather(np.asarray(rows))


def encode(raw: pl.Series, kind: str) -> tuple[IdMap, NDArray[np.int32]]:
    """The ids of a column of text or int64, sorted as text, and the row of each of its entries, int32 `[len(raw)]`.

    The column may also be an enum of ids that are sorted as text; those that no row has are left out.
    """
    if isinstance(raw.dtype, pl.Enum):
        known, rows = _present(raw, raw.dtype.categories)
    else:
        known, rows = _whole_numbers(raw) or (_numbers(raw) if raw.dtype.is_integer() else _texts(raw.cast(pl.String)))
    return IdMap(known.to_list(), kind), rows


def _present(raw: pl.Series, categories: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    known, rows = categories, raw.to_physical().cast(pl.Int32).to_numpy()
    found = np.bincount(rows, minlength=len(known)) > 0
    if found.all():
        return known, rows
    return known.filter(pl.Series(found)), (np.cumsum(found, dtype=np.int32) - 1)[rows]


def _numbers(raw: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Of whole numbers that lie far apart; texts are written once for each of them, not for each row."""
    numbers = raw.unique().sort()
    known = numbers.cast(pl.String)
    order = known.arg_sort().to_numpy()
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return known.gather(order), rank[np.searchsorted(numbers.to_numpy(), raw.to_numpy())]


def _texts(raw: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Polars sorts by UTF-8 bytes, which is Python's order of strings."""
    known = raw.unique().sort()
    return known, raw.cast(pl.Enum(known)).to_physical().cast(pl.Int32).to_numpy()


def _whole_numbers(raw: pl.Series) -> tuple[pl.Series, NDArray[np.int32]] | None:
    """The same by a table in place of hashes; None where some are not plain whole numbers, or they lie far apart."""
    if raw.head(1).cast(pl.Int64, strict=False).has_nulls() or (number := raw.cast(pl.Int64, strict=False)).has_nulls():
        return None
    at = number.to_numpy()
    low = int(at.min(initial=2**63 - 1))
    span = int(at.max(initial=low)) - low + 1
    if span > 4 * len(raw) + 1000:
        return None
    at = at - low
    rows = np.zeros(span, dtype=np.int32)
    rows[at] = 1
    present = np.flatnonzero(rows)
    known = (pl.Series(present) + low).cast(pl.String)
    order = known.arg_sort().to_numpy()
    rows[present[order]] = np.arange(len(order), dtype=np.int32)
    known, found = known.gather(order), rows[at]
    # A text that is no plain number, such as 007 or +1, is longer than its number.
    lossless = raw.dtype.is_integer() or (known.str.len_bytes().gather(found) == raw.str.len_bytes()).all()
    return (known, found) if lossless else None


def warn_of_missing(known: IdMap, given: Sequence[str] | pl.Series, rows: NDArray[np.int32], source: object) -> None:
    """Warns where a table beside a log lacks some of the log's users or items: ids are often lost on the way.

    Args:
        known: Ids of the log.
        given: Ids of the table.
        rows: What `known.find` made of them.
        source: The table, for the message; None for one in memory.
    """
    missing = np.setdiff1d(np.arange(len(known)), rows)
    if len(missing) == 0:
        return
    place = "the table about them" if source is None else source
    said = f"{len(missing):,} of {len(known):,} {known.kind}s are not in {place}, e.g. {known.raw[missing[0]]!r}"
    bare = {_bare(given[int(at)]): given[int(at)] for at in np.flatnonzero(rows < 0)}
    alike = next((row for row in missing.tolist() if _bare(known.raw[row]) in bare), None)
    if alike is not None:
        raw = known.raw[alike]
        said += f"; it has {bare[_bare(raw)]!r}, which may be {raw!r}: were zeros, blanks or capitals lost?"
    warnings.warn(MetatokenWarning(said), stacklevel=2)


def lookalikes(known: IdMap, new: IdMap) -> list[tuple[str, str]]:
    """Ids of `new` that may be known ones which have lost something, each with the known one, which `new` lacks."""
    fresh = [raw for raw in new.raw if raw not in known]
    bare = {_bare(raw): raw for raw in fresh}
    twins = {bare[name]: raw for raw in known.raw if raw not in new and (name := _bare(raw)) in bare}
    return [(raw, twins[raw]) for raw in fresh if raw in twins]


def _bare(raw: str) -> str:
    """An id without what tables lose."""
    return raw.removesuffix(".0").lstrip("0").casefold().replace(" ", "")
