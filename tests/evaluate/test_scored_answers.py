"""Scored answers as a table, from which the metrics must follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metatoken.errors import ArtifactError
from metatoken.evaluate.predictions import ANSWERS, export_answers, read_table
from metatoken.evaluate.ratings import rating_metrics
from metatoken.evaluate.text import text_metrics
from metatoken.run import Run, RunFolder
from tests.conftest import TrainedRun


def test_the_metrics_follow_from_the_table(answering_run: TrainedRun) -> None:
    table = read_table(RunFolder(answering_run.run.folder).answers, ANSWERS)
    scored = [row for row in answering_run.metrics["rows"] if "rmse" in row or "rouge1" in row]
    groups = table.partition_by("task", "template", "model", as_dict=True)
    assert {(row["task"], row["template"], row["model"]) for row in scored} == set(groups)
    for row in scored:
        group = groups[row["task"], row["template"], row["model"]]
        assert group.height == row["users"]
        told, true = group["answer"].to_list(), group["reference"].to_list()
        if "rmse" in row:
            found = rating_metrics(np.array([float(x) for x in told]), np.array([float(x) for x in true]))
        else:
            found = text_metrics(told, true)
        assert {name: row[name] for name in found} == pytest.approx(found)


def test_pairs_and_references_are_those_of_the_log(answering_run: TrainedRun) -> None:
    run: Run = answering_run.run
    table = read_table(RunFolder(run.folder).answers, ANSWERS).filter(task="explanation", model="written")
    log = run.split.pairs.test
    ids = (log.users.raw, log.items.raw)
    known = {
        (ids[0][user], ids[1][item], text)
        for user, item, text in log.frame.select("user", "item", "explanation").iter_rows()
    }
    assert set(table.select("user", "item", "reference").iter_rows()) <= known
    assert table.height > 0


def test_export_writes_the_rows_of_a_part(answering_run: TrainedRun, tmp_path: Path) -> None:
    table = read_table(RunFolder(answering_run.run.folder).answers, ANSWERS)
    path = export_answers(table, tmp_path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == table.height
    assert list(lines[0]) == ANSWERS.names()
    assert export_answers(table, tmp_path, part="validation").read_text() == ""


def test_what_is_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        read_table(tmp_path / "none.parquet", ANSWERS)
