"""What users or items have in common: brands, categories, tags, countries, as links from rows to named values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.data import columns
from metatoken.data.columns import RawTable
from metatoken.data.files import suffix_of
from metatoken.data.ids import IdMap, warn_of_missing
from metatoken.data.readers import JSON_LINES, TABLES, read_lines, read_table
from metatoken.errors import ArgumentError, DataError

LinkKind = Literal["user", "item"]


@dataclass(frozen=True, eq=False)
class Links:
    """Links from users or items to the values of one attribute, each once, sorted by row and value.

    Attributes:
        kind: What the rows are, `"user"` or `"item"`.
        rows: User or item row of each link, int32 `[m]`.
        values: Value row of each link, int32 `[m]`: place in `names`.
        names: The values in sorted order.
    """

    kind: LinkKind
    rows: NDArray[np.int32]
    values: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def read(
        cls,
        path: str | Path,
        ids: IdMap,
        *,
        kind: LinkKind = "item",
        id_column: str | None = None,
        column: str | None = None,
    ) -> Self:
        """Read links of the users or items of a log from a file; other ids in it are left out.

        Args:
            path: A table (by the ending of its name; also .gz), where an id may have many lines and a line many values
                (a list, or text split on "|"); or any other text file of lines `id value value ...`.
            ids: The users or items.
            kind: Which of the two they are.
            id_column: Column of ids of a table; by default its first.
            column: Column of values of a table; by default its second.

        Raises:
            ArgumentError: Columns are given for a file that has none.
            DataError: The file cannot be read, or has none of the ids.
        """
        suffix = suffix_of(Path(path))
        if suffix not in TABLES:
            if id_column is not None or column is not None:
                raise ArgumentError("column", f"{path} is read as lines of 'id value value ...', which have no columns")
            raw = read_lines(path, "sequences")
            return cls._of(raw, raw.frame["user"], raw.frame["item"], ids, kind)
        if suffix in JSON_LINES and (id_column is None or column is None):
            raise DataError("name the column of ids and that of values: objects have no first and second", Path(path))
        raw = read_table(path, None if id_column is None or column is None else [id_column, column])
        if column is None and len(raw.frame.columns) < 2:
            raise raw.error(f"expected a column of ids and one of values, got {', '.join(raw.frame.columns)}")
        return cls.of_table(raw, ids, kind, id_column or raw.frame.columns[0], column or raw.frame.columns[1])

    @classmethod
    def of_table(cls, raw: RawTable, ids: IdMap, kind: LinkKind, id_column: str, column: str) -> Self:
        """The links of two columns of a table; errors as in `read`."""
        keys = columns.ids(raw, id_column, f"{kind} id")
        if raw.value_of is not None:  # JSON lines, whose lists are text
            raw.column(column, "values")
            raw = replace(raw, frame=raw.frame.with_columns(_lists_of_json(column)))
        return cls._of(raw, keys, columns.categories(raw, column), ids, kind)

    @classmethod
    def from_lists(cls, kind: LinkKind, lists: Sequence[Sequence[str] | None]) -> Self:
        """The links of lists of values, one per row (`None` or empty: none)."""
        series = pl.Series("value", [None if entry is None else list(entry) for entry in lists], pl.List(pl.String))
        return cls.from_series(kind, pl.Series("row", np.arange(len(lists), dtype=np.int32)), series)

    @classmethod
    def from_series(cls, kind: LinkKind, rows: pl.Series, values: pl.Series) -> Self:
        """The links of parallel columns: int32 rows, and str, number or list[str] values, whose nulls are left out."""
        if values.dtype.is_numeric():
            values = values.cast(pl.String)
        frame = pl.DataFrame({"row": rows, "value": values})
        if isinstance(values.dtype, pl.List):
            frame = frame.explode("value")
        frame = frame.drop_nulls().filter(pl.col("value") != "").unique().sort("row", "value")
        names = frame["value"].unique().sort()
        places = frame["value"].cast(pl.Enum(names)).to_physical().cast(pl.Int32)
        return cls(kind, frame["row"].cast(pl.Int32).to_numpy(), places.to_numpy(), tuple(names.to_list()))

    @classmethod
    def _of(cls, raw: RawTable, keys: pl.Series, values: pl.Series, ids: IdMap, kind: LinkKind) -> Self:
        rows = ids.find(keys)
        frame = pl.DataFrame({"row": rows, "value": values}).filter(pl.col("row") >= 0)
        if frame.height == 0:
            known_ids = f"{kind}s of the log (first: {keys[0]!r}, log: {ids.raw[0]!r})"
            raise raw.error(f"none of its {len(keys):,} ids is among the {known_ids}; name the column of ids")
        warn_of_missing(ids, keys, rows, raw.path)
        return cls.from_series(kind, frame["row"], frame["value"])

    def sizes(self) -> dict[str, Any]:
        """Numbers of links and values, and the kind, as JSON values."""
        return {"kind": self.kind, "links": len(self), "values": len(self.names)}

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Links({len(self):,} links of {self.kind}s to {len(self.names):,} values)"


def _lists_of_json(column: str) -> pl.Expr:
    """JSON text of lists as lists, and other text split on "|"."""
    text = pl.col(column)
    is_list = text.str.starts_with("[").fill_null(value=False)
    lists = pl.when(is_list).then(text).str.json_decode(pl.List(pl.String))
    return pl.coalesce(lists, pl.when(~is_list).then(text).str.split("|")).alias(column)
