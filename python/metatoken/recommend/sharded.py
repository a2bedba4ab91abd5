"""Lists for many users as a folder of Parquet shards: by the local engine or by Ray, one model a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from metatoken.artifacts import atomic_file, sha256, write_frame
from metatoken.artifacts.failures import reachable
from metatoken.bounds import check_integer
from metatoken.config import expect
from metatoken.engine.job import WORK, open_job, part_of, stage_path
from metatoken.engine.running import Progress, run_stage
from metatoken.engine.settings import EngineSettings
from metatoken.engine.stage import Stage, Told
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.recommend.columns import Columns
from metatoken.recommend.files import UserLine
from metatoken.recommend.recommender import Recommender
from metatoken.recommend.requests import Request, check_ids
from metatoken.recommend.source import Source, user_lines
from metatoken.recommend.streaming import Counts, Listed, stream, writer
from metatoken.run.folder import RunFolder
from metatoken.run.manifest import version_of
from metatoken.run.threads import limited_threads
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from metatoken.engine.job import Job

KIND, SCHEMA = "recommendations", 1
THREADS = 1024  # of a worker, as the command line has it
BATCHES = 16  # of a shard, unless its users are given
SCHEMA_OF_USERS: dict[str, Any] = {"user": pl.String, "history": pl.List(pl.String), "line": pl.Int64}


@dataclass(frozen=True)
class Listing(Stage):
    """A unit is a shard of users, answered.

    Attributes:
        run: Folder of the run.
        version: Of the run, so that no worker answers with another one.
        pattern: What everybody asks.
        columns: Of the item table, that go with each item.
        batch_size: Users that pass through the model at once.
        skip_unknown: Leave out unknown users without a history.
        users: The file of users, for messages.
    """

    loads_much: ClassVar[bool] = True

    run: Path
    version: str
    pattern: Request
    columns: tuple[str, ...]
    batch_size: int
    skip_unknown: bool
    users: Path | None

    @property
    def name(self) -> str:
        """As its notes are called."""
        return "listing"

    def place(self, unit: int) -> Path:
        """A shard of the result."""
        return part_of(self.folder, unit)

    def open(self) -> Callable[[int], Told]:
        """Loads the run."""
        recommender = Recommender.load(self.run)
        if recommender.version != self.version:
            raise ArtifactError(f"{self.run}: was replaced while lists were made; give the command again")
        columns = Columns.of(recommender.catalogue, self.columns)

        def make(unit: int) -> Told:
            lines = _lines(users_file(self.folder, unit))
            source = Source(recommender, self.pattern, lines, self.users, skip_unknown=self.skip_unknown)
            # A product of matrices may round otherwise with another number of threads.
            with limited_threads(self.threads or 1), writer(self.place(unit), columns) as write:
                counts = stream(recommender, source, write, batch_size=self.batch_size)
            return {**asdict(counts), "skipped": source.skipped, "listed": list(source.listed)}

        return make


def users_file(folder: Path, unit: int) -> Path:
    """The users of a shard."""
    return folder / WORK / f"users-{unit:05}.parquet"


def _lines(place: Path) -> Iterator[UserLine]:
    for user, history, line in pl.read_parquet(place, glob=False).iter_rows():
        yield UserLine(user, history, line, 0.0)


def recommend_files(
    run: str | Path,
    pattern: Request,
    out: str | Path,
    *,
    users: Path | None = None,
    ids: Sequence[str] = (),
    all_users: bool = False,
    columns: Sequence[str] = (),
    skip_unknown: bool = False,
    batch_size: int = 256,
    shard_users: int | None = None,
    threads: int = 1,
    engine: EngineSettings | None = None,
    progress: Progress | None = None,
) -> Listed:
    """Lists for many users, as a folder of Parquet shards with the rows of `metatoken recommend -o FILE.parquet`.

    A job that was interrupted goes on with the shards that are missing when it is called again. The engine and the
    number of workers change no byte; another number of threads, or other processors, may change the last digits of a
    score.

    Args:
        run: Folder of a run.
        pattern: What everybody asks; without user and history.
        out: Folder of the result; one of an earlier call is replaced.
        users: File of users, see `metatoken.recommend.files`.
        ids: Raw ids of users before those of the file.
        all_users: Every user of the run's log behind `ids`, in the order of their ids.
        columns: Columns of the item table that go with each item.
        skip_unknown: Leave out unknown users without a history, instead of refusing them.
        batch_size: Users that pass through the model at once.
        shard_users: Users of a shard; by default those of 16 batches.
        threads: Threads of each worker.
        engine: Who does it.
        progress: Called with (shards done, shards in all).

    Raises:
        ArgumentError: An argument has a wrong value.
        DataError: The users cannot be read, or one of them is unknown.
        ArtifactError: The run is damaged, or the result cannot be written.
        EngineError: Ray cannot be started, or failed.
    """
    batch_size, threads = check_integer("batch_size", batch_size), check_integer("threads", threads, 1, THREADS)
    size = min(BATCHES * batch_size, sys.maxsize) if shard_users is None else check_integer("shard_users", shard_users)
    pattern = _checked(pattern, users, ids)
    RunFolder(run).check_finished()
    version = version_of(RunFolder(run))
    about = {
        "run": version, "pattern": asdict(pattern), "users": None if users is None else sha256(users),
        "ids": list(ids), "all_users": all_users, "columns": list(columns), "skip_unknown": skip_unknown,
        "batch_size": batch_size, "shard_users": size, "threads": threads,
    }  # fmt: skip
    with open_job(out, KIND, about) as job:
        units = _cut(job, user_lines([*ids, *(_everybody(run) if all_users else ())], users), size)
        if not units:
            raise ArgumentError("users", "expected a file of users or ids of some, got none")
        listing = Listing(
            job.folder, units, threads, stage_path(run), version, pattern, tuple(columns), batch_size, skip_unknown,
            users,
        )  # fmt: skip
        told = run_stage(listing, engine or EngineSettings(), progress)
        counts = _sum(told)
        job.finish(SCHEMA, run=version, users=counts.users, items=counts.items, model=pattern.model, k=pattern.k)
    listed = next((tuple(one["listed"]) for one in told if one["listed"]), ())
    return Listed(counts, sum(one["skipped"] for one in told), listed, job.resumed)


def _checked(pattern: Request, users: Path | None, ids: object) -> Request:
    """The pattern in plain values; refuses what can be refused before any work."""
    expect("pattern", pattern, Request)
    if pattern.user is not None or pattern.history is not None:
        raise ArgumentError("pattern", "expected one without user and history, which come from the users")
    replace(pattern, user="anybody").check()
    check_ids("ids", ids)
    if users is not None and not reachable(users).is_file():
        next(user_lines((), users))  # says what is wrong
    allow, deny = (listed if listed is None else tuple(listed) for listed in (pattern.allow, pattern.deny))
    return replace(pattern, k=int(pattern.k), allow=allow, deny=deny or ())


def _everybody(run: str | Path) -> Sequence[str]:
    """Every user of the run's log, in the order of their rows."""
    folder = RunFolder(run)
    return folder.read_history(Vocabulary.load(folder.vocabulary)).users.raw


def _cut(job: Job, lines: Iterator[UserLine], size: int) -> int:
    """Writes the users of each shard; how many shards there are."""
    unit = 0
    while part := list(islice(lines, size)):
        rows = [(one.user, one.history, one.line) for one in part]
        with atomic_file(users_file(job.folder, unit)) as place:
            write_frame(place, pl.DataFrame(rows, schema=SCHEMA_OF_USERS, orient="row"))
        unit += 1
    return unit


def _sum(told: Iterable[Told]) -> Counts:
    """The counts of all shards."""
    total = Counts()
    for one in told:
        total.users += one["users"]
        total.items += one["items"]
        total.short += one["short"]
        total.unknown += one["unknown"]
        total.example = total.example or one["example"]
    return total
