"""Vectors in files that are read shard by shard: .npy or Parquet, one file or a folder of them.

A shard is a run of rows of one file. Where it begins depends on the files and on the size that is asked for alone, so
that whoever reads it reads the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from metatoken.data.files import find_files
from metatoken.errors import ArgumentError, DataError
from metatoken.tokens.files import read_ids
from metatoken.tokens.vectors.matrix import map_npy, open_parquet, read_matrix, vector_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".npy", ".parquet")
VALUES = 1 << 24
"""Values of a shard, unless its rows are given: 64 MiB as float32."""
BATCH = 1 << 16  # rows of a Parquet file that are decoded at a time


@dataclass(frozen=True)
class Shard:
    """Rows `begin` to `end` of a file, which are rows `first` and following of all."""

    file: Path
    begin: int
    end: int
    first: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class VectorSource:
    """Vectors with what stands beside them.

    Attributes:
        path: A .npy or .parquet file, a folder of such files, or a pattern.
        vectors: The column of vectors in Parquet; by default the only one of lists.
        ids: A text file of ids, one a line, for rows of .npy; without it they are numbered from 0.
    """

    path: Path
    vectors: str | None = None
    ids: Path | None = None

    @cached_property
    def files(self) -> list[Path]:
        """The files, in the order of their names; `DataError` if there are none, or of two kinds."""
        found = find_files(self.path, SUFFIXES)
        kinds = {file.suffix for file in found}
        if len(kinds) != 1 or not kinds <= set(SUFFIXES):
            raise DataError(f"expected .npy or .parquet files of vectors, got {', '.join(sorted(kinds))}", self.path)
        if kinds == {".npy"} and self.vectors is not None:
            raise ArgumentError("vectors", f"names a column of Parquet; {found[0]} has none")
        if kinds == {".parquet"} and self.ids is not None:
            raise ArgumentError("ids", "is for .npy; the other columns of Parquet stay beside the codes")
        return found

    def shards(self, rows: int | None = None) -> list[Shard]:
        """All rows, cut.

        Args:
            rows: Most rows of a shard; by default so many as hold `VALUES` values.

        Raises:
            DataError: There is no row, the files do not fit each other, or the ids do not fit them.
        """
        sizes, dims, schemas = [], set(), set()
        for file in self.files:
            count, dim, schema = self._about(file)
            sizes.append(count)
            dims |= {dim} if count else set()
            schemas |= {schema} if count else set()
        if not sum(sizes):
            raise DataError("holds no rows", self.path)
        if len(dims) > 1 or len(schemas) > 1:
            said = f"of {sorted(dims)} values" if len(dims) > 1 else "with other columns than each other"
            raise DataError(f"expected files of one form, got some {said}", self.path)
        if self.ids is not None and len(self._ids) != sum(sizes):
            raise DataError(f"has {len(self._ids):,} ids, but there are {sum(sizes):,} rows", self.ids)
        size, found, first = rows or max(1, VALUES // dims.pop()), [], 0
        for file, count in zip(self.files, sizes, strict=True):
            for begin in range(0, count, size):
                end = min(begin + size, count)
                found.append(Shard(file, begin, end, first + begin))
            first += count
        return found

    @cached_property
    def dim(self) -> int:
        """Values of a row."""
        return max(self._about(file)[1] for file in self.files)

    def rows(self, shard: Shard) -> NDArray[np.float32]:
        """Vectors of a shard, float32 `[n, d]`; `DataError`, with the row of the file, for one that is no numbers."""
        try:
            if shard.file.suffix == ".npy":
                part: Any = map_npy(shard.file)[shard.begin : shard.end]
            else:
                part = self._table(shard, self._columns(shard.file))
            found = read_matrix(part, self.vectors).whole()
        except ArgumentError as error:
            said = str(error).removeprefix(f"{error.argument}: ")
            raise DataError(f"rows from {shard.begin:,} on: {said}", shard.file) from error
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            row = shard.begin + int(finite.argmin())
            raise DataError(f"row {row:,} holds NaN or infinity; drop or repair such rows first", shard.file)
        return found

    def beside(self, shard: Shard) -> pa.Table:
        """The other columns of Parquet; of .npy a column `id`: of --ids, or the number of the row."""
        if shard.file.suffix == ".npy":
            rows = slice(shard.first, shard.first + len(shard))
            named = self.ids is not None
            return pa.table({"id": pa.array(self._ids[rows]) if named else np.arange(rows.start, rows.stop)})
        names, without = open_parquet(shard.file).schema_arrow.names, self._columns(shard.file)
        return self._table(shard, [name for name in names if name not in without])

    @cached_property
    def _ids(self) -> list[str]:
        return read_ids(Path(self.ids)) if self.ids is not None else []

    def _columns(self, path: Path) -> list[str]:
        """The columns of a Parquet file that hold vectors."""
        return vector_columns(open_parquet(path).schema_arrow.empty_table(), self.vectors)

    def _about(self, path: Path) -> tuple[int, int, str]:
        """Rows, values of a row, and what else a file is made of."""
        if path.suffix == ".npy":
            shape = map_npy(path).shape
            if len(shape) != 2 or shape[1] == 0:
                raise DataError(f"expected a two-dimensional array of floats [rows, values], got shape {shape}", path)
            return shape[0], shape[1], ""
        file = open_parquet(path)
        try:
            names = self._columns(path)
        except ArgumentError as error:
            said = str(error).removeprefix(f"{error.argument}: ")
            raise DataError(f"{said} (--vectors)", path) from error
        if "codes" in set(file.schema_arrow.names) - set(names):
            raise DataError("has a column 'codes' already; rename it", path)
        first = next(file.iter_batches(batch_size=1, columns=names), None)
        others = [str(one) for one in file.schema_arrow.remove_metadata() if one.name not in names]
        if first is None or not len(first):
            return 0, 0, ""
        return file.metadata.num_rows, read_matrix(first, self.vectors).shape[1], str(others)

    def _table(self, shard: Shard, columns: list[str]) -> pa.Table:
        """Some columns of the rows of a shard; only row groups that hold some of them are decoded."""
        file = open_parquet(shard.file)
        if not columns:
            return pa.table({}).select([])
        bounds = np.cumsum([0, *(file.metadata.row_group(one).num_rows for one in range(file.num_row_groups))])
        groups = np.flatnonzero((bounds[:-1] < shard.end) & (bounds[1:] > shard.begin)).tolist()
        parts, at = [], int(bounds[groups[0]])
        for batch in file.iter_batches(batch_size=BATCH, row_groups=groups, columns=columns):
            low, high = max(shard.begin - at, 0), min(shard.end - at, len(batch))
            if low < high:
                parts.append(batch.slice(low, high - low))
            at += len(batch)
            if at >= shard.end:
                break
        return pa.Table.from_batches(parts)
