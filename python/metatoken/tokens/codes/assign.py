"""From rows to codes: the nearest ones, batch by batch where the rows are many, then made unique within a kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken._core import codes as _codes
from metatoken.config import expect
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.codebook import Codebook, Progress, Vectors, part_progress
from metatoken.tokens.settings import TokenSettings, Unique
from metatoken.tokens.vectors.matrix import read_matrix, vector_columns

if TYPE_CHECKING:
    import pyarrow as pa

    Batch = TypeVar("Batch", pa.RecordBatch, pa.Table)


@dataclass(frozen=True)
class Encoding:
    """Codes and what making them unique cost.

    Attributes:
        codes: int32 `[n, depth]`; one column more than the codebook has with `unique="counter"`.
        kept_share: Share of the rows whose codes are the nearest ones at every level.
        error_before: Relative quantisation error `sum |x - decoded|^2 / sum |x - mean|^2` of the nearest codes.
        error_after: The same for `codes` (a counter decodes to nothing).
    """

    codes: NDArray[np.int32]
    kept_share: float
    error_before: float
    error_after: float


def assign_batches(
    batches: Iterable[Batch],
    codebook: Codebook,
    *,
    vectors: str | None = None,
    name: str = "codes",
    threads: int | None = None,
) -> Iterator[Batch]:
    """Nearest codes of a stream of Arrow batches; pure, so that any number of workers may each take some batches.

    Args:
        batches: Arrow record batches or tables, each with a column of vectors.
        codebook: Result of `fit`.
        vectors: The column of vectors; by default the only column of lists.
        name: Column of the result.
        threads: Number of threads (`None`: all cores); does not change the result.

    Yields:
        Each batch without its vectors and with a column of fixed-size lists of int32, one code per level.

    Raises:
        ArgumentError: A batch has no such column, or vectors cannot be used.
    """
    expect("codebook", codebook, Codebook)
    for batch in batches:
        matrix = read_matrix(batch, vectors)
        codes = codebook.assign(matrix, threads=threads)
        yield batch.drop_columns(vector_columns(batch, vectors)).append_column(name, code_lists(codes))


def code_lists(codes: NDArray[np.int32]) -> pa.FixedSizeListArray:
    """Codes `[n, depth]` as a column."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(codes.reshape(-1)), codes.shape[1])


