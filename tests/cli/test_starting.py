"""Commands that ask a run one thing start and end without looking at everything they have imported."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from metatoken.cli.starting import leave, starting


def test_nothing_is_looked_for_while_a_command_starts() -> None:
    before = gc.get_freeze_count()
    with starting():
        assert not gc.isenabled()
        kept = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_a_start_that_fails_leaves_python_as_it_was() -> None:
    with pytest.raises(KeyError), starting():
        raise KeyError
    assert gc.isenabled()


def test_the_process_ends_with_its_code_and_all_that_was_said() -> None:
    code = (
        "import atexit, sys\n"
        "from metatoken.cli.starting import leave, starting\n"
        "atexit.register(print, 'cleaned up')\n"
        "with starting(): pass\n"
        "print('said')\n"
        "leave(3)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.split("\n"), ended.stderr) == (3, ["said", "cleaned up", ""], "")


def test_a_command_that_has_not_started_quickly_ends_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatoken.cli.starting._started", [])
    with pytest.raises(SystemExit) as ended:
        leave(None)
    assert ended.value.code is None
