"""A run whose tasks are ranking, ratings and texts: trained together, evaluated, saved, loaded, and free of leaks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.data import hold_out
from metatoken.errors import ConfigError
from metatoken.evaluate.runner import Runner
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.predict.writer import ModelWriter
from metatoken.run import Run, evaluate_run, load_run, read_log, train_run
from metatoken.run.config import load_config
from metatoken.tasks.datamodule import TaskDataModule
from metatoken.tasks.task import find_task, tasks_of
from tests.conftest import TrainedRun
from tests.files import write_run_config

TASKS = ["sequential", "rating", "explanation", "review_summary", "review_rating"]
DATA = {"rating": "rating", "review": "review", "summary": "summary", "explanation": "explanation"}


@pytest.fixture
def done(answering_run: TrainedRun) -> tuple[Run, dict[str, Any]]:
    return answering_run.run, answering_run.metrics


def test_every_task_has_rows_for_seen_and_unseen_questions_and_baselines(done: tuple[Run, dict[str, Any]]) -> None:
    rows = {(row["task"], row["template"], row["model"]): row for row in done[1]["rows"]}
    for task in ("rating", "review_rating"):
        assert {"rmse", "mae"} <= set(rows[task, f"{task.replace('_', '-')}-1", "rating_head"])
        assert (task, f"{task.replace('_', '-')}-unseen", "rating_head") in rows
        assert {(task, "-", name) for name in ("global_mean", "biases")} <= set(rows)
    for task in ("explanation", "review_summary"):
        found = rows[task, f"{task.replace('_', '-')}-1", "written"]
        assert {"bleu4", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2"} <= set(found)
        assert (task, "-", "nearest_pair") in rows
    assert ("review_summary", "-", "nearest_text") in rows
    assert ("sequential", "-", "popularity") in rows


def test_a_head_of_one_epoch_is_not_worse_than_the_biases(done: tuple[Run, dict[str, Any]]) -> None:
    run, _ = done
    runner = Runner(run.module, run.split, "validation", EvaluateSettings(texts=12))
    found = runner.run(run.fusion, unseen=False).rows
    for task in ("rating", "review_rating"):
        rows = {row["model"]: row for row in found if row["task"] == task}
        assert rows["rating_head"]["rmse"] <= rows["biases"]["rmse"] + 1e-6  # its share is chosen on these rows


def test_a_loaded_run_answers_the_same(done: tuple[Run, dict[str, Any]]) -> None:
    run, document = done
    again = evaluate_run(load_run(run.folder))
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in document["rows"]]
    assert again["rows"] == rows


def test_no_written_text_has_an_oov_token(done: tuple[Run, dict[str, Any]]) -> None:
    run, _ = done
    held = Runner(run.module, run.split, settings=EvaluateSettings(texts=12)).held(find_task("explanation"))
    texts = ModelWriter(run.module).write(held)
    assert len(texts) == len(held)
    assert not any(re.search(r"<[a-z]_\d+>", text) for text in texts)


def test_a_held_out_pair_is_in_no_training_row_graph_or_baseline(done: tuple[Run, dict[str, Any]]) -> None:
    run, _ = done
    log = run.split.log
    held = {tuple(pair) for part in (run.split.pairs.validation, run.split.pairs.test) for pair in _pairs(part)}
    held |= {
        (int(u), int(i)) for t in (run.split.validation, run.split.test) for u, i in zip(t.users, t.items, strict=True)
    }
    assert len(held) > 2 * len(run.split.test)
    train = set(map(tuple, _pairs(run.split.train)))
    repeated = {pair for pair in held if list(map(tuple, _pairs(log))).count(pair) > 1}
    assert not (train & held) - repeated
    assert run.split.pairs.train.edges_checksum() == run.split.train.edges_checksum()
    assert run.module.vocabulary.learned_from == run.split.train.edges_checksum()
    data = TaskDataModule(run.split, run.module.vocabulary, tasks=TASKS)
    data.connect(run.module.reader)
    for task in tasks_of(TASKS, "rate", "write"):
        pairs = data.pair_rows(task, "train").pairs
        assert set(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True)) <= train


def _pairs(log: Any) -> list[tuple[int, int]]:
    return list(zip(log.frame["user"].to_list(), log.frame["item"].to_list(), strict=True))


def test_a_run_of_ratings_alone_trains(tmp_path: Any) -> None:
    config = load_config(write_run_config(tmp_path, data=DATA, model={"tasks": ["rating"]}))
    run = train_run(config, tmp_path / "run", say=lambda _: None)
    rows = evaluate_run(run)["rows"]
    assert {row["task"] for row in rows} == {"rating"}
    assert all(np.isfinite(row["rmse"]) for row in rows)


def test_a_missing_column_is_named(tmp_path: Any) -> None:
    config = load_config(write_run_config(tmp_path, model={"tasks": ["sequential", "rating"]}))
    with pytest.raises(ConfigError, match=r"data\.rating"):
        hold_out(read_log(config), config.needs, 0)


def test_a_task_without_a_row_is_refused(tmp_path: Any) -> None:
    config = load_config(write_run_config(tmp_path, data=DATA, model={"tasks": ["sequential", "review_summary"]}))
    log = read_log(config)
    empty = log.with_rows(log.frame.with_columns(summary=pl.lit("  ")))
    with pytest.raises(ConfigError, match="review_summary finds no training row that has a review and a summary"):
        hold_out(empty, config.needs, 0)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"review_sumary": 0.5}, "'review_sumary' is no rating or text task of the run; it has rating"),
        ({"sequential": 0.5}, "'sequential' is no rating"),
        ({"rating": -1.0}, "a number above 0, got -1.0"),
    ],
)
def test_shares_that_cannot_be_are_refused_with_the_configuration(
    shares: dict[str, float], message: str, tmp_path: Any
) -> None:
    sections = {"data": DATA | {"path": "absent.csv"}, "model": {"tasks": ["sequential", "rating"]}}
    path = write_run_config(tmp_path, **sections, trainer={"shares": shares})
    with pytest.raises(ConfigError, match=rf"config\.yaml:\d+: trainer\.shares.*{message}"):
        load_config(path)


def test_a_vocabulary_from_elsewhere_is_refused(done: tuple[Run, dict[str, Any]], tmp_path: Any) -> None:
    """It saw rows that this run holds out."""
    config = load_config(write_run_config(tmp_path, data=DATA, model={"tasks": ["rating"]}))
    given = replace(config, vocabulary=done[0].folder / "vocabulary")
    with pytest.raises(ConfigError, match="leave `vocabulary` out"):
        train_run(given, tmp_path / "run", say=lambda _: None)