def encode(
    codebook: Codebook,
    x: Vectors,
    *,
    kinds: ArrayLike | None = None,
    unique: Unique = TokenSettings.unique,
    max_cluster_size: int | None = TokenSettings.max_cluster_size,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Encoding:
    """Gives every row codes that no other row of its kind has: `Codebook.assign`, then `make_unique`, see there.

    The rows `[n, d]` are read as a whole; `progress` is called with (rows done, rows in all), summed over passes.

    Raises:
        ArgumentError: The rows of a kind do not fit, or an argument has a wrong shape or value.
    """
    expect("codebook", codebook, Codebook)
    rows = read_matrix(x).whole()
    work = len(rows) * len(codebook.levels)
    nearest = codebook.assign(rows, threads=threads, progress=part_progress(progress, 0, 2 * work))
    return make_unique(
        codebook,
        nearest,
        rows,
        kinds=kinds,
        unique=unique,
        max_cluster_size=max_cluster_size,
        threads=threads,
        progress=part_progress(progress, work, 2 * work),
    )


def make_unique(
    codebook: Codebook,
    codes: NDArray[np.int32],
    x: Vectors,
    *,
    first: NDArray[np.int32] | None = None,
    occupied: NDArray[np.int32] | None = None,
    kinds: ArrayLike | None = None,
    occupied_kinds: ArrayLike | None = None,
    unique: Unique = TokenSettings.unique,
    max_cluster_size: int | None = TokenSettings.max_cluster_size,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Encoding:
    """Makes nearest codes unique within a kind, and different from codes that are taken already, which never move.

    Above the last level a row keeps its nearest codeword unless its prefix is full: a prefix holds at most as many rows
    of a kind as there are codes below it, occupied ones included. Then rows move, so that the squared distances add up
    to the least where the case is small (about 2^31 steps), else the cheapest row first. In the last level:

    - `assignment`: rows under one prefix get free codewords at the least total squared distance (exact).
    - `nearest`: rows that collide move to the nearest free codeword, cheapest moves first, on every level.
    - `counter`: a further level counts equal codes. `none`: codes may repeat.

    A `flat+rank` codebook gives ranks within a kind and cluster for the first two, which is that scheme's own way; with
    occupied codes, whose ranks must stay, new rows get free ranks by `assignment` or `nearest`.

    Args:
        codebook: Result of `fit`.
        codes: Nearest codes from `Codebook.assign`, int32 `[n, levels]`.
        x: The rows `[n, d]` that they were assigned to; read as a whole.
        first: First codes that rows are to have, int32 `[n]`, where those were settled before, among more rows than
            these; the cap was kept then. By default they are settled here.
        occupied: Codes that are taken, int32 `[m, depth]`, no two equal within a kind; none if None.
        kinds: Integer array `[n]`; rows of different kinds may share codes. One kind (0) if None.
        occupied_kinds: Integer array `[m]`; one kind (0) if None.
        unique: How codes become unique.
        max_cluster_size: Most rows of a kind with one first-level token, occupied ones included; the codes below it if
            None or larger. Without effect on `counter` and `none`.
        threads: Number of threads (`None`: all cores); does not change the result.
        progress: Called with (rows done, rows in all), summed over levels.

    Raises:
        ArgumentError: The rows of a kind do not fit, occupied codes repeat or are none of the codebook's, or an
            argument has a wrong shape or value.
    """
    expect("codebook", codebook, Codebook)
    rows = read_matrix(x).whole()
    settings = TokenSettings(unique=unique, max_cluster_size=max_cluster_size)
    depth = len(codebook.levels) + (unique == "counter")
    taken = np.empty((0, depth), np.int32) if occupied is None else _codes_array("occupied", occupied)
    kind, taken_kind = _kinds("kinds", kinds, len(rows)), _kinds("occupied_kinds", occupied_kinds, len(taken))
    nearest = _codes_array("codes", codes)
    if len(rows) == 0:
        return Encoding(np.empty((0, depth), dtype=np.int32), 1.0, 0.0, 0.0)
    way = unique if len(taken) else way_of(codebook, unique)
    found = _codes.make_unique(
        rows, list(codebook.centroids), codebook.metric, nearest, first, kind, taken, taken_kind,
        way, settings.max_cluster_size, threads, None, progress,
    )  # fmt: skip
    return Encoding(*found)


def way_of(codebook: Codebook, unique: Unique) -> str:
    """How the core makes codes unique where none is taken: by rank where that is the codebook's own way."""
    return "rank" if codebook.method == "flat+rank" and unique in ("assignment", "nearest") else unique


def _codes_array(argument: str, codes: Any) -> NDArray[np.int32]:
    array = np.asarray(codes)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ArgumentError(argument, f"expected integers [rows, levels], got {array.dtype} of shape {array.shape}")
    if array.size and not -(1 << 31) <= array.min() <= array.max() < 1 << 31:  # wrapped, they would be other codes
        raise ArgumentError(argument, f"expected codes of at most 31 bits, got {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int32)


def _kinds(argument: str, kinds: ArrayLike | None, n: int) -> NDArray[np.int64]:
    kind = np.zeros(n, dtype=np.int64) if kinds is None else np.asarray(kinds)
    if kind.shape != (n,) or not (np.issubdtype(kind.dtype, np.integer) or kind.dtype == np.bool_):
        raise ArgumentError(argument, f"expected {n} integers, got {kind.dtype} of shape {kind.shape}")
    return np.ascontiguousarray(kind, dtype=np.int64)
