"""Codes of vectors in files: any number of rows, in shards, by the local engine or by Ray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken._core import codes as _codes
from metatoken.artifacts import read_header
from metatoken.artifacts.failures import reachable
from metatoken.bounds import check_integer
from metatoken.config import expect
from metatoken.engine.job import identity_of, open_job, stage_path
from metatoken.engine.running import Progress, run_stage
from metatoken.engine.settings import EngineSettings
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.assign import assign_batches, way_of
from metatoken.tokens.codes.codebook import KIND as CODEBOOK_KIND
from metatoken.tokens.codes.codebook import Codebook
from metatoken.tokens.codes.source import VectorSource
from metatoken.tokens.codes.stages import CODEBOOK, Bucket, First, Nearest, Result, read_counts, total_counts
from metatoken.tokens.settings import TokenSettings, Unique

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data
    from numpy.typing import NDArray

    from metatoken.engine.job import Job

KIND, SCHEMA = "codes", 1


@dataclass(frozen=True)
class Assigned:
    """What was assigned.

    Attributes:
        rows: Rows that have codes.
        shards: Files of the result.
        moved: Rows that had to leave a first code which more rows were nearest to than have room.
        kept_share: Share of the rows whose codes are the nearest ones at every level.
        resumed: Whether shards of an earlier attempt were used.
    """

    rows: int
    shards: int
    moved: int
    kept_share: float
    resumed: bool


def assign_files(
    source: VectorSource,
    codebook: Codebook,
    out: str | Path,
    *,
    unique: Unique = TokenSettings.unique,
    max_cluster_size: int | None = TokenSettings.max_cluster_size,
    shard_rows: int | None = None,
    threads: int | None = None,
    engine: EngineSettings | None = None,
    progress: Progress | None = None,
) -> Assigned:
    """Codes for vectors in files, as a folder of Parquet shards: the codes of `encode`, whatever the engine.

    No process holds all rows: nearest codes are found shard by shard, and made unique by runs of first codes. Only the
    rows of first codes that more rows are nearest to than there are codes below come together in one worker. A job that
    was interrupted goes on with the shards that are missing when it is called again.

    Args:
        source: The vectors.
        codebook: Result of `fit`, or the codebook of a vocabulary.
        out: Folder of the result; one of an earlier call is replaced.
        unique: How codes become unique, see `make_unique`.
        max_cluster_size: Most rows with one first-level token.
        shard_rows: Rows of a shard; by default so many as hold 2^24 values.
        threads: Threads of each worker; by default one with Ray, else all cores. Does not change a byte.
        engine: Who does it.
        progress: Called with (shards done, shards in all), for one stage after another.

    Raises:
        ArgumentError: The rows do not fit the codes or the codebook, or an argument has a wrong value.
        DataError: A file cannot be read, or a row is no numbers.
        ArtifactError: The result cannot be written.
        EngineError: Ray cannot be started, or failed.
    """
    expect("source", source, VectorSource)
    expect("codebook", codebook, Codebook)
    settings = TokenSettings(unique=unique, max_cluster_size=max_cluster_size)
    for name, value in (("shard_rows", shard_rows), ("threads", threads)):
        if value is not None:
            check_integer(name, value)
    ids = None if source.ids is None else stage_path(source.ids)
    source = VectorSource(stage_path(source.path), source.vectors, ids)
    shards = tuple(source.shards(shard_rows))
    rows, dim, way = shards[-1].first + len(shards[-1]), source.dim, way_of(codebook, unique)
    if dim != codebook.dim:
        raise ArgumentError("codebook", f"was fitted on rows of {codebook.dim} values; {source.path} has rows of {dim}")
    all_in_one = np.zeros(codebook.levels[0], np.int64)
    all_in_one[0] = rows
    _codes.contested(all_in_one, list(codebook.levels), way, max_cluster_size)  # refuses more rows than there are codes
    about = {
        "files": [identity_of(path) for path in (*source.files, *([] if ids is None else [ids]))],
        "vectors": source.vectors,
        "shards": [[shard.begin, shard.end] for shard in shards],
        "codebook": sum_of(codebook),
        "unique": settings.unique,
        "max_cluster_size": settings.max_cluster_size,
    }
    plain = VectorSource(source.path, source.vectors, ids)  # without what the other one has read by now
    with open_job(out, KIND, about) as job:
        return _Assignment(job, plain, shards, codebook, unique, max_cluster_size, threads, engine, progress).run()


class _Assignment:
    """One call of `assign_files`."""

    def __init__(
        self, job: Job, source: VectorSource, shards: Any, codebook: Codebook, unique: Unique, cap: int | None,
        threads: int | None, engine: EngineSettings | None, progress: Progress | None,
    ) -> None:  # fmt: skip
        self.job, self.codebook, self.unique, self.cap = job, codebook, unique, cap
        self.engine, self.progress = engine or EngineSettings(), progress
        self.shards, self.threads = shards, threads
        self.known = {
            "folder": job.folder, "threads": threads, "source": source, "shards": shards, "unique": unique,
            "max_cluster_size": cap,
        }  # fmt: skip

    def run(self) -> Assigned:
        """Stage after stage."""
        if not (self.job.folder / CODEBOOK).exists():
            self.codebook.save(self.job.folder / CODEBOOK)
        nearest = Nearest(**self.known, units=len(self.shards))
        told = run_stage(nearest, self.engine, self.progress)
        rows, moved = sum(one["rows"] for one in told), 0
        if self.unique != "none":
            counts = total_counts(nearest.place(unit) for unit in range(nearest.units))
            contested, moved, counts = self._first(counts)
            bounds = self._bounds(counts)
            bucket = Bucket(**self.known, units=len(bounds) - 1, contested=contested, bounds=bounds)
            told = run_stage(bucket, self.engine, self.progress)
            run_stage(Result(**self.known, units=len(self.shards), buckets=bucket.units), self.engine, self.progress)
        kept = sum(one["kept"] for one in told) / rows
        about = {"rows": rows, "levels": list(self.codebook.levels), "unique": self.unique, "kept_share": kept}
        self.job.finish(SCHEMA, codebook=sum_of(self.codebook), **about)
        return Assigned(rows, len(self.shards), moved, kept, self.job.resumed)

    def _first(self, counts: NDArray[np.int64]) -> tuple[tuple[int, ...], int, NDArray[np.int64]]:
        """First codes that are contested, rows that were moved, and how many rows each code has then."""
        sizes, way = list(self.codebook.levels), way_of(self.codebook, self.unique)
        contested = tuple(_codes.contested(counts, sizes, way, self.cap).tolist()) if len(sizes) > 1 else ()
        if not contested:
            return (), 0, counts
        first = First(**self.known, units=1, contested=contested)
        told = run_stage(first, self.engine, self.progress)
        counts = counts.copy()
        counts[list(contested)] = 0
        return contested, told[0]["moved"], counts + read_counts(first.place(0))

    def _bounds(self, counts: NDArray[np.int64]) -> tuple[int, ...]:
        """Runs of first codes with about as many rows as a shard has; a single one where there is one level."""
        if len(self.codebook.levels) == 1:
            return (0, len(counts))
        most, bounds, held = max(len(shard) for shard in self.shards), [0], 0
        for code, count in enumerate(counts.tolist()):
            if held and held + count > most:
                bounds.append(code)
                held = 0
            held += count
        return (*bounds, len(counts))


def read_codebook(folder: str | Path) -> Codebook:
    """A codebook from its own folder, from a vocabulary (that of items), or from a run.

    Raises:
        ArtifactError: The folder is none of these.
    """
    folder = reachable(folder)
    inside = folder / "vocabulary"
    if not inside.is_dir() and read_header(folder)["kind"] == CODEBOOK_KIND:
        return Codebook.load(folder)
    from metatoken.tokens.vocabulary import Vocabulary

    return Vocabulary.load(inside if inside.is_dir() else folder).codebook


def assign_dataset(
    dataset: ray.data.Dataset, codebook: Codebook, *, vectors: str | None = None, name: str = "codes", **options: Any
) -> ray.data.Dataset:
    """Nearest codes for a dataset of Ray, lazily: `assign_batches` over its Arrow blocks.

    Args:
        dataset: Has a column of vectors.
        codebook: Result of `fit`.
        vectors: That column; by default the only one of lists.
        name: Column of the result.
        **options: Of `Dataset.map_batches`, such as `num_cpus`.

    Returns:
        The dataset without its vectors, with a column of codes; codes may repeat.
    """

    def assign(batch: pa.Table) -> pa.Table:
        return next(assign_batches([batch], codebook, vectors=vectors, name=name, threads=1))

    return dataset.map_batches(assign, batch_format="pyarrow", **options)


def sum_of(codebook: Codebook) -> str:
    """A checksum of what a codebook does."""
    import hashlib

    digest = hashlib.sha256(f"{codebook.method} {codebook.metric}".encode())
    for array in codebook.centroids:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
