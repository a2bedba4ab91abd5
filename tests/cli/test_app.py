from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from metatoken.cli import app as application
from metatoken.cli.errors import clean_errors
from metatoken.errors import ArgumentError, DataError, UnknownIdError
from tests.cli.conftest import Run

HEAVY = ("torch", "polars", "transformers", "lightning", "numpy", "metatoken._core")


@pytest.mark.parametrize("arguments", [["--help"], ["tokenize", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from metatoken.cli.app import main
try:
    main({arguments!r})
except SystemExit as stop:
    assert not stop.code
print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_help_lists_every_command(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    for command in application.COMMANDS:
        name = command.__name__.replace("_", "-")
        assert name in result.out
        assert run(name, "--help").code == 0


def test_version(run: Run) -> None:
    assert run("--version").out == f"metatoken {version('metatoken')}\n"


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "metatoken", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("metatoken ")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ArgumentError("levels", "expected\n at least 2"), "error: levels: expected at least 2"),
        (DataError("empty id", "log.csv", 7), "error: log.csv:7: empty id"),
        (UnknownIdError("no item 'x'"), "error: no item 'x'"),
        (PermissionError(13, "Permission denied", "out"), "error: out: Permission denied"),
    ],
)
def test_mistakes_of_the_user_are_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, clean_errors():
        raise error
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("fault", [KeyError("x"), OSError("no file involved"), RuntimeError("ours")])
def test_our_own_faults_keep_their_traceback(fault: Exception) -> None:
    with pytest.raises(type(fault)), clean_errors():
        raise fault


def test_interrupt_exits_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    broken = typer.Typer()
    broken.command()(interrupted)
    monkeypatch.setattr(application, "app", broken)
    assert run().code == 130
    with pytest.raises(SystemExit) as stopped, clean_errors():
        raise KeyboardInterrupt
    assert stopped.value.code == 130


def test_unknown_options_and_commands_exit_with_2(run: Run) -> None:
    assert run("tokenize", "--no-such-option").code == 2
    assert run("no-such-command").code == 2
