"""The one way to write: beside the place, flushed to the disk, then exchanged for what is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metatoken.artifacts.failures import one_line, reachable
from metatoken.artifacts.manifest import MANIFEST, artifact_files, read_header
from metatoken.artifacts.places import flush, flush_folder, put, work_folder
from metatoken.errors import ArtifactError


@contextmanager
def atomic_folder(path: str | Path, *, kind: str) -> Iterator[Path]:
    """Build a folder that appears under its name only when it is complete; an empty one or one of its kind is replaced.

    A symbolic link stays, and what it points to is replaced.

    Yields:
        A new folder to write into, exchanged for `path` at the end, removed if an exception leaves the block.

    Raises:
        ArtifactError: `path` holds something other than an artifact of this kind, or cannot be written.
    """
    with replaced_folder(path, lambda place: check_replaceable(place, kind)) as work:
        yield work


@contextmanager
def replaced_folder(path: str | Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """The same for folders that are not artifacts of one kind: `check` raises where the place must not be replaced."""
    place = resolved(path)
    check(place)
    with work_folder(place.parent) as beside, one_line(place, beside):
        work = beside / place.name
        work.mkdir()
        yield work
        _ordinary_rights(work)
        check(place)  # again: a person may have put something there in the meantime
        put(work, place)


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file that appears under its name only when it is complete; an existing one is replaced.

    A symbolic link stays, and the file that it points to is replaced.

    Yields:
        A path to write to, of the same name in a folder beside it.

    Raises:
        ArtifactError: `path` is a folder or a device, or cannot be written.
    """
    place = resolved(path)
    check_file(place)
    with work_folder(place.parent) as beside, one_line(place, beside):
        work = beside / place.name
        yield work
        flush(work)
        work.replace(place)
        flush_folder(place.parent)


def exchange_files(folder: Path, write: Callable[[Path], None], ours: Callable[[str], bool], *, last: str) -> None:
    """Writes files that have no manifest into a folder: exchanged whole where nothing else is in it.

    Where something else is, the file that everything else is read by goes first and comes last, so that files of two
    writers are never taken for one.

    Args:
        folder: The place.
        write: Writes all files into an empty folder.
        ours: Whether a file of this name is one of these; older ones go.
        last: The file that goes first and comes last.

    Raises:
        ArtifactError: The place cannot be written.
    """
    place = resolved(folder)
    here = working_directory()
    there = [one.name for one in place.iterdir()] if place.is_dir() else []
    if place != here and place not in here.parents and all(map(ours, there)):

        def check(place: Path) -> None:
            strange = [one.name for one in place.iterdir() if not ours(one.name)] if place.is_dir() else []
            if strange:
                raise ArtifactError(f"{place}: also holds {strange[0]}, which came in the meantime; try again")

        with replaced_folder(place, check) as work:
            write(work)
        return
    with work_folder(place) as work, one_line(place, work):
        write(work)
        flush(work)
        (place / last).unlink(missing_ok=True)
        for name in filter(ours, there):
            (place / name).unlink(missing_ok=True)
        for file in sorted(work.iterdir(), key=lambda file: file.name == last):
            file.replace(place / file.name)
        flush_folder(place)


def check_folder(path: str | Path, kind: str) -> None:
    """Refuses, before any work, a place where `atomic_folder` could not write; errors are the same."""
    place = resolved(path)
    check_outside(place)
    check_replaceable(place, kind)
    check_writable(place)


def check_outside(place: Path) -> None:
    """Refuses a place within an artifact, which is whole and holds nothing else: `ArtifactError`."""
    for folder in place.parents:
        if not (folder / MANIFEST).is_file():
            continue
        try:
            kind = read_header(folder)["kind"]
        except ArtifactError:  # of somebody else
            continue
        raise ArtifactError(f"{place}: lies in {folder}, which is a {kind}; choose a place outside of it")


def check_writable(place: Path) -> None:
    """Refuses, before any work, a place beside which nothing can be written: `ArtifactError`."""
    parent = next(folder for folder in place.parents if folder.exists())
    with work_folder(parent) as beside, one_line(place, beside):
        (beside / place.name).write_bytes(b"metatoken")


def resolved(path: str | os.PathLike[str]) -> Path:
    """A path as the disk knows it, symbolic links followed; `ArtifactError` if it is none."""
    try:
        place = reachable(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{str(path)!r}: is not a path ({error})") from error
    if place.is_symlink():  # what it leads to leads back to it
        raise ArtifactError(f"{path}: is a link that leads to itself; choose another place")
    return place


def check_file(place: Path) -> None:
    """Refuses to replace a folder, a device or a pipe by a file: `ArtifactError`."""
    if place.is_dir():
        raise ArtifactError(f"{place}: is a folder, expected a file")
    if place.exists() and not place.is_file():
        raise ArtifactError(f"{place}: is a device or a pipe, expected a file; choose another place")


def _ordinary_rights(work: Path) -> None:
    """Gives every file the rights of the manifest, since some libraries make files that nobody else may read."""
    if (work / MANIFEST).is_file():
        rights = (work / MANIFEST).stat().st_mode
        for file in work.rglob("*"):
            if file.is_file() and not file.is_symlink() and file.stat().st_mode != rights:
                file.chmod(rights)


def working_directory() -> Path:
    """Where a shell or a program stands; `ArtifactError` if that was removed."""
    try:
        return Path(os.path.realpath("."))
    except FileNotFoundError as error:
        raise ArtifactError("the working directory was removed; change into one that is there") from error


def check_name(place: Path) -> None:
    """Refuses a path that is not UTF-8, where libraries that write tables and tensors make no file: `ArtifactError`."""
    try:
        str(place).encode()
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{place}: is not UTF-8; choose a place whose whole path is") from error


def refuse_surroundings(place: Path) -> None:
    """Refuses to replace the working directory or a folder around it, in which a shell or a program stands."""
    here = working_directory()
    if place == here or place in here.parents:
        raise ArtifactError(f"{place}: is the working directory, or holds it; choose a folder inside of it")


def check_replaceable(path: Path, kind: str) -> None:
    """Refuse to replace anything that is not ours: a slip in a path must not cost a person their files."""
    check_name(path)
    refuse_surroundings(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise ArtifactError(f"{path}: is a file, expected a folder; choose another place")
    files = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir()}
    if not files:
        return
    try:
        header = read_header(path)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: exists and is not a {kind} of metatoken; choose another place") from error
    if header["kind"] != kind:
        raise ArtifactError(f"{path}: is a {header['kind']}, not a {kind}; choose another place")
    if strange := sorted(files - artifact_files(header) - {MANIFEST}):
        raise ArtifactError(f"{path}: also holds {strange[0]}, which is not part of the {kind}; choose another place")
