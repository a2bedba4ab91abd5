from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from metatoken.cli import app as application
from metatoken.cli.errors import clean_errors
from metatoken.errors import ArgumentError, DataError, UnknownIdError
from tests.cli.conftest import Refuse, Run

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
    broken.callback()(lambda: None)  # so that the command has a name
    monkeypatch.setattr(application, "app", broken)
    assert run("interrupted").code == 130
    with pytest.raises(SystemExit) as stopped, clean_errors():
        raise KeyboardInterrupt
    assert stopped.value.code == 130


WRONG_USAGE = {
    "option": (("tokenize", "--no-such-option"), "--no-such-option"),
    "command": (("tokenise",), "did you mean 'tokenize'"),
    "number": (("tokenize", "log.csv", "-o", "v", "--dim", "wide"), "--dim"),
    "range": (("tokenize", "log.csv", "-o", "v", "--seed", -1), "--seed"),
    "missing": (("tokenize", "log.csv"), "--out"),
}


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_usage_is_one_line(name: str, refuse: Refuse) -> None:
    arguments, hint = WRONG_USAGE[name]
    line = refuse(*arguments)
    assert hint in line.lower()
    assert line.endswith("--help)")


def test_no_arguments_show_the_help(run: Run) -> None:
    assert run().out == run("--help").out


def test_every_command_says_what_it_does_in_the_imperative() -> None:
    for command in application.COMMANDS:
        first = inspect.getdoc(command).split()[0]  # type: ignore[union-attr]
        assert first.istitle()
        assert not first.endswith("s"), f"{command.__name__}: {first}"
