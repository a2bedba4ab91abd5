"""What README shows is up to date: its picture, the figures of its table, and the length of its first screen."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree as ET

from tests.files import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_the_one_that_is_drawn() -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "picture.py", "--check"], check=True)
    drawn = ET.parse(ROOT / "docs" / "images" / "overview.svg")  # noqa: S314
    assert len([part for part in drawn.iter() if part.tag.endswith("rect")]) == 5
    assert "docs/images/overview.svg" in README


def test_the_first_command_comes_early() -> None:
    before = README[: README.index("```")].splitlines()
    assert len(before) <= 16


def test_figures_are_those_of_the_page_of_figures() -> None:
    """Each figure of the table stands on docs/reproduction.md, with or without a zero before the point."""
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    measured = {figure.lstrip("0") for figure in re.findall(r"\b0?\.\d{4}\b|(?<=[ (])\.\d{4}\b", page)}
    table = re.search(r"^\| log \|.*?\n\n", README, flags=re.MULTILINE | re.DOTALL)
    assert table is not None
    shown = set(re.findall(r"\.\d{4}\b", table[0]))
    assert len(shown) > 10
    assert shown <= measured, shown - measured
