from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from metatoken.run.config import dump_config, load_config
from metatoken.run.evaluation import read_metrics
from metatoken.run.folder import RunFolder
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.files import flip_byte, reseal

# Every file without which a run cannot be used; each is checked when it is read.
ALTERED = (
    "model/weights.safetensors",
    "model/settings.json",
    "model/tokenizer/tokenizer.json",
    "model/manifest.json",
    "vocabulary/vectors.safetensors",
    "vocabulary/trie.safetensors",
    "vocabulary/entities.parquet",
    "vocabulary/manifest.json",
)


def test_a_table_and_a_document(run: Run, finished: Path, trained_run: TrainedRun) -> None:
    (finished / "metrics.json").unlink()
    (finished / "predictions.parquet").unlink()
    result = run("evaluate", finished)
    assert result.code == 0, result.err
    for word in (
        "item_head",
        "generation_leaf_off",
        "fused",
        "popularity",
        "transition_graph",
        "ndcg@10",
        "seq-unseen",
    ):
        assert word in result.out
    document = json.loads((finished / "metrics.json").read_text())
    assert document["rows"] == trained_run.metrics["rows"]
    assert (finished / "predictions.parquet").is_file()


def test_json_is_json_whatever_else_is_asked(run: Run, finished: Path, tmp_path: Path) -> None:
    result = run("evaluate", finished, "--json", "--no-unseen", "--part", "validation", "--export", tmp_path / "plain")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document == json.loads((finished / "metrics.json").read_text())
    assert document["split"] == "leave-last-out (validation)"
    assert not any("unseen" in row["template"] for row in document["rows"])
    names = {path.name for path in (tmp_path / "plain").iterdir()}
    assert {"truth.tsv", "history.txt", "catalogue.txt", "sequential.seq-1.fused.tsv"} <= names


def test_a_run_is_scored_otherwise(run: Run, refuse: Refuse, finished: Path) -> None:
    """The document says what was other than in the configuration, which stays."""
    before = (finished / "config.yaml").read_bytes()
    result = run("evaluate", finished, "--no-unseen", "--set", "evaluate.batch_size=3", "--set", "evaluate.width=5")
    assert result.code == 0, result.err
    document = json.loads((finished / "metrics.json").read_text())
    assert document["settings"] == {"batch_size": 3, "width": 5}
    assert read_metrics(RunFolder(finished))["settings"] == document["settings"]
    assert (finished / "config.yaml").read_bytes() == before
    assert run("evaluate", finished, "--no-unseen").code == 0
    assert "settings" not in json.loads((finished / "metrics.json").read_text())
    kept = (finished / "metrics.json").read_bytes()
    for wrong, said in (
        ("seed=1", "expected a key of evaluate, e.g. evaluate.writing.num_beams=4; the rest is as the run was trained"),
        (
            "evaluate.users=9",
            "evaluate.users is part of the run, whose fused list and comparisons rest on it: it has None, got 9",
        ),
        ("evaluate.fusion_users=9", "evaluate.fusion_users is part of the run"),
        ("evaluate.text=9", "did you mean 'texts'"),
        ("evaluate.width=0", "--set evaluate.width=0: evaluate.width: expected"),
        ("evaluate.writing.beams=4", "num_beams"),
        ("evaluate.width", "expected key=value"),
    ):
        assert said in refuse("evaluate", finished, "--set", wrong)
    assert (finished / "metrics.json").read_bytes() == kept


def test_settings_that_one_run_cannot_have_are_refused_before_any_is_scored(
    refuse: Refuse, finished: Path, trained_run: TrainedRun, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(trained_run.run.folder, tmp_path / "other"))
    config = load_config(other / "config.yaml")
    (other / "config.yaml").write_text(dump_config(replace(config, model=replace(config.model, max_text=9))))
    reseal(other)
    kept = (finished / "metrics.json").read_bytes()
    assert "expected at most model.max_text, 9, got 12" in refuse(
        "evaluate", finished, other, "--set", "evaluate.writing.min_new_tokens=12"
    )
    assert (finished / "metrics.json").read_bytes() == kept


def test_several_runs(run: Run, finished: Path, trained_run: TrainedRun, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    result = run("evaluate", finished, other, "--no-unseen", "--json")
    assert result.code == 0, result.err
    documents = json.loads(result.out)
    assert list(documents) == [str(finished), str(other)]
    assert documents[str(other)] == json.loads((other / "metrics.json").read_text())


def test_several_runs_are_checked_before_the_first_is_scored(
    refuse: Refuse, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metatoken.run.evaluate_run", None)  # is not reached
    assert "is not a run folder" in refuse("evaluate", finished, tmp_path / "absent")
    assert "expected one run, got 2" in refuse("evaluate", finished, finished, "--export", tmp_path / "plain")


def test_export_says_where(run: Run, finished: Path, tmp_path: Path) -> None:
    result = run("evaluate", finished, "--no-unseen", "--export", tmp_path / "plain")
    assert f"plain files written to {tmp_path / 'plain'}" in result.out
    assert len((tmp_path / "plain" / "truth.tsv").read_text().splitlines()) == 80


def test_an_export_that_cannot_be_is_refused_before_scoring(
    refuse: Refuse, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("metatoken.run.evaluate_run", None)  # is not reached
    assert "is a file" in refuse("evaluate", finished, "--export", tmp_path / "file")


@pytest.mark.parametrize("file", ALTERED)
def test_an_altered_file(file: str, refuse: Refuse, finished: Path) -> None:
    flip_byte(finished / file)
    assert file.rpartition("/")[2] in refuse("evaluate", finished)


@pytest.mark.parametrize("file", [*ALTERED, "config.yaml", "history.parquet", "fusion.json"])
def test_a_missing_file(file: str, refuse: Refuse, finished: Path) -> None:
    (finished / file).unlink()
    refuse("evaluate", finished)


@pytest.mark.parametrize("file", ["config.yaml", "history.parquet", "fusion.json"])
def test_an_unreadable_file(file: str, refuse: Refuse, finished: Path) -> None:
    (finished / file).write_bytes(b"\x00\xff{nonsense")
    assert file in refuse("evaluate", finished)


def test_a_history_with_other_users(refuse: Refuse, finished: Path) -> None:
    path = finished / "history.parquet"
    pl.read_parquet(path).filter(pl.col("user") != "user0001").head(50).write_parquet(path)
    assert "history.parquet" in refuse("evaluate", finished)


def test_no_run(refuse: Refuse, tmp_path: Path) -> None:
    assert "is not a run folder" in refuse("evaluate", tmp_path)
    assert "is not a run folder" in refuse("evaluate", tmp_path / "absent")


def test_an_interrupted_run(refuse: Refuse, finished: Path) -> None:
    shutil.rmtree(finished / "model")
    assert "--resume" in refuse("evaluate", finished)
