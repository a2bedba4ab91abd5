"""Runs the command line as a person does, and small inputs for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metatoken.cli.app import main
from tests.conftest import TrainedRun
from tests.files import write_ratings

COLUMNS = ("--user", "userId", "--item", "movieId", "--time", "timestamp")
QUICK = ("--dim", "8", "--walks-per-node", "2", "--walk-length", "8")

LEARNT = ("--dim", "16", "--epochs", "3")  # enough for the two taste groups of the log to part


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]
Refuse = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("tokenize", path, ...)`: exit code, stdout and stderr of `metatoken tokenize path ...`."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        code = stopped.value.code
        assert code is None or isinstance(code, int)
        return Result(code or 0, *capsys.readouterr())

    return call


@pytest.fixture
def refuse(run: Run, tmp_path: Path) -> Refuse:
    """Runs a command that must fail as a mistake of the user: exit code 2, one line, nothing written.

    Returns the line without `error: `. Works in `tmp_path`, which must hold the same files before and after.
    """

    def call(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = run(*arguments)
        assert result.code == 2, result
        errors = [line for line in result.err.splitlines() if not line.startswith("warning: ")]
        assert len(errors) == 1, result.err
        assert errors[0].startswith("error: ")
        assert "Traceback" not in result.err
        assert result.out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return errors[0].removeprefix("error: ")

    return call


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """A small log as CSV."""
    return write_ratings(tmp_path / "ratings.csv")


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary made from the log that `ratings` gives; to be read only."""
    folder = tmp_path_factory.mktemp("vocabulary")
    log = write_ratings(folder / "ratings.csv")
    with pytest.raises(SystemExit) as stopped:
        main(["tokenize", str(log), *COLUMNS, *LEARNT, "--levels", "8,16", "-o", str(folder / "vocab")])
    assert not stopped.value.code
    return folder / "vocab"


@pytest.fixture
def finished(trained_run: TrainedRun, tmp_path: Path) -> Path:
    """A copy of the trained run, to be changed."""
    return Path(shutil.copytree(trained_run.run.folder, tmp_path / "run"))


@pytest.fixture
def stop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `metatoken serve` end in this process as soon as it would answer."""
    uvicorn = pytest.importorskip("uvicorn")

    async def stop(server: Any, sockets: Any = None) -> None:
        server.should_exit = True

    monkeypatch.setattr(uvicorn.Server, "startup", stop)
    # To set logging up closes all handlers, and those of absl, once imported, close the stderr of pytest with them.
    monkeypatch.setattr(uvicorn.Config, "configure_logging", lambda _: None)
