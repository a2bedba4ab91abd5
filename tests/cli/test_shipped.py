"""`metatoken docs` and the examples of `metatoken config`: what comes with the package, in a checkout by links."""

from __future__ import annotations

from pathlib import Path

import pytest

from metatoken.cli import shipped
from tests.cli.conftest import Refuse, Run
from tests.files import ROOT


def test_every_page_is_listed_by_its_heading(run: Run) -> None:
    lines = run("docs").out.splitlines()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        heading = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert any(line.startswith(f"{name} ") and line.endswith(heading) for line in lines), name


def test_a_page_is_printed_as_it_stands(run: Run) -> None:
    assert run("docs", "concepts").out == (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")


def test_every_example_is_listed_and_printed(run: Run) -> None:
    listed = [line.split()[0] for line in run("config", "--list").out.splitlines()]
    there = [path.relative_to(ROOT / "configs").with_suffix("") for path in (ROOT / "configs").rglob("*.yaml")]
    assert sorted(listed) == sorted(path.as_posix() for path in there)
    assert run("config", "beauty").out == (ROOT / "configs" / "beauty.yaml").read_text(encoding="utf-8")
    assert run("config", "backbones/gemma.yaml").out.startswith("# Gemma")


def test_other_names_get_a_hint(refuse: Refuse) -> None:
    assert refuse("docs", "concept") == "PAGE: 'concept' is none of them; did you mean 'concepts'?"
    assert refuse("config", "biuty") == "NAME: 'biuty' is none of them; did you mean 'beauty'?"
    assert refuse("config", "zzz").startswith("NAME: 'zzz' is none of them; try beauty, ")


def test_without_the_files(refuse: Refuse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path)
    assert refuse("docs", "concepts").endswith("docs is no folder; install metatoken again, from a wheel")
