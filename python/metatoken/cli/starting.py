"""A quick start and end of commands that ask a trained run one thing.

Torch and transformers make more than a million objects while they are imported. Python looks through them for garbage
again and again, and takes them apart one by one when it ends; together that is a quarter of the processor time of such
a command, and none of it is of use to anybody.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_started: list[bool] = []


@contextmanager
def starting() -> Iterator[None]:
    """Imports and loads without a search for garbage, now or later, among what stays until the command ends."""
    gc.disable()
    try:
        yield
    finally:
        if not _started:  # libraries complain at an ordinary end of what is never taken apart
            atexit.register(gc.unfreeze)
            _started.append(True)
        gc.freeze()
        gc.enable()


def leave(code: int | None) -> NoReturn:
    """Ends the process, at once where it has started quickly.

    What was printed is written and what others have registered for the end is done. Where a stream cannot be written,
    the process ends as usual.
    """
    if _started:
        with suppress(OSError):
            atexit._run_exitfuncs()  # noqa: SLF001 (Python calls them only at an ordinary end)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    raise SystemExit(code)
