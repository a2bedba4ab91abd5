"""The list of faults that were found names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.faults.campaign import ATTACKS
from tests.files import ROOT

ROWS = re.findall(r"^\| (\d+)\. (.*?) \| (.*) \|$", (ROOT / "tests/faults/entries.md").read_text(), flags=re.MULTILINE)


def test_every_fault_has_a_row() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 33))


@pytest.mark.parametrize(("fault", "held"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_its_tests_exist(fault: str, held: str) -> None:
    tests = re.findall(r"`(\S+\.py)(?:::(\w+))?`", held)
    assert tests, fault
    for file, test in tests:
        assert f"def {test}" in (ROOT / "tests" / file).read_text()
    for name in re.findall(r"`(\w+)`", held.partition("attack")[2]):
        assert name in ATTACKS
