from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import typer

from metatoken.cli.counts import parse_count
from tests.cli.conftest import Refuse, Run

SIZE = ("--users", "1e2", "--items", "40", "--interactions", "1_000")


def test_a_world_that_other_commands_read(run: Run, refuse: Refuse, tmp_path: Path) -> None:
    out = tmp_path / "world"
    result = run("generate", *SIZE, "-o", out)
    assert result.code == 0, result.err
    assert pl.read_parquet(out / "interactions" / "*.parquet").height == 1000
    named = result.out.splitlines()[-1].partition(": ")[2].split()
    assert "1,000" in run("inspect", out / "interactions", *named).out
    assert "--overwrite" in refuse("generate", *SIZE, "-o", out)
    assert run("generate", *SIZE, "-o", out, "--overwrite").code == 0


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e-3", "ten", "1e99", "nan", "1e"])
def test_what_is_no_count(text: str, refuse: Refuse, tmp_path: Path) -> None:
    assert "--users" in refuse("generate", "--users", text, *SIZE[2:], "-o", tmp_path / "w")
    with pytest.raises(typer.BadParameter):
        parse_count(text)


@pytest.mark.parametrize(("text", "count"), [("7", 7), ("1e6", 10**6), ("2.5e3", 2500), ("3E7", 3 * 10**7)])
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count
