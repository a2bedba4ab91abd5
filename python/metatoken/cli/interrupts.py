"""Ctrl-C and SIGTERM: both leave a command through its cleaning up, wherever it stands."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

AGAIN = 0.05  # seconds until a signal that came within an import is looked at again
IMPORTING = "<frozen importlib"


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which a scheduler or a container sends before it kills; what cleans up after Ctrl-C does so after it."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block SIGTERM raises as Ctrl-C does, and neither is lost inside of an import.

    Native modules call Python while they are imported, and swallow what it raises there: the command would go on. So a
    signal that comes within an import waits for its end. What the shell has told to be ignored stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    taken = [number for number, usual in known.items() if signal.getsignal(number) == usual]
    before = {number: signal.signal(number, _handle) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    if hasattr(signal, "setitimer") and _importing(frame):
        signal.signal(signal.SIGALRM, lambda _, later: _handle(number, later))
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        return
    raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTING):
            return True
        frame = frame.f_back
    return False
