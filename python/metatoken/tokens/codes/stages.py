"""The stages of `assign_files`: nearest codes by shard, then unique ones by prefix, then shards of the result.

Nothing here holds all rows. A worker has the rows of a shard or of a few first codes; only where first codes hold more
rows than there are codes below them, one worker has the rows of these (`First`).

work/codebook       what rows are compared with
work/nearest-I      rows of shard I by nearest first code: row numbers, codes, vectors, and how many have each code
work/first-0        the rows of first codes with too many, by the code they have got
work/bucket-J       unique codes of the rows of some first codes, in the order of rows
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open

from metatoken._core import codes as _codes
from metatoken.artifacts import atomic_file, write_tensors
from metatoken.engine.job import WORK, part_of
from metatoken.engine.stage import Stage, Told
from metatoken.tokens.codes.assign import code_lists, make_unique, way_of
from metatoken.tokens.codes.codebook import Codebook
from metatoken.tokens.codes.source import Shard, VectorSource
from metatoken.tokens.settings import Unique

Arrays = dict[str, NDArray[Any]]
CODEBOOK = f"{WORK}/codebook"


@dataclass(frozen=True)
class CodeStage(Stage, ABC):
    """What every stage knows.

    Attributes:
        source: The vectors.
        shards: How they are cut.
        unique: How codes become unique.
        max_cluster_size: Most rows with one first code.
    """

    source: VectorSource
    shards: tuple[Shard, ...]
    unique: Unique
    max_cluster_size: int | None

    @property
    def name(self) -> str:
        """The class in small letters."""
        return type(self).__name__.lower()

    def place(self, unit: int) -> Path:
        """A file for the next stages."""
        return work_file(self.folder, self.name, unit)

    def codebook(self) -> Codebook:
        """The codebook, of which the job has a copy."""
        return Codebook.load(self.folder / CODEBOOK)


def work_file(folder: Path, name: str, unit: int) -> Path:
    """A file that one stage leaves for the next ones."""
    return folder / WORK / f"{name}-{unit:05}.safetensors"


class Nearest(CodeStage):
    """A unit is a shard of the input, coded; a shard of the result, too, where codes may repeat."""

    def place(self, unit: int) -> Path:
        """The result itself where nothing follows."""
        return part_of(self.folder, unit) if self.unique == "none" else super().place(unit)

    def open(self) -> Callable[[int], Told]:
        """Loads the codebook."""
        codebook = self.codebook()

        def make(unit: int) -> Told:
            shard = self.shards[unit]
            rows = self.source.rows(shard)
            codes = codebook.assign(rows, threads=self.threads)
            if self.unique == "none":
                write_part(self.place(unit), self.source.beside(shard), codes)
                return {"rows": len(rows), "kept": len(rows)}
            order = np.argsort(codes[:, 0], kind="stable")
            counts = np.bincount(codes[:, 0], minlength=codebook.levels[0])
            found: Arrays = {
                "rows": shard.first + order,
                "codes": codes[order],
                "vectors": rows[order],
                "counts": counts,
            }
            write_arrays(self.place(unit), found)
            return {"rows": len(rows)}

        return make


@dataclass(frozen=True)
class First(CodeStage):
    """One unit: the rows of first codes with too many of them are moved to others.

    Attributes:
        contested: Those codes, ascending.
    """

    contested: tuple[int, ...]

    def open(self) -> Callable[[int], Told]:
        """Loads the codebook."""
        codebook = self.codebook()

        def make(unit: int) -> Told:
            places = [work_file(self.folder, "nearest", one) for one in range(len(self.shards))]
            counts = total_counts(places)
            rows = in_order([read_codes(place, (code, code + 1)) for place in places for code in self.contested])
            first = _codes.settle_first(
                rows["vectors"], list(codebook.centroids), codebook.metric, np.ascontiguousarray(rows["codes"][:, 0]),
                counts, way_of(codebook, self.unique), self.max_cluster_size, self.threads, None, None,
            )  # fmt: skip
            order = np.argsort(first, kind="stable")
            held = np.bincount(first, minlength=len(counts))
            write_arrays(self.place(unit), {name: array[order] for name, array in rows.items()} | {"counts": held})
            return {"rows": len(first), "moved": int((first != rows["codes"][:, 0]).sum())}

        return make


@dataclass(frozen=True)
class Bucket(CodeStage):
    """A unit is a run of first codes, whose rows get unique codes.

    Attributes:
        contested: First codes whose rows `First` has placed.
        bounds: Unit `j` has the first codes from `bounds[j]` to before `bounds[j + 1]`.
    """

    contested: tuple[int, ...]
    bounds: tuple[int, ...]

    def open(self) -> Callable[[int], Told]:
        """Loads the codebook."""
        codebook = self.codebook()
        firsts = np.array([shard.first for shard in self.shards])

        def make(unit: int) -> Told:
            rows = self._rows(self.bounds[unit], self.bounds[unit + 1])
            nearest = rows["codes"]
            found = make_unique(
                codebook,
                nearest,
                rows["vectors"],
                first=rows["first"] if len(codebook.levels) > 1 else None,
                unique=self.unique,
                max_cluster_size=self.max_cluster_size,
                threads=self.threads,
            ).codes
            cuts = np.append(np.searchsorted(rows["rows"], firsts), len(nearest))
            write_arrays(self.place(unit), {"codes": found, "rows": rows["rows"], "cuts": cuts})
            kept = (found[:, : nearest.shape[1]] == nearest).all(axis=1)
            return {"rows": len(nearest), "kept": int(kept.sum())}

        return make

    def _rows(self, low: int, high: int) -> Arrays:
        """The rows of some first codes, in order, with the first code that each is to have."""
        parts = []
        for unit in range(len(self.shards)):
            part = read_codes(work_file(self.folder, "nearest", unit), (low, high))
            stay = ~np.isin(part["codes"][:, 0], self.contested)
            parts.append({name: array[stay] for name, array in part.items()})
            parts[-1]["first"] = parts[-1]["codes"][:, 0]
        if self.contested:
            place = work_file(self.folder, "first", 0)
            came = read_codes(place, (low, high))
            counts = read_counts(place)[low:high]
            parts.append({**came, "first": np.repeat(np.arange(low, high, dtype=np.int32), counts)})
        return in_order(parts)


@dataclass(frozen=True)
class Result(CodeStage):
    """A unit is a shard of the result.

    Attributes:
        buckets: How many there are.
    """

    buckets: int

    def place(self, unit: int) -> Path:
        """The shard."""
        return part_of(self.folder, unit)

    def open(self) -> Callable[[int], Told]:
        """Loads the codebook, for its depth alone."""
        depth = len(self.codebook().levels) + (self.unique == "counter")

        def make(unit: int) -> Told:
            shard = self.shards[unit]
            codes = np.empty((len(shard), depth), np.int32)
            for bucket in range(self.buckets):
                with safe_open(work_file(self.folder, "bucket", bucket), framework="numpy") as file:
                    begin, end = file.get_slice("cuts")[unit : unit + 2].tolist()
                    some = some_rows(file, "codes", begin, end)
                    rows = some_rows(file, "rows", begin, end) - shard.first
                codes[rows] = some
            write_part(self.place(unit), self.source.beside(shard), codes)
            return {"rows": len(shard)}

        return make


def read_counts(place: Path) -> NDArray[np.int64]:
    """How many rows of a file have each first code, int64 `[K]`."""
    with safe_open(place, framework="numpy") as file:
        return np.asarray(file.get_tensor("counts"))


def total_counts(places: Iterable[Path]) -> NDArray[np.int64]:
    """The same over several files."""
    found: NDArray[np.int64] = np.sum([read_counts(place) for place in places], axis=0)
    return found


def read_codes(place: Path, codes: tuple[int, int]) -> Arrays:
    """The rows of a file with first codes from one to before another one."""
    with safe_open(place, framework="numpy") as file:
        ends = np.append(0, np.cumsum(file.get_tensor("counts")))
        begin, end = int(ends[codes[0]]), int(ends[codes[1]])
        return {name: some_rows(file, name, begin, end) for name in ("rows", "codes", "vectors")}


def some_rows(file: Any, name: str, begin: int, end: int) -> NDArray[Any]:
    """Some rows of an array in a file, without the others."""
    part = file.get_slice(name)
    if begin < end:
        found: NDArray[Any] = part[begin:end]
    else:  # safetensors takes no empty part behind the last row, and none at all of no rows
        found = part[0:0] if part.get_shape()[0] else file.get_tensor(name)
    return found


def in_order(parts: list[Arrays]) -> Arrays:
    """Rows of several files in the order of their numbers."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["rows"], kind="stable")
    return {name: np.ascontiguousarray(array[order]) for name, array in joined.items()}


def write_arrays(place: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes a file of a stage, whole or not at all."""
    with atomic_file(place) as work:
        write_tensors(work, arrays)


def write_part(place: Path, beside: pa.Table, codes: NDArray[np.int32]) -> None:
    """Writes a shard of the result: what stood beside the vectors, and their codes."""
    lists = code_lists(codes)
    table = beside.append_column("codes", lists) if beside.num_columns else pa.table({"codes": lists})
    with atomic_file(place) as work:
        pq.write_table(table.replace_schema_metadata(), work, compression="zstd")
