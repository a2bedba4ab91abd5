from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from metatoken.cli import doctor
from metatoken.extras import Package, check_package
from tests.cli.conftest import Refuse, Run
from tests.files import flip_byte


def test_everything_is_here(run: Run) -> None:
    result = run("doctor")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "everything that metatoken needs is here"
    assert metadata.version("torch") in result.out


def test_json_holds_every_requirement(run: Run) -> None:
    report = json.loads(run("doctor", "--json").out)
    assert report["ok"]
    assert report["fixes"] == []
    assert report["core"] == metadata.version("metatoken")
    assert report["torch"]["threads"] >= 1
    assert {"numpy", "polars", "torch", "typer"} <= {package["name"] for package in report["packages"]}
    assert all(package["ok"] for package in report["packages"])
    assert {"dev", "bench"} <= set(report["extras"])


@pytest.mark.parametrize(
    ("requirement", "ok"),
    [("numpy>=1", True), ("numpy<1", False), ("no-such-package-of-ours>=1", False)],
)
def test_a_requirement_is_met_or_not(requirement: str, ok: bool) -> None:
    package = check_package(Requirement(requirement), None)
    assert package.ok is ok
    assert (package.installed is None) is requirement.startswith("no-such")


def test_what_is_missing_comes_with_one_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [
        Package("peft", "peft<1,>=0.17", None, ok=False, extra=None),
        Package("typer", "typer>=0.15", "0.1", ok=False, extra=None),
        Package("gensim", "gensim>=4", None, ok=False, extra="bench"),
    ]
    monkeypatch.setattr(doctor, "check_packages", lambda: packages)
    monkeypatch.setattr(doctor, "check_core", lambda: (None, "no such library"))
    result = run("doctor")
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[-2] == 'fix: python -m pip install "peft<1,>=0.17" "typer>=0.15"'
    assert lines[-1].startswith("fix: make install")
    assert 'optional [bench]: without gensim: python -m pip install "gensim>=4"' in lines
    assert any("does not load: no such library" in line for line in lines)


def test_a_missing_optional_part_is_no_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Package("gensim", "gensim>=4", None, ok=False, extra="bench")
    monkeypatch.setattr(doctor, "check_packages", lambda: [missing])
    assert run("doctor").code == 0


def test_a_run_is_checked_byte_by_byte(run: Run, refuse: Refuse, finished: Path) -> None:
    assert run("doctor", finished).out.endswith("files are as they were saved\n")
    files = json.loads(run("doctor", finished, "--json").out)[str(finished)]["files"]
    assert {"checkpoints/last.ckpt", "config.yaml", "model/weights.safetensors"} <= set(files)
    flip_byte(finished / "checkpoints" / "last.ckpt")
    assert "last.ckpt: altered" in refuse("doctor", finished)
    assert "is not a run folder" in refuse("doctor", finished / "model")
