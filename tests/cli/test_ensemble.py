"""`metatoken ensemble`."""

from __future__ import annotations

from pathlib import Path

from metatoken.run import load_config, train_run
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun


def test_two_runs_recommend_as_one(run: Run, refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    first, out = trained_run.run.folder, tmp_path / "both"
    train_run(load_config(trained_run.yaml, ["seed=3"]), tmp_path / "second", say=lambda _: None)
    done = run("ensemble", first, tmp_path / "second", "-o", out)
    assert done.code == 0, done.err
    assert "2 models; fusion weights" in done.out
    assert f"run saved to {out}; next: metatoken evaluate {out}" in done.out
    assert run("recommend", out, "--history", "p0001", "-k", 2).code == 0
    assert run("doctor", out).code == 0
    assert "--overwrite" in refuse("ensemble", first, tmp_path / "second", "-o", out)
    assert "two or more different runs" in refuse("ensemble", first, "-o", tmp_path / "alone")
    assert "cannot be extended" in refuse(
        "extend", out, trained_run.yaml.parent / "world" / "interactions.csv", "-o", tmp_path / "grown"
    )
    assert not (tmp_path / "alone").exists()
