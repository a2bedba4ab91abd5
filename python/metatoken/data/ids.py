"""Raw ids and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metatoken.errors import ArgumentError, UnknownIdError


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
        for row, name in enumerate(self.raw):
            if not isinstance(name, str) or not name:
                raise ArgumentError("raw", f"ids are non-empty strings, row {row} is {name!r}")
        if len(self._rows) < len(self.raw):
            twice = next(name for row, name in enumerate(self.raw) if self._rows[name] != row)
            raise ArgumentError("raw", f"the {kind} id {twice!r} appears twice; each id has one row")

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.raw)}

    def __len__(self) -> int:
        return len(self.raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __contains__(self, raw: object) -> bool:
        return raw in self._rows

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
        """
        row = self._rows.get(raw)
        if row is None:
            hint = "" if isinstance(raw, str) else f"; ids are strings, try {str(raw)!r}"
            raise UnknownIdError(f"{self.kind} {raw!r} is not among the {len(self):,} known {self.kind}s{hint}")
        return row

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
        return np.fromiter((self._rows.get(name, -1) for name in raw), dtype=np.int32, count=len(raw))

    def column(self, rows: ArrayLike) -> pl.Series:
        """Raw ids of rows, `[len(rows)]`, as text."""
        return pl.Series(self.raw, dtype=pl.String).gather(np.asarray(rows))
