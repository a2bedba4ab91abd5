"""Answers to single questions and to tables of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.config import load_config
from metatoken.decode.settings import TextOptions
from metatoken.errors import ArgumentError, DataError, UnknownIdError
from metatoken.evaluate.answers import AnswerRunner, number_in
from metatoken.recommend.answers import answer, answer_table, write_answers
from metatoken.run.train import Run, evaluate_run, load_run, train_run
from metatoken.tasks.families import families
from tests.files import write_run_config

TASKS = ["rating", "rating_text", "explanation", "review_summary"]
DATA = {"rating": "rating", "review": "review", "summary": "summary", "explanation": "explanation"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("answers")
    model = {"tasks": TASKS, "max_text": 16}
    config = load_config(write_run_config(folder, data=DATA, model=model, evaluate={"texts": 12}))
    train_run(config, folder / "run", say=lambda _: None)
    return load_run(folder / "run")


@pytest.mark.parametrize("task", TASKS)
def test_they_are_those_of_the_evaluation(run: Run, task: str) -> None:
    """Its rows are read from the log, these from what a user gives."""
    family = families()[task]
    options = {"max_new_tokens": 16}
    runner = AnswerRunner(run.module, run.answers, limit=8, options=TextOptions(**options))
    held = runner._held(family)
    held = held.take(np.arange(min(8, len(held))))
    log = run.split.log
    users = [log.users.raw[u] for u in held.users]
    items = [log.items.raw[i] for i in held.items]
    question = family.questions[0]
    fields = {name: list(texts) for name, texts in held.written.items() if name in question.slots - {"title"}}
    found = answer(run, task, users, items, fields)
    if family.answer == "rating":
        np.testing.assert_allclose(found, runner.predict(held, question), atol=1e-6)
    else:
        assert found == runner.write(held, question)


def test_other_words_may_be_asked_with(run: Run) -> None:
    log = run.split.log
    user, item = log.users.raw[0], log.items.raw[0]
    asked = {answer(run, "rating", [user], [item], question=q.id)[0] for q in families()["rating"].questions}
    assert len(asked) >= 1
    with pytest.raises(ArgumentError, match="no question of the task"):
        answer(run, "rating", [user], [item], question="explanation-1")


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".tsv": partial(pl.read_csv, separator="\t"),
    ".parquet": pl.read_parquet,
    ".jsonl": pl.read_ndjson,
}


def test_a_table_gets_an_answer_a_row(run: Run, tmp_path: Path) -> None:
    log = run.split.log
    rows = [
        {"user": log.users.raw[u], "item": log.items.raw[u + 1], "review": f"good strings {u} &amp; more"}
        for u in range(5)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = answer_table(run, "review_summary", path)
    users, items = [row["user"] for row in rows], [row["item"] for row in rows]
    reviews = [row["review"].replace("&amp;", "&") for row in rows]
    assert found["answer"].to_list() == answer(run, "review_summary", users, items, {"review": reviews})
    for suffix, read in READERS.items():
        write_answers(found, tmp_path / f"out{suffix}")
        assert read(tmp_path / f"out{suffix}").height == 5
    with pytest.raises(ArgumentError, match="ends in"):
        write_answers(found, tmp_path / "out.xlsx")
    path.write_text("\n".join(json.dumps({k: row[k] for k in ("user", "item")}) for row in rows))
    with pytest.raises(DataError, match="review"):
        answer_table(run, "review_summary", path)


def test_what_cannot_be_answered_is_refused(run: Run) -> None:
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]
    with pytest.raises(ArgumentError, match=r"not trained on 'review_text'.*it has rating"):
        answer(run, "review_text", [user], [item])
    with pytest.raises(ArgumentError, match="needs a review"):
        answer(run, "review_summary", [user], [item])
    with pytest.raises(ArgumentError, match="no field"):
        answer(run, "rating", [user], [item], {"colour": ["red"]})
    with pytest.raises(ArgumentError, match=r"rating-1 does not use 'review'; no question of the task"):
        answer(run, "rating", [user], [item], {"review": ["good"]})
    with pytest.raises(ArgumentError, match="those that use it: explanation-9"):
        answer(run, "explanation", [user], [item], {"rating": ["5"]})
    with pytest.raises(UnknownIdError, match="nobody"):
        answer(run, "rating", ["nobody"], [item])
    with pytest.raises(ArgumentError, match="as many as users"):
        answer(run, "rating", [user], [])
    assert answer(run, "rating", [], []) == []


def test_written_ratings_are_scored_as_numbers_beside_the_same_baselines(run: Run) -> None:
    rows: list[dict[str, Any]] = evaluate_run(run)["rows"]
    found = {
        row["model"]: row for row in rows if row["task"] == "rating_text" and row["template"] != "rating-text-unseen"
    }
    assert {"written", "global_mean", "biases", "matrix_factorization"} <= set(found)
    assert 0 <= found["written"]["no_number"] <= 1
    assert np.isfinite(found["written"]["rmse"])
    assert "bleu4" not in found["written"]


@pytest.mark.parametrize(
    ("text", "number"), [("4", 4.0), ("about 3.5 of 5", 3.5), ("5.", 5.0), ("", None), ("good", None)]
)
def test_the_first_number_counts(text: str, number: float | None) -> None:
    assert np.isnan(number_in(text)) if number is None else number_in(text) == number
