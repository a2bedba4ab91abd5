"""Calls that are made one after the other in a process of their own: each does its work, or is refused by us.

A script makes them from the n-th on and prints `> label` before and `< what went wrong` after each, so that whoever
started it knows what a process died of.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.files import ROOT

Found = tuple[int, list[str]]
Call = tuple[str, Callable[[], object]]
LONGEST = {signal.ITIMER_PROF: 60, signal.ITIMER_REAL: 300}  # seconds of a call: of the processor, by the clock
PATIENCE = 20_000  # characters of a message


def in_processes(module: str, base: Path, folder: Path, tries: int) -> Found:
    """Starts a script until it has made all calls; one that dies, or hangs, is the fault of its last call."""
    wrong: list[str] = []
    done = 0
    while done < tries:
        command = [sys.executable, "-m", module, str(base), str(tries), str(done)]
        path = os.pathsep.join([str(ROOT / "python"), str(ROOT)])
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        label, finished = "the start", done
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("> "):
                label, finished = line[2:].strip(), finished + 1
            elif line.startswith("< "):
                wrong.append(f"{label}: {line[2:].strip()}")
        if process.wait() != 0 or finished == done:
            wrong.append(f"{label}: the process ended with {process.returncode}")
            finished = max(finished, done + 1)
        done = finished
    return tries, wrong


def make_calls(calls: Sequence[Call], tries: int, first: int) -> None:
    """Makes the calls from the n-th on."""

    def late(*_: object) -> None:
        raise HangError("not back after a minute of the processor, or five by the clock")

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, late)
    tell = os.fdopen(os.dup(1), "w")
    for label, call in calls[first:tries]:
        print(f"> {label!a}", file=tell, flush=True)
        for timer, seconds in LONGEST.items():
            signal.setitimer(timer, seconds)
        wrong = judged(call)
        for timer in LONGEST:
            signal.setitimer(timer, 0)
        if wrong is not None:
            print(f"< {wrong[:500]!a}", file=tell, flush=True)


def judged(call: Callable[[], object]) -> str | None:
    """What is wrong with how a call ended, None where nothing is."""
    from metatoken.errors import CoreError, MetatokenError

    try:
        call()
    except CoreError as error:
        return f"the core panicked: {error}"
    except (MetatokenError, TypeError) as error:
        return f"a message of {len(str(error))} characters" if len(str(error)) > PATIENCE else None
    except BaseException as error:  # noqa: BLE001 (that is what is looked for)
        return f"{type(error).__name__}: {error}"
    return None


class HangError(BaseException):
    """A call has not come back."""
