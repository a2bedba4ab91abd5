from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from metatoken.run import RunFolder, compare_runs, load_config
from metatoken.run.config import dump_config
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun


@pytest.fixture
def other_seed(finished: Path) -> Path:
    at = RunFolder(finished)
    at.config.write_text(dump_config(replace(load_config(at.config), seed=1)))
    return finished


def cells(out: str, model: str, start: str = "sequential") -> list[str]:
    """The cells of the first row of a model."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    return next(row for row in rows if model in row and start in row)


def test_two_seeds_are_one_group(run: Run, trained_run: TrainedRun, other_seed: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "compared.json"
    result = run("compare", trained_run.run.folder, other_seed, "--json", file, "--resamples", 200, "--seed", 4)
    assert result.code == 0, result.err
    document = json.loads(file.read_text())
    assert document == compare_runs([trained_run.run.folder, other_seed], resamples=200, seed=4)
    assert f"A: {trained_run.run.folder}, {other_seed} (seeds 0, 1)" in result.out
    found = next(row for row in document["rows"] if row["model"] == "fused")
    tested, mean = found["against"]["metrics"]["ndcg@10"], found["metrics"]["hr@10"]["mean"]
    fused = cells(result.out, "fused")
    assert f"{mean:.4f} ±0.0000" in fused
    assert fused[-3:-1] == [f"{tested['difference']:+.4f}", f"{tested['low']:+.4f} .. {tested['high']:+.4f}"]
    best = found["against"]["model"]
    assert cells(result.out, best)[-3:] == ["reference", "", ""]
    assert "┃ group" not in result.out


def test_two_groups_stand_side_by_side(run: Run, trained_run: TrainedRun, finished: Path) -> None:
    at = RunFolder(finished)
    config = load_config(at.config)
    at.config.write_text(dump_config(replace(config, model=replace(config.model, alpha=0.5))))
    result = run("compare", trained_run.run.folder, finished, "--metric", "hr@10", "--against", "item_head")
    assert result.code == 0, result.err
    assert f"B: {finished} (seed 0)\n   model.alpha: 0.5\n" in result.out
    assert "B against A" in result.out
    table = result.out.partition("B against A")[2]
    assert cells(table, "fused")[-3:] == ["+0.0000", "+0.0000 .. +0.0000", "1.000"]
    assert cells(result.out, "item_head")[-3:] == ["reference", "", ""]
    assert "Δ hr@10" in result.out


def test_ratings_and_texts_have_tables_of_their_own(run: Run, answering_run: TrainedRun) -> None:
    result = run("compare", answering_run.run.folder)
    assert result.code == 0, result.err
    assert len(cells(result.out, "rating_head", "rating")) == 3 + 4 + 3
    assert "Δ rmse" in result.out
    assert len(cells(result.out, "written", "explanation")) == 3 + 13


def test_a_narrow_terminal_gets_the_main_metrics(
    run: Run, trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metatoken.cli.output.PIPE", 150)
    result = run("compare", trained_run.run.folder)
    assert "ndcg@10" in result.out
    assert "ndcg@5" not in result.out


def test_mistakes_are_one_line(refuse: Refuse, trained_run: TrainedRun, finished: Path, tmp_path: Path) -> None:
    folder = trained_run.run.folder
    assert "did you mean 'fused'" in refuse("compare", folder, "--against", "fuse")
    assert "did you mean 'hr@10'" in refuse("compare", folder, "--metric", "hr@11", "--json", tmp_path / "x.json")
    assert "given twice" in refuse("compare", folder, folder)
    assert "is not a run folder" in refuse("compare", tmp_path / "absent")
    RunFolder(finished).metrics.unlink()
    assert "metatoken evaluate" in refuse("compare", folder, finished)
    assert "RUN" in refuse("compare")
