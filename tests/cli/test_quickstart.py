from __future__ import annotations

import json
from pathlib import Path

import pytest

from metatoken.run import load_run
from tests.cli.conftest import Refuse, Run

TINY = ("--users", 60, "--items", 40, "--epochs", 1)


def test_end_to_end(run: Run, refuse: Refuse, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = run("quickstart", "-o", out, *TINY)
    assert result.code == 0, result.err
    assert {path.name for path in out.iterdir()} == {"world", "run"}
    for word in ("item_head", "fused", "popularity", "transition_graph", "hr@10"):
        assert word in result.out
    loaded = load_run(out / "run")
    assert loaded.split.log.n_users == 60
    titles = loaded.module.vocabulary.titles
    assert titles is not None
    assert any(f"  1. {title} (" in result.out for title in titles)
    assert json.loads((out / "run" / "metrics.json").read_text())["rows"]
    assert "--overwrite" in refuse("quickstart", "-o", out, *TINY)
    evaluate, recommend = (line.split()[1:] for line in result.out.splitlines()[-2:])
    assert run(*evaluate).code == 0
    assert run(*recommend).out.count("\n") == 11


def test_the_smallest_world(run: Run, tmp_path: Path) -> None:
    result = run("quickstart", "-o", tmp_path / "demo", "--users", 50, "--items", 36, "--epochs", 1)
    assert result.code == 0, result.err


@pytest.mark.parametrize("option", [("--users", 3), ("--items", 35), ("--epochs", 0)])
def test_sizes_that_are_too_small(option: tuple[str, int], run: Run, tmp_path: Path) -> None:
    result = run("quickstart", "-o", tmp_path / "demo", *option)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert not (tmp_path / "demo").exists()
