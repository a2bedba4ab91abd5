"""Columns of the item table that go with each recommendation into a result."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError, hint

if TYPE_CHECKING:
    from metatoken.data import Catalogue

OWN = ("user", "rank", "item", "title", "score")  # columns that every result has


@dataclass(frozen=True)
class Columns:
    """Some columns of the item table.

    Attributes:
        items: Raw ids of its rows.
        frame: The columns, in the order in which they were asked for; none where nothing was.
    """

    items: IdMap
    frame: pl.DataFrame

    @classmethod
    def of(cls, catalogue: Catalogue, names: Collection[str] = ()) -> Self:
        """Columns by name.

        Raises:
            ArgumentError: The item table has no such column, or results have one of that name already.
        """
        known = [name for name in catalogue.columns if name not in OWN]
        for name in names:
            if name in OWN:
                raise ArgumentError("columns", f"every result has {name!r} already; name other columns of the items")
            if name not in known:
                have = f"the columns are {', '.join(known)}" if known else "the item table of the run has none"
                raise ArgumentError("columns", f"no column {name!r}; {hint(name, known, have)}")
        return cls(catalogue.items, catalogue.frame.select(list(dict.fromkeys(names))))

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return self.frame.columns

    def row(self, item: str) -> tuple[Any, ...]:
        """Values of a raw id; a list where the column holds lists, None where a value is missing."""
        return self.frame.row(self.items.row(item)) if self.frame.width else ()

    def texts(self, item: str) -> tuple[Any, ...]:
        """The same for a place that cannot hold lists: they are written as JSON."""
        return tuple(json.dumps(one, ensure_ascii=False) if isinstance(one, list) else one for one in self.row(item))


NOTHING = Columns(IdMap((), "item"), pl.DataFrame())
