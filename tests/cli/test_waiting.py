"""Threads that wait let others have the cores; commands see to it, the library leaves the environment alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from metatoken.cli.waiting import KNOWN, POLITE, wait_policy, wait_politely
from tests.cli.conftest import Run


def test_a_command_sets_what_nobody_has_set() -> None:
    environment = {"HOME": "/root"}
    assert wait_policy(environment) == "wait as OpenMP does by default"
    wait_politely(environment)
    assert environment == {"HOME": "/root"} | POLITE
    assert wait_policy(environment) == "sleep soon when they wait"


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_user_has_set_stays(name: str) -> None:
    environment = {name: "active"}
    wait_politely(environment)
    assert environment == {name: "active"}
    assert wait_policy(environment) == f"wait as {name}=active"


def test_the_doctor_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    line = next(line for line in run("doctor").out.splitlines() if line.startswith("threads"))
    assert line.split(maxsplit=1)[1].startswith("3 on ")
    assert line.endswith("cores; they sleep soon when they wait")
    assert json.loads(run("doctor", "--json").out)["threads"]["default"] == 3


def child(code: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name not in KNOWN}
    command, shown = [sys.executable, "-c", code], {"OMP_DISPLAY_ENV": "verbose"}
    return subprocess.run(command, env=plain | shown, capture_output=True, text=True, check=False, timeout=300)


def test_it_is_set_before_torch_reads_it_and_by_commands_alone() -> None:
    """OpenMP itself tells what it has read."""
    command = child("import sys; from metatoken.cli.app import main; main(['doctor'])")
    if "GOMP_SPINCOUNT" not in command.stderr:
        pytest.skip("torch is built with another OpenMP than GNU's")
    assert f"GOMP_SPINCOUNT = '{POLITE['GOMP_SPINCOUNT']}'" in command.stderr
    library = child("import metatoken, metatoken.cli.app, metatoken.run; metatoken.MetaTokenModule")
    assert "GOMP_SPINCOUNT = " in library.stderr
    assert f"GOMP_SPINCOUNT = '{POLITE['GOMP_SPINCOUNT']}'" not in library.stderr
