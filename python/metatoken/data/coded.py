"""Several Parquet files as one table whose text ids are numbers from the start.

Some files at a time, numbers take the place of texts; a text that is met for the first time gets the next number, and
at the end all are put into the order of their texts. So what is in memory is 4 bytes for each id of a row, whatever
other columns take, the ids once, and the texts of some files. No step over all ids is done for each file: with ten
times the rows and ids, and ten times the files, that would take a hundred times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from metatoken.data.columns import RawTable
from metatoken.data.quick_csv import Wanted

TOGETHER = 1 << 22  # rows whose ids are looked up at once: an item that is in every file is looked up less often
Read = Callable[[Path, Wanted | None], RawTable]


def read_coded(
    path: Path, files: list[Path], read: Read, wanted: Wanted | None, ids: Mapping[str, str]
) -> RawTable | None:
    """The table of several files with the same columns, its text ids as enums of texts in their order.

    Args:
        path: What names them, for messages.
        files: Parquet files.
        read: Reads one, or some columns of it.
        wanted: Columns that are used; None for all.
        ids: Columns of ids by the argument that names them. An empty id is none: null.

    Returns:
        None where the files do not agree in their columns, or no id is text: such are read as ever.

    Raises:
        DataError: A file cannot be read.
    """
    coders: list[_Coder] = []
    done: list[pl.DataFrame] = []
    waiting: list[pl.DataFrame] = []
    ends: list[int] = [0]
    for file in files:
        table = read(file, wanted)
        if file == files[0]:
            schema, columns = table.frame.schema, dict.fromkeys(ids.values())
            coders = [_Coder(name) for name in columns if schema.get(name) == pl.String]
            if not coders or not all(name in schema for name in columns):
                return None
        if table.frame.schema != schema:
            return None
        waiting.append(table.frame)
        ends.append(ends[-1] + table.frame.height)
        if sum(frame.height for frame in waiting) >= TOGETHER or file == files[-1]:
            frame = pl.concat(waiting)
            done.append(frame.with_columns(coder.code(frame[coder.name]) for coder in coders))
            waiting = []
    frame = pl.concat(done)
    frame = frame.with_columns(coder.in_order(frame[coder.name]) for coder in coders)

    def place(row: int) -> tuple[object, int | None, int]:
        number = int(np.searchsorted(ends, row, side="right")) - 1
        return files[number], None, row - ends[number]

    return RawTable(frame, path, place, table.names, coded=frozenset(coder.name for coder in coders))


class _Coder:
    """Gives the ids of a column their places among all of them, in the order of texts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers: dict[str, int] = {}  # in the order in which they were met

    def code(self, column: pl.Series) -> pl.Series:
        """Numbers of the ids of some rows, uint32 `[n]`."""
        texts = column.str.strip_chars()
        here = texts.unique().drop_nulls()
        numbers = [self.numbers.setdefault(text, len(self.numbers)) for text in here.to_list()]
        return pl.Series(self.name, numbers, pl.UInt32).gather(texts.cast(pl.Enum(here)).to_physical())

    def in_order(self, numbers: pl.Series) -> pl.Series:
        """The texts of those numbers, as an enum of them in their order `[n]`."""
        texts = pl.Series(self.name, list(self.numbers), pl.String).replace("", None)
        return texts.cast(pl.Enum(texts.drop_nulls().unique().sort())).gather(numbers)
