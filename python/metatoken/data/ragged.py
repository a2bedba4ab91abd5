"""Rows of different lengths in one flat array: histories of users, token ids of items, words of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Ragged:
    """Compressed rows.

    Attributes:
        offsets: int64 `[n + 1]`; row r owns `values[offsets[r]:offsets[r + 1]]`.
        values: `[offsets[n]]`, of any type.
    """

    offsets: NDArray[np.int64]
    values: NDArray[Any]

    @classmethod
    def of(cls, rows: Iterable[ArrayLike], dtype: type[np.generic] = np.int64) -> Self:
        """Packs rows one after the other."""
        parts = [np.asarray(row, dtype=dtype) for row in rows]
        return cls(offsets_of(np.array([len(part) for part in parts], dtype=np.int64)), join(parts, dtype))

    @classmethod
    def padded(cls, table: NDArray[Any], base: int = 0) -> Self:
        """Rows of a table `[n, width]` without their -1 padding, as int64 with `base` added."""
        valid = table >= 0
        return cls(offsets_of(valid.sum(axis=1).astype(np.int64)), table[valid].astype(np.int64) + base)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Values of one row, `[length]`, a view."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is not in 0..{len(self) - 1}")
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Values of each row, int64 `[n]`."""
        return np.diff(self.offsets)

    @cached_property
    def _table(self) -> NDArray[Any] | None:
        """`[n, width]` where all rows have one length of at least 1: selecting from it takes a fifth of the time."""
        widths = np.unique(self.lengths)
        return self.values.reshape(len(self), -1) if len(widths) == 1 and widths[0] > 0 else None

    @property
    def owners(self) -> NDArray[np.int64]:
        """Row of each value, int64 `[len(values)]`."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def take(self, rows: ArrayLike) -> Self:
        """These rows, integers `[m]`, in this order, repeats allowed.

        Raises:
            ArgumentError: They are no rows.
        """
        return self.gather(check_rows(rows, len(self)))

    def gather(self, rows: NDArray[np.int64]) -> Self:
        """`take` of rows that are known to be some, since the check takes longer than a few rows."""
        if self._table is not None:
            width = self._table.shape[1]
            return type(self)(np.arange(0, len(rows) * width + 1, width), self._table[rows].ravel())
        lengths = self.lengths[rows]
        offsets = offsets_of(lengths)
        # Value n of the result lies n - offsets[its row] behind the start of that row.
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return type(self)(offsets, self.values[places])


@dataclass(frozen=True, eq=False)
class Sequences(Ragged):
    """Items of each user, oldest first: rows are user rows, values item rows (int32)."""

    @property
    def items(self) -> NDArray[np.int32]:
        """int32 `[n]`, item rows."""
        return self.values

    @property
    def n_targets(self) -> int:
        """How many items follow another one of their user: what there is to learn from."""
        return int((self.lengths - 1).clip(min=0).sum())

    @classmethod
    def of(cls, rows: Iterable[ArrayLike], dtype: type[np.generic] = np.int32) -> Self:
        """Packs item rows of users."""
        return super().of(rows, dtype)


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where rows of these lengths begin, and where the last one ends: int64 `[n + 1]`."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def join(parts: list[NDArray[Any]], dtype: type[np.generic] = np.int64) -> NDArray[Any]:
    """Arrays one after the other; an empty array of the type where there are none."""
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype=dtype)


def check_rows(rows: ArrayLike, n: int, name: str = "users") -> NDArray[np.int64]:
    """Row numbers as int64 `[m]`; an error calls them by the name.

    Raises:
        ArgumentError: They are not integers of shape `[m]` from 0 to n - 1.
    """
    found = np.asarray(rows)
    if found.ndim != 1 or not (np.issubdtype(found.dtype, np.integer) or found.size == 0):
        raise ArgumentError(name, f"expected rows, integers of shape [m], got {found.dtype} {list(found.shape)}")
    found = found.astype(np.int64)
    if len(found) and (found.min() < 0 or found.max() >= n):
        raise ArgumentError(name, f"expected rows from 0 to {n - 1}, got {found.min()} to {found.max()}")
    return found
