"""A process that has imported everything and runs each command in a child of its own, killed or short of disk if asked.

Started as a script: it reads one JSON object a line, `{"argv": [...], "kill": n or null, "limit": bytes or null}`, and
answers with one: exit code, what was printed, and how often the file system was changed. What a child had to import,
later ones find: a command then takes tenths of a second. The process itself runs nothing, so it has no threads that a
fork would lose.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

from metatoken.cli.starting import leave, starting
from tests.faults.children import KILLED, count_changes, die_before, fork, limit_files
from tests.files import ROOT

LONGEST = 300  # seconds of a command; one that waits for ever is killed by SIGALRM
SET_SIZE, ROOM = getattr(fcntl, "F_SETPIPE_SZ", 1031), 1 << 20  # bytes


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str
    changes: int

    @property
    def killed(self) -> bool:
        return self.code == KILLED

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line and not line.startswith("warning: ")]

    @property
    def clean(self) -> bool:
        """Whether it did what was asked, or refused in one line."""
        return self.code == 0 or (self.code == 2 and len(self.errors) == 1 and self.errors[0].startswith("error: "))


class Zygote:
    """The process, from outside; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def run(self, *argv: object, kill: int | None = None, limit: int | None = None) -> Done:
        """Runs `metatoken argv`, killed before a change of the file system, or with small files at most."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"argv": [str(one) for one in argv], "kill": kill, "limit": limit}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))


def answer(argv: list[str], kill: int | None, limit: int | None) -> dict[str, Any]:
    """Runs one command in a child, which prints into pipes, since its files may be limited."""
    out, err, told = _pipe(), _pipe(), _pipe()

    def child() -> None:
        from metatoken.cli.app import main

        os.dup2(out[1], 1)
        os.dup2(err[1], 2)
        # As a process of its own has them: those of the zygote may know themselves as files, which can be searched.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        known = set(sys.modules)
        signal.alarm(LONGEST)
        if limit is not None:
            limit_files(limit)
        if kill is not None:
            die_before(kill)
        seen = count_changes()
        try:
            main(argv)
        finally:
            new = [name for name in sys.modules if name not in known]
            os.write(told[1], json.dumps([seen[0], new]).encode())

    code = fork(child)
    texts = [_read(pipe) for pipe in (out, err, told)]
    changes, new = json.loads(texts[2] or "[0, []]")
    with starting():
        for name in new:
            with suppress(Exception):  # some are made, not imported
                import_module(name)
    return {"code": code, "out": texts[0], "err": texts[1], "changes": changes}


def _pipe() -> tuple[int, int]:
    """A pipe that holds all that a command prints, so that nobody needs to read it meanwhile."""
    read, write = os.pipe()
    fcntl.fcntl(write, SET_SIZE, ROOM)
    return read, write


def _read(pipe: tuple[int, int]) -> str:
    os.close(pipe[1])
    with os.fdopen(pipe[0], "rb") as file:
        return file.read().decode(errors="replace")


def serve() -> None:
    """Imports what every command needs, before any of it has started a thread, and answers until there is no more."""
    sys.dont_write_bytecode = True  # the first import of a module would be a change that no later run makes again
    with starting():  # children, too, need not search for garbage here, which would copy all of it
        import lightning  # noqa: F401
        import transformers  # noqa: F401

        import metatoken.model.module
        import metatoken.recommend
        import metatoken.run  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
    leave(0)


if __name__ == "__main__":
    serve()
