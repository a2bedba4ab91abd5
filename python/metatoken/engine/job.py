"""The folder of a job that has not ended: what it is about, what is made of it, and how it becomes the result.

.NAME.job/job.json    what is made, of what, with which settings; another job for the same place begins anew
.NAME.job/done/       a note for each unit that is made
.NAME.job/parts/      shards of the result
.NAME.job/work/       what stages leave for each other

The folder stands beside the result and is locked while somebody works in it. A job that is killed leaves it, and the
same command goes on with what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metatoken.artifacts import atomic_file, atomic_folder, check_folder, read_json, write_json, write_manifest
from metatoken.artifacts.failures import one_line
from metatoken.artifacts.places import hold, unlock
from metatoken.artifacts.writing import resolved, working_directory
from metatoken.config import shown
from metatoken.engine.stage import MARKS
from metatoken.errors import ArgumentError, ArtifactError, DataError, EngineError, MetatokenError

JOB, PARTS, WORK = "job.json", "parts", "work"


class Job:
    """A job that is begun; made by `open_job`.

    Args:
        out: The folder of the result.
        kind: What the result is, as a manifest says it.

    Attributes:
        folder: The folder of the job.
        resumed: Whether an earlier attempt has left shards.
    """

    def __init__(self, out: Path, kind: str) -> None:
        self.out, self.kind, self.resumed = resolved(out), kind, False
        self.folder = self.out.with_name(f".{self.out.name}.job")

    @property
    def work(self) -> Path:
        """For what stages leave for each other."""
        return self.folder / WORK

    def part(self, unit: int) -> Path:
        """A shard of the result."""
        return part_of(self.folder, unit)

    def begin(self, about: Mapping[str, Any]) -> None:
        """Goes on with what an earlier attempt has left of the same job; anything else there is removed."""
        wanted = json.loads(json.dumps({"metatoken": version("metatoken"), "kind": self.kind, **about}))
        with suppress(ArtifactError):
            self.resumed = read_json(self.folder / JOB) == wanted
        if self.resumed:
            return
        for one in self.folder.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        for name in (MARKS, PARTS, WORK):
            (self.folder / name).mkdir()
        with atomic_file(self.folder / JOB) as place:
            write_json(place, wanted)

    def finish(self, schema: int, **fields: Any) -> None:
        """Puts the shards under the name of the result, with a manifest; `fields` are for the manifest."""
        with atomic_folder(self.out, kind=self.kind) as result:
            for part in sorted((self.folder / PARTS).glob("part-*.parquet")):
                part.replace(result / part.name)
            write_manifest(result, self.kind, schema, **fields)


def part_of(folder: Path, unit: int) -> Path:
    """A shard of the result of the job in a folder."""
    return folder / PARTS / f"part-{unit:05}.parquet"


@contextmanager
def open_job(out: str | Path, kind: str, about: Mapping[str, Any]) -> Iterator[Job]:
    """The place of a job, locked for as long as it takes.

    What is made stays if the job is interrupted, and goes if it ends, or if what it was given cannot be used.

    Args:
        out: The folder of the result.
        kind: What the result is.
        about: What identifies the job, plain JSON values.

    Raises:
        ArgumentError: Somebody else makes the same result, or JSON has no place for what identifies it.
        ArtifactError: The place cannot be written, or holds something else.
    """
    check_folder(out, kind)
    for name, value in about.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ArgumentError(name, f"expected UTF-8 and finite numbers, got {shown(value)}") from error
    job = Job(Path(out), kind)
    absent = [folder for folder in job.out.parents if not folder.exists()]
    lock = _hold(job)
    keep = False
    try:
        with one_line(job.out, job.folder):
            job.begin(about)
            yield job
    except BaseException as error:
        bad = isinstance(error, MetatokenError) and not isinstance(error, ArtifactError | EngineError)
        keep = not bad and any((job.folder / MARKS).glob("*.json"))
        raise
    finally:
        if not keep:
            shutil.rmtree(job.folder, ignore_errors=True)
            for folder in absent if not job.out.exists() else ():
                with suppress(OSError):
                    folder.rmdir()
        unlock(lock)


def _hold(job: Job) -> int | None:
    try:
        return hold(job.folder, (JOB, MARKS, PARTS, WORK))
    except BlockingIOError as error:
        raise ArgumentError("out", f"somebody else makes {job.out}; wait, or choose another place") from error


def identity_of(path: Path) -> list[Any]:
    """What tells a file from another one of its name, without reading it: path, bytes, time of its last change."""
    try:
        about = path.stat()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path) from error
    return [str(path), about.st_size, about.st_mtime_ns]


def stage_path(path: str | Path) -> Path:
    """A path that means the same in a worker, whose working directory may be another."""
    place = Path(path)
    return Path(os.path.abspath(place if place.is_absolute() else working_directory() / place))  # noqa: PTH100 (links stay as the person has named them)
