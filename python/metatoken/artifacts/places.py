"""Work folders beside the place of an artifact: who has one, who is dead, and how its content gets to its name.

A writer makes the folder `.metatoken-<hex>` beside its target, holds a lock on it for as long as it lives, and builds
the artifact inside. The system drops the lock when the process ends, however it ends, so that the next writer knows
whose folders are waste and removes them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

with suppress(ImportError):  # Windows: nothing is locked, so nothing of others is removed either
    import fcntl

LOCKS = os.name == "posix"
PREFIX = ".metatoken-"
NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{12}")
OLD = "old"  # holds what is replaced, under its name, where the system cannot exchange two folders
FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
# A call that a system, or one of its file systems, does not know; not every system has every number.
NOWHERE = {getattr(errno, name, None) for name in ("ENOSYS", "EINVAL", "ENOTSUP", "EOPNOTSUPP")} - {None}


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A locked folder of its own in `parent`, which is made; folders of dead writers there are removed first.

    Nothing stays of it, and nothing of the parents that were made for it if an exception leaves the block.

    Raises:
        ArtifactError: It cannot be made.
    """
    absent = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        sweep(parent)
        work, lock = _locked(parent)
    except OSError as error:
        _remove_empty(absent)
        raise ArtifactError(f"{parent}: cannot make this folder, or write in it ({error.strerror})") from error
    try:
        yield work
    except BaseException:
        _remove(work)
        _remove_empty(absent)
        raise
    finally:
        _remove(work)
        unlock(lock)


def sweep(parent: Path) -> None:
    """Removes the work folders of dead writers in a folder, and puts back what one of them had moved away."""
    try:
        with os.scandir(parent) as found:
            names = [one.name for one in found if NAME.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]
    except OSError:  # a folder that may be written to but not listed
        return
    for name in names:
        lock = lock_folder(parent / name)
        if lock is not None:
            _restore(parent / name, parent)
            _remove(parent / name)
            unlock(lock)


def sweep_all(folder: Path) -> None:
    """The same in a folder and in all folders inside of it, which a command may leave as they are."""
    for inside, _, _ in os.walk(folder):
        sweep(Path(inside))


def hold(beside: Path, ours: Collection[str]) -> int | None:
    """Makes and locks a folder beside an artifact, for what is made of it over several commands.

    Args:
        beside: The folder.
        ours: Names that its writers give; what stands there under others is somebody's, and would be lost.

    Returns:
        See `take_lock`.

    Raises:
        BlockingIOError: Somebody else has it.
        ArtifactError: It cannot be made, or is not ours.
    """
    while True:
        try:
            beside.mkdir(parents=True, exist_ok=True)
            lock = take_lock(beside)
            strange = [one.name for one in beside.iterdir() if one.name not in ours and not NAME.fullmatch(one.name)]
        except FileNotFoundError:  # its holder has just finished
            continue
        except BlockingIOError:
            raise
        except OSError as error:
            raise ArtifactError(f"{beside}: cannot make this folder ({error.strerror})") from error
        if strange or beside.is_symlink():
            unlock(lock)
            said = f"holds {min(strange)}" if strange else "is a link"
            raise ArtifactError(f"{beside}: {said}, which metatoken has not made; remove it, or choose another place")
        return lock


def take_lock(folder: Path) -> int | None:
    """Locks a folder until the process ends; None where its file system has no locks.

    Raises:
        BlockingIOError: Somebody else has the lock.
        FileNotFoundError: It is gone.
    """
    if not LOCKS:
        return None
    lock = os.open(folder, FOLDER)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino != folder.stat().st_ino:
            raise FileNotFoundError(errno.ENOENT, "was removed before it was locked", str(folder))  # noqa: TRY301
    except (BlockingIOError, FileNotFoundError):
        os.close(lock)
        raise
    except OSError:
        os.close(lock)
        return None
    return lock


def lock_folder(folder: Path) -> int | None:
    """The same; None, too, where somebody else has the lock, or it is gone."""
    with suppress(OSError):
        return take_lock(folder)
    return None


def unlock(lock: int | None) -> None:
    """Gives a lock of `lock_folder` back."""
    if lock is not None:
        os.close(lock)


def put(work: Path, target: Path) -> None:
    """Moves `work`, a folder inside a work folder, to `target`, and what is there into the work folder."""
    flush(work)
    if target.exists():
        exchange(work, target)
    else:
        work.rename(target)
    flush_folder(target.parent)


def exchange(work: Path, target: Path) -> None:
    """Gives two folders the name of each other, in one step where the system can."""
    try:
        if _exchange(os.fsencode(work), os.fsencode(target)):
            return
    except OSError as error:
        if error.errno not in NOWHERE:
            raise OSError(error.errno, error.strerror, str(target)) from error
    old = work.parent / OLD / target.name
    old.parent.mkdir(exist_ok=True)
    target.rename(old)
    try:
        work.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(work)


def flush(path: Path) -> None:
    """Waits until a file, or a folder with all that is in it, is on the disk."""
    if not path.is_dir():
        _flush(path, os.O_RDONLY)
        return
    for folder, _, files in os.walk(path):
        for name in files:
            _flush(os.path.join(folder, name), os.O_RDONLY)  # noqa: PTH118 (os.walk gives text)
        flush_folder(folder)


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Waits until the names in a folder are on the disk."""
    if LOCKS:
        _flush(folder, FOLDER)


def _flush(path: str | os.PathLike[str], flags: int) -> None:
    try:
        file = os.open(path, flags)
    except PermissionError:  # written without a right to read it again
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NOWHERE:  # a file system that has nothing to wait for
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(file)


def _locked(parent: Path) -> tuple[Path, int | None]:
    """A new folder and its lock; a sweep that came in between takes at most the folder."""
    while True:
        work = parent / f"{PREFIX}{secrets.token_hex(6)}"
        work.mkdir()
        lock = lock_folder(work)
        if lock is not None or work.exists():
            return work, lock


def _restore(work: Path, parent: Path) -> None:
    with suppress(OSError):
        for old in (work / OLD).iterdir():
            if not (parent / old.name).exists():
                old.rename(parent / old.name)


def _remove(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _exchange(one: bytes, other: bytes) -> bool:
    """Exchanges two names; False where there is no such call, `OSError` where it fails."""
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        at, flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        failed = library.renameat2(at, one, at, other, flag)  # type: ignore[union-attr]
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        failed = library.renamex_np(one, other, 2)  # type: ignore[union-attr]  # RENAME_SWAP
    else:
        return False
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return True
