"""Rows of numbers in whatever form the caller has them, read without a copy where that is possible.

NumPy arrays, torch tensors on the CPU (anything with `__array__`), Arrow arrays, tables and record batches, polars
series and frames (anything with the Arrow C interface), and paths to `.npy` and `.parquet` files. Float32 rows that lie
one behind the other are used where they are, also in a mapped file; anything else becomes float32 block by block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metatoken.bounds import check_memory
from metatoken.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Part = NDArray[Any]

SMALLEST, LARGEST = 1e-15, 1e15  # of the largest value of some rows
BLOCK = 1 << 22
"""Values that are converted at a time: 16 MiB as float32."""


@dataclass(frozen=True)
class Matrix:
    """Rows that can be read several times, part after part.

    Attributes:
        shape: Rows and values in a row.
        parts: Gives the rows as two-dimensional arrays of real numbers, in order.
    """

    shape: tuple[int, int]
    parts: Callable[[], Iterator[Part]]

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The rows as contiguous float32: a part that is that already in one piece, another in blocks."""
        rows = max(1, BLOCK // self.shape[1])
        for part in self.parts():
            step = max(1, len(part)) if _is_plain(part) else rows
            for begin in range(0, len(part), step):
                yield _plain(part[begin : begin + step])

    def whole(self) -> NDArray[np.float32]:
        """All rows at once; a copy unless they are one plain part."""
        parts = self.parts()
        first = next(parts, None)
        if first is not None and len(first) == len(self) and _is_plain(first):
            return _plain(first)
        check_memory("x", 4 * self.shape[0] * self.shape[1])
        out = np.empty(self.shape, np.float32)
        begin = 0
        for block in self.blocks():
            out[begin : begin + len(block)] = block
            begin += len(block)
        return out


def read_matrix(x: Any, column: str | None = None) -> Matrix:
    """Takes rows in any of the forms above.

    Args:
        x: The rows.
        column: Column of vectors of a table; by default the only column of lists, or all columns as numbers.

    Raises:
        ArgumentError: `x` is not two-dimensional, not of real numbers, or has missing values.
        DataError: A file cannot be read as what its name says.
    """
    if isinstance(x, Matrix):
        return x
    if isinstance(x, str | os.PathLike):
        return _file(Path(x), column)
    if not isinstance(x, np.ndarray) and (hasattr(x, "__arrow_c_stream__") or hasattr(x, "__arrow_c_array__")):
        return _arrow(x, column)
    if np.ma.is_masked(x):
        raise ArgumentError("x", "expected plain rows, got a masked array with masked values; fill or drop them first")
    try:
        array = np.asarray(x)
    except (TypeError, RuntimeError, ValueError) as error:
        hint = "a torch tensor must be on the CPU, detached, and of a type that NumPy has: x.detach().cpu().float()"
        raise ArgumentError("x", f"cannot be read as an array ({error}); {hint}") from error
    return _array(array)


def check_scale(argument: str, rows: NDArray[Any]) -> None:
    """Refuses rows whose squares float32 cannot hold, as the core does: `ArgumentError`; NaN says nothing."""
    size = np.abs(rows)
    largest = float(size.max(initial=0.0, where=np.isfinite(size)))
    if largest and not SMALLEST <= largest <= LARGEST:
        said = f"expected a largest value from {SMALLEST:g} to {LARGEST:g}, got {largest:g}"
        raise ArgumentError(argument, f"{said}; multiply the vectors by {1 / largest:.0e}")


def _array(array: NDArray[Any]) -> Matrix:
    if array.ndim != 2 or array.shape[1] == 0:
        raise ArgumentError("x", f"expected a two-dimensional float array [rows, dim], got shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ArgumentError("x", f"expected real numbers, got dtype {array.dtype}")
    return Matrix((array.shape[0], array.shape[1]), lambda: iter((array,)))


def _is_plain(part: Part) -> bool:
    flags = part.flags
    return bool(part.dtype == np.float32 and part.dtype.isnative and flags.c_contiguous and flags.aligned)


def _plain(part: Part) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, which is refused by row
        return np.require(part, np.float32, ["C", "A"])


def _file(path: Path, column: str | None) -> Matrix:
    if path.suffix == ".npy":
        return _array(map_npy(path))
    if path.suffix == ".parquet":
        return _parquet(path, column)
    raise DataError("expected a .npy or a .parquet file of vectors", path)


def map_npy(path: Path) -> NDArray[Any]:
    """Maps a .npy file into memory, without ever unpickling; `DataError` if it is none of numbers."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    except (ValueError, EOFError) as error:
        raise DataError("is not a .npy file of numbers; write it with numpy.save(path, float_array)", path) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise DataError("is a .npz archive of several arrays; write one with numpy.save(path, float_array)", path)
    return found


def _parquet(path: Path, column: str | None) -> Matrix:
    file = open_parquet(path)
    names = vector_columns(file.schema_arrow.empty_table(), column)
    head = next(file.iter_batches(batch_size=1, columns=names), None)
    if head is None:
        raise ArgumentError("x", f"expected at least one row, got none in {path}")
    dim = _batch(names, head, 0).shape[1]

    def parts() -> Iterator[Part]:
        begin = 0
        for batch in file.iter_batches(batch_size=max(1, BLOCK // dim), columns=names):
            yield _batch(names, batch, begin, dim)
            begin += len(batch)

    return Matrix((file.metadata.num_rows, dim), parts)


def open_parquet(path: Path) -> pq.ParquetFile:
    """Opens a Parquet file; `DataError` if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path) from error


def _arrow(x: Any, column: str | None) -> Matrix:
    import pyarrow as pa

    parts: Any
    read: Callable[[Any, int], Part]
    if hasattr(x, "columns"):  # a table, a record batch or a frame
        table = pa.table(x)
        names = vector_columns(table, column)
        parts, read = table.select(names).to_batches(), partial(_batch, names)
    else:
        series = pa.chunked_array(x) if hasattr(x, "__arrow_c_stream__") else pa.chunked_array([pa.array(x)])
        parts, read = series.chunks, _lists
    chunks, begin = [], 0
    for part in parts:
        chunks.append(read(part, begin))
        begin += len(part)
    if begin == 0:
        raise ArgumentError("x", "expected at least one row, got none")
    dims = {chunk.shape[1] for chunk in chunks}
    if len(dims) != 1:
        raise ArgumentError("x", f"expected vectors of one length, got {sorted(dims)}")
    return Matrix((begin, dims.pop()), lambda: iter(chunks))


def vector_columns(table: pa.Table | pa.RecordBatch, column: str | None) -> list[str]:
    """The columns that hold the vectors of a table, see `read_matrix`."""
    from pyarrow import types

    names: list[str] = table.column_names
    if column is not None:
        if column not in names:
            raise ArgumentError("column", f"expected one of {', '.join(names)}; got {column}")
        return [column]
    lists = [name for name in names if _is_list(table.schema.field(name).type)]
    if len(lists) == 1:
        return lists
    numbers = all(types.is_floating(kind) or types.is_integer(kind) for kind in table.schema.types)
    if lists or not names or not numbers:
        raise ArgumentError("x", f"expected one column of vectors or only columns of numbers; name it among {names}")
    return names


def _is_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind))


