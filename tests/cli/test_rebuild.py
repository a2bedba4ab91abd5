"""`metatoken rebuild`, and what `metatoken inspect` says before it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from metatoken.run import load_config, train_run
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.growing import write_growing


def test_a_run_is_extended_looked_at_and_rebuilt(run: Run, tmp_path: Path) -> None:
    config, log, items = write_growing(tmp_path)
    train_run(load_config(config), tmp_path / "old", say=lambda _: None)
    assert "rebuild" not in run("inspect", tmp_path / "old").out
    assert run("extend", tmp_path / "old", log, "--items", items, "-o", tmp_path / "grown").code == 0
    shown = run("inspect", tmp_path / "grown")
    assert "items since the tokens were learned" in shown.out
    assert "rebuild is due" in shown.out
    health = json.loads(run("inspect", tmp_path / "grown", "--json").out)["health"]
    assert set(health) == {"items", "users"}
    assert [part["ids"] for part in health["items"]["generations"]][1] == health["items"]["later"]["ids"] > 0
    done = run("rebuild", tmp_path / "grown", "-o", tmp_path / "new", "--epochs", 0)
    assert done.code == 0, done.err
    assert "of all ids have others" in done.out
    assert pl.read_parquet(tmp_path / "new" / "mapping.parquet").columns == ["kind", "id", "old", "new"]
    assert run("recommend", tmp_path / "new", "--history", "p0001", "-k", 2).code == 0
    assert "health" not in json.loads(run("inspect", tmp_path / "new", "--json").out)


def test_what_cannot_be_rebuilt(refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    folder = trained_run.run.folder
    assert "is not a run folder" in refuse("rebuild", tmp_path / "none", "-o", tmp_path / "out")
    assert str(folder) in refuse("rebuild", folder, "-o", folder, "--overwrite")
