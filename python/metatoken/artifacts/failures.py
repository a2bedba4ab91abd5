"""What a disk does to a writer: every library has an exception of its own for it, and a person gets one line."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.errors import ArtifactError, MetatokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS")} - {None}
CODE = re.compile(r"os error (\d+)|\[Errno (\d+)\]", re.IGNORECASE)  # as libraries in Rust and in Python write it
# torch's writer of archives has neither the code nor the reason of what failed below it.
OPAQUE = re.compile(r"PytorchStreamWriter|inline_container|unexpected pos \d+", re.IGNORECASE)


@contextmanager
def one_line(place: Path, work: Path) -> Iterator[None]:
    """Turns what a disk refuses while `place` is written into an `ArtifactError` that names it.

    Args:
        place: What a person has asked for.
        work: The folder where it is built; an error about another file is none of writing, and passes.
    """
    try:
        yield
    except MetatokenError:
        raise
    except Exception as error:
        reason = _reason(error, work, place)
        if reason is None:
            raise
        raise ArtifactError(f"{place}: cannot be written ({reason})") from error


def reachable(path: str | os.PathLike[str]) -> Path:
    """A path that the system can look for, whether something is there or not.

    Raises:
        ArtifactError: Its name is too long, or a folder on the way may not be looked into.
    """
    place = Path(path)
    try:
        place.exists()
    except OSError as error:
        raise ArtifactError(f"{place}: cannot be reached ({error.strerror})") from error
    return place


def _reason(error: BaseException | None, work: Path, place: Path) -> str | None:
    """Why a write has failed, None where the exception tells of something else."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno is not None:
            return os.strerror(error.errno) if _is_ours(error, work, place) else None
        if (found := CODE.search(str(error))) and int(found[1] or found[2]) in DISK:
            return os.strerror(int(found[1] or found[2]))
        error = error.__cause__ or error.__context__
    return "the disk is full or does not answer" if OPAQUE.search(str(seen[0])) else None


def _is_ours(error: OSError, work: Path, place: Path) -> bool:
    """Whether an error is about what is being written: it names a file of ours, or none and is one that disks have."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    ours = (str(work), str(place))
    if not names:
        return error.errno in DISK
    return any(
        name == str(place.parent) or name.startswith(tuple(f"{one}{os.sep}" for one in ours)) or name in ours
        for name in names
    )