def _batch(names: list[str], batch: pa.RecordBatch, begin: int, dim: int | None = None) -> Part:
    if len(names) == 1 and _is_list(batch.schema.field(names[0]).type):
        return _lists(batch.column(names[0]), begin, dim)
    return np.column_stack([_numbers(batch.column(name), begin) for name in names])


def _lists(array: pa.Array, begin: int, dim: int | None = None) -> Part:
    """Lists of one length as a view `[n, dim]` of their values."""
    import pyarrow.compute as pc

    if not _is_list(array.type):
        raise ArgumentError("x", f"expected an Arrow array of fixed-size lists, got {array.type}")
    if array.null_count:
        row = begin + int(np.argmax(pc.is_null(array).to_numpy(zero_copy_only=False)))
        raise ArgumentError("x", f"row {row} is missing; drop or repair such rows first")
    lengths = pc.unique(pc.list_value_length(array)).to_pylist() or [getattr(array.type, "list_size", 0)]
    if len(lengths) != 1 or dim not in (None, lengths[0]) or lengths[0] == 0:
        raise ArgumentError("x", f"expected vectors of one length, got lengths {sorted({*lengths, dim or lengths[0]})}")
    return _numbers(array.flatten(), begin).reshape(len(array), lengths[0])


def _numbers(values: pa.Array, begin: int) -> NDArray[Any]:
    from pyarrow import types

    if not (types.is_floating(values.type) or types.is_integer(values.type)):
        raise ArgumentError("x", f"expected real numbers, got {values.type}")
    if values.null_count:
        raise ArgumentError("x", f"a value is missing in the rows from {begin} on; drop or repair such rows first")
    return np.asarray(values.to_numpy(zero_copy_only=False))


def unit_rows(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rows scaled to length 1, float64; a zero row stays zero."""
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    return unit
