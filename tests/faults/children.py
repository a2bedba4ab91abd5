"""Children that are killed, or run out of disk, in the middle of their work."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

KILLED = 137
# What Python reports before it changes a file system, and before the writer asks for the exchange of two folders.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.move"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event stands before a change of the file system."""
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITES)
    return event in CHANGES or (event == "ctypes.dlsym" and arguments[1] == "renameat2")


def die_before(change: int) -> None:
    """Ends this process, as `kill -9` would, before the file system is changed for the n-th time, from 0."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if is_change(event, arguments):
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(watch)


def count_changes() -> list[int]:
    """Counts the changes of the file system from now on, in the one element of a list."""
    seen = [0]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        seen[0] += is_change(event, arguments)

    sys.addaudithook(watch)
    return seen


def fork(work: Callable[[], object]) -> int:
    """Runs work in a child; its exit code, 137 where it was killed, 1 where it raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:  # noqa: BLE001 (a child must not return into the tests)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def killed(change: int, work: Callable[[], object]) -> bool:
    """Runs work in a child that is killed before its n-th change; whether it came so far."""

    def child() -> None:
        die_before(change)
        work()

    code = fork(child)
    assert code in {0, KILLED}, code
    return code == KILLED


def limit_files(size: int) -> None:
    """Lets no file of this process grow beyond so many bytes, as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
