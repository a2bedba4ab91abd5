"""Runs many commands as `python -m metatoken` would, each in a process of its own that begins with warm libraries.

Importing torch, transformers and lightning takes longer than the small commands of the guard, so it is done once here
and every command is a fork. Nothing of metatoken itself is imported before the fork.

`python tests/guard_play.py COMMANDS.json`: a list of `{"argv": [...], "out": FILE}`. An `argv` begins with `metatoken`
or with the path of a script. What a command prints goes to its file; the first that fails ends the play with its code.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from pathlib import Path

WARM = (
    "torch", "torch._dynamo", "lightning", "peft", "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto",
)  # fmt: skip


def play(argv: list[str], out: Path) -> int:
    """Runs one command in a child process and returns its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with out.open("w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                code = _run(argv)
                sys.stdout.flush()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(argv: list[str]) -> int:
    sys.argv = argv
    try:
        if argv[0] == "metatoken":
            runpy.run_module("metatoken", run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Plays the list that the first argument names."""
    for name in WARM:
        __import__(name)
    for command in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if code := play(command["argv"], Path(command["out"])):
            print(f"exit code {code}: {' '.join(command['argv'])}", file=sys.stderr)
            sys.exit(code)


if __name__ == "__main__":
    main()
