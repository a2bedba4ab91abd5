"""Files of an artifact: JSON, safetensors and Parquet, the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metatoken.bounds import beyond_memory
from metatoken.errors import ArtifactError, MetatokenError

FORMAT = "metatoken"


UNREADABLE = (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
BROKEN = (LookupError, RuntimeError, ArithmeticError, AssertionError, pl.exceptions.PolarsError)
NO_MEMORY = ("can't allocate memory", "out of memory")  # as torch says it for processors and for devices
CELL = 16  # bytes of a value in memory, whatever a file needs for it
TOLD = 300  # characters of what a library says that a person is shown


def told(error: BaseException) -> str:
    """What a library says, on one line and not longer than a person reads."""
    text = " ".join(str(error).split())
    return text if len(text) <= TOLD else f"{text[:TOLD]}..."


@contextmanager
def read_as(kind: str, place: Path) -> Iterator[None]:
    """Turns what libraries say about content that is of another form than `kind` has into an `ArtifactError`.

    Checksums find accidents; what comes from somewhere else may have the right ones and hold anything.
    """
    try:
        yield
    except MetatokenError:
        raise
    except Exception as error:
        known = isinstance(error, (*UNREADABLE, *BROKEN)) or type(error) is Exception  # as tokenizers raises it
        if not known or any(sign in str(error) for sign in NO_MEMORY):
            raise
        said = f"is not a {kind} that this metatoken can read ({type(error).__name__}: {told(error)})"
        raise ArtifactError(f"{place}: {said}; save it again") from error


def check_regular(path: Path) -> None:
    """Refuses a pipe or a device, which would be waited for: `ArtifactError`."""
    if path.exists() and not path.is_file():
        raise ArtifactError(f"{path}: is not a file")


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; non-finite numbers are refused (`ValueError`), since JSON has none."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_json(path: Path) -> Any:
    """Read JSON."""
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: is not JSON ({told(error)})") from error


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None) -> None:
    """Write arrays by name, of any shape and memory layout, and a JSON value as safetensors."""
    # One key for all of the JSON, because safetensors writes its keys in random order.
    header = {FORMAT: json.dumps(dict(meta or {}), sort_keys=True, allow_nan=False)}
    # Not `save_file`, which makes files that nobody else may read.
    path.write_bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, header))


def read_tensors(path: Path, expected: Iterable[str] = ()) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays, of which the expected ones must be there, and the JSON value that `write_tensors` wrote."""
    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            meta = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
    except UNREADABLE as error:
        raise ArtifactError(f"{path}: cannot be read as safetensors ({told(error)})") from error
    if not isinstance(meta, dict):
        raise ArtifactError(f"{path}: cannot be read as safetensors (its description is not a mapping)")
    if absent := sorted(set(expected) - set(tensors)):
        raise ArtifactError(f"{path}: has no array {', '.join(absent)}")
    return tensors, meta


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a table as Parquet; row groups have a fixed size, so the number of threads changes no byte."""
    frame.rechunk().write_parquet(path, compression="zstd", row_group_size=1 << 18, statistics=True)


def table_size(source: Any) -> int:
    """Bytes that a Parquet table takes in memory, by what it says of itself; its file may be very much smaller."""
    about = pq.read_metadata(source)
    content = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    return int(about.num_rows * about.num_columns * CELL + content)


def check_size(path: Path, size: int) -> None:
    """Refuses to read what the memory of the machine does not hold: `ArtifactError`."""
    if said := beyond_memory(size):
        raise ArtifactError(f"{path}: {said}")


def read_frame(path: Path, expected: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """Read a Parquet table that must have the expected columns of these types."""
    check_regular(path)
    try:
        check_size(path, table_size(path))
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ArtifactError(f"{path}: cannot be read as Parquet ({told(error)})") from error
    texts = frame.select(pl.col(pl.String).str.len_bytes().sum().cast(pl.Int64)).row(0) if frame.width else ()
    check_size(path, sum(texts))  # a text that stands in many rows is stored once, until it is read
    for name, dtype in expected.items():
        if frame.schema.get(name) != dtype:
            raise ArtifactError(f"{path}: column {name} is {frame.schema.get(name)}, expected {dtype}")
    return frame
