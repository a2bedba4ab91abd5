"""Several Parquet files as one table whose text ids are numbers from the start.

The first pass collects the ids, the second reads file by file and puts their numbers in the place of texts. So what is
in memory is 4 bytes for each id of a row, whatever other columns take, the ids once, and one file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path

import numpy as np
import polars as pl

from metatoken.data.columns import SAVED_AS_FLOAT, RawTable, filled_ids, saved_as_floats
from metatoken.data.quick_csv import Wanted

LEAST = 1 << 20  # ids of files that are put together before doubles are looked for
Read = Callable[[Path, Wanted | None], RawTable]


def read_in_passes(
    path: Path, files: list[Path], read: Read, wanted: Wanted | None, ids: Mapping[str, str]
) -> RawTable | None:
    """The table of several files with the same columns, its text ids as enums of plain ids in their order.

    Args:
        path: What names them, for messages.
        files: Parquet files.
        read: Reads one, or some columns of it.
        wanted: Columns that are used; None for all.
        ids: Columns of ids by the argument that names them.

    Returns:
        None where the files do not agree in their columns, or no id is text: such are read as ever.

    Raises:
        DataError: An id is empty, or a file cannot be read.
    """
    known: dict[str, list[pl.Series]] = {name: [] for name in ids.values()}
    schema: pl.Schema | None = None
    for file in files:
        frame = read(file, list(known)).frame
        schema = frame.schema if schema is None else schema
        if frame.schema != schema or set(schema) != set(known) or pl.String not in schema.values():
            return None
        for name, parts in known.items():
            if schema[name] == pl.String:
                _collect(parts, frame[name])
    coders = [_Coder(argument, name, known.pop(name)) for argument, name in ids.items() if known[name]]
    frames: list[pl.DataFrame] = []
    names: list[str] = []
    for file in files:
        table = read(file, wanted)
        frames.append(table.frame.with_columns(coder.code(table).alias(coder.name) for coder in coders))
        names = table.names
    if any(frame.schema != frames[0].schema for frame in frames):
        return None
    ends = list(accumulate(frame.height for frame in frames))

    def place(row: int) -> tuple[object, int | None]:
        return files[int(np.searchsorted(ends, row, side="right"))], None

    return RawTable(pl.concat(frames), path, place, names, coded=frozenset(coder.name for coder in coders))


def _collect(parts: list[pl.Series], column: pl.Series) -> None:
    """Adds the texts of a column to those that are known; now and then, doubles are left out."""
    parts.append(column.unique())
    if sum(map(len, parts)) > max(LEAST, 2 * len(parts[0])):
        parts[:] = [pl.concat(parts).unique()]


class _Coder:
    """Gives the ids of a column their places among all of them, in the order of texts."""

    def __init__(self, argument: str, name: str, parts: list[pl.Series]) -> None:
        self.argument, self.name = argument, name
        texts = pl.concat(parts).drop_nulls().str.strip_chars()
        texts = texts.filter(texts != "").unique()
        self.float = saved_as_floats(texts)
        self.kind = pl.Enum((texts.str.strip_suffix(SAVED_AS_FLOAT).unique() if self.float else texts).sort())

    def code(self, table: RawTable) -> pl.Series:
        """The column of a table."""
        texts = filled_ids(table, self.name, self.argument)
        return (texts.str.strip_suffix(SAVED_AS_FLOAT) if self.float else texts).cast(self.kind)
