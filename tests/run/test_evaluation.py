"""What an evaluation leaves in a run, and what is added to a run: what was altered since is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from metatoken.artifacts import read_json, write_json
from metatoken.errors import ArtifactError, MetatokenWarning
from metatoken.evaluate.predictions import ANSWERS, read_table
from metatoken.run import RunFolder, compare_runs, evaluate_run, load_run
from metatoken.run.manifest import check_bytes
from tests.conftest import TrainedRun


def _shortened(path: Path) -> None:
    read_table(path, ANSWERS).with_columns(answer=pl.col("answer") + ".").write_parquet(path)


ALTERED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an answer": ("answers.parquet", _shortened, r"answers\.parquet: is not what metrics\.json was computed from"),
    "no answers": ("answers.parquet", Path.unlink, r"answers\.parquet: is not what metrics\.json was computed from"),
    "a list": (
        "predictions.parquet", lambda path: read_table(path).reverse().write_parquet(path),
        r"predictions\.parquet: is not what metrics\.json was computed from",
    ),
    "a metric of texts": (
        "metrics.json", lambda path: path.write_text(path.read_text().replace('"bleu4": ', '"bleu4": 1')),
        r"metrics\.json: altered or damaged",
    ),
    "how long it took": (
        "metrics.json", lambda path: write_json(path, read_json(path) | {"seconds": 0.5}), "altered or damaged",
    ),
    "no checksum": (
        "metrics.json", lambda path: write_json(path, {**read_json(path), "checksum": None}), "altered or damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_what_an_evaluation_left_and_was_altered_is_noticed(
    name: str, answering_run: TrainedRun, tmp_path: Path
) -> None:
    at = RunFolder(shutil.copytree(answering_run.run.folder, tmp_path / "run"))
    assert {"metrics.json", "predictions.parquet", "answers.parquet"} <= set(check_bytes(at))
    file, alter, message = ALTERED[name]
    before = (at.path / file).read_bytes()
    alter(at.path / file)
    assert not (at.path / file).exists() or (at.path / file).read_bytes() != before
    for check in (compare_runs, lambda folders: check_bytes(RunFolder(folders[0]))):
        with pytest.raises(ArtifactError, match=message):
            check([at.path])
    load_run(at.path)  # which reads none of them


def test_answers_of_something_else_go_with_the_next_evaluation(trained_run: TrainedRun, tmp_path: Path) -> None:
    at = RunFolder(shutil.copytree(trained_run.run.folder, tmp_path / "run"))
    at.answers.write_bytes(b"of another run")
    with pytest.raises(ArtifactError, match=r"answers\.parquet: is not what .* run `metatoken evaluate` again"):
        check_bytes(at)
    evaluate_run(load_run(at.path), unseen=False)
    assert "answers.parquet" not in check_bytes(at)


def test_metrics_of_older_versions_have_no_checksums(answering_run: TrainedRun, tmp_path: Path) -> None:
    at = RunFolder(shutil.copytree(answering_run.run.folder, tmp_path / "run"))
    write_json(at.metrics, {k: v for k, v in read_json(at.metrics).items() if k not in ("run", "files", "checksum")})
    assert compare_runs([at.path])["rows"] == compare_runs([answering_run.run.folder])["rows"]
    assert "metrics.json" in check_bytes(at)


ADDED = ("lineage.json", "rebuilt.json", "mapping.parquet", "source.json", "training.json")


@pytest.mark.parametrize("name", ADDED)
def test_a_part_that_the_manifest_does_not_name_is_of_another_run(
    name: str, trained_run: TrainedRun, tmp_path: Path
) -> None:
    at = RunFolder(shutil.copytree(trained_run.run.folder, tmp_path / "run"))
    had = name in read_json(at.path / "manifest.json")["files"]
    if had:
        (at.path / name).unlink()
    else:
        (at.path / name).write_text("{}")
    with pytest.raises(ArtifactError, match=rf"{name}: " + ("missing" if had else "is of another run")):
        load_run(at.path)


def test_files_that_are_no_part_of_a_run_are_told(trained_run: TrainedRun, tmp_path: Path) -> None:
    at = RunFolder(shutil.copytree(trained_run.run.folder, tmp_path / "run"))
    (at.path / "notes.md").write_text("mine")
    (at.vocabulary / "old.json").write_text("{}")
    with pytest.warns(MetatokenWarning, match=r"also holds notes\.md, vocabulary/old\.json, which is no part of a run"):
        assert "notes.md" not in check_bytes(at)
