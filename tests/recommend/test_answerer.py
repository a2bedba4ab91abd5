"""Answers to single questions and to tables of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.decode.settings import TextOptions
from metatoken.errors import ArgumentError, DataError, UnknownIdError
from metatoken.evaluate.runner import Runner
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.predict.rater import ModelRater
from metatoken.predict.writer import ModelWriter
from metatoken.recommend import Answerer, Question
from metatoken.recommend.answerer import write_answers
from metatoken.recommend.questions import Answering
from metatoken.run import Run, evaluate_run, load_run, train_run
from metatoken.run.config import load_config
from metatoken.run.train import build
from metatoken.tasks.datamodule import TaskDataModule
from metatoken.tasks.task import find_task
from metatoken.tasks.telling import TellingWords
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


@pytest.fixture(scope="module")
def answerer(run: Run) -> Answerer:
    return Answerer.load(run.folder)


@pytest.mark.parametrize("task", TASKS)
def test_they_are_those_of_the_evaluation(run: Run, answerer: Answerer, task: str) -> None:
    """Its rows are read from the log, these from what a user gives."""
    known = find_task(task)
    held = Runner(run.module, run.split, settings=EvaluateSettings(texts=8)).held(known)
    held = held.take(np.arange(min(8, len(held))))
    log = run.split.log
    users = [log.users.raw[u] for u in held.users]
    items = [log.items.raw[i] for i in held.items]
    slots = known.templates[0].slots - {"title"}
    fields = {name: list(texts) for name, texts in held.written.items() if name in slots}
    found = answerer.answer(task, users, items, fields)
    if known.kind == "rate":
        np.testing.assert_allclose(found, ModelRater(run.module).rate(held), atol=1e-6)
    else:
        assert found == ModelWriter(run.module, options=TextOptions(max_new_tokens=16)).write(held)


def test_other_words_may_be_asked_with(run: Run, answerer: Answerer) -> None:
    log = run.split.log
    user, item = log.users.raw[0], log.items.raw[0]
    asked = {answerer.answer("rating", [user], [item], template=t.id)[0] for t in find_task("rating").templates}
    assert len(asked) >= 1
    with pytest.raises(ArgumentError, match="no template of the task"):
        answerer.answer("rating", [user], [item], template="explanation-1")


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".tsv": partial(pl.read_csv, separator="\t"),
    ".parquet": pl.read_parquet,
    ".jsonl": pl.read_ndjson,
}


def test_a_table_gets_an_answer_for_each_row(run: Run, answerer: Answerer, tmp_path: Path) -> None:
    log = run.split.log
    rows = [
        {"user": log.users.raw[u], "item": log.items.raw[u + 1], "review": f"good strings {u} &amp; more"}
        for u in range(5)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = answerer.answer_table("review_summary", path)
    users, items = [row["user"] for row in rows], [row["item"] for row in rows]
    reviews = [row["review"].replace("&amp;", "&") for row in rows]
    assert found["answer"].to_list() == answerer.answer("review_summary", users, items, {"review": reviews})
    for suffix, read in READERS.items():
        write_answers(found, tmp_path / f"out{suffix}")
        assert read(tmp_path / f"out{suffix}").height == 5
    with pytest.raises(ArgumentError, match="ends in"):
        write_answers(found, tmp_path / "out.xlsx")
    path.write_text("\n".join(json.dumps({k: row[k] for k in ("user", "item")}) for row in rows))
    with pytest.raises(DataError, match="review"):
        answerer.answer_table("review_summary", path)
    path.write_text(json.dumps({"user": "", "item": items[0], "review": "good"}))
    with pytest.raises(DataError, match=r"questions.jsonl:1: empty user id .* give each row an id, or leave it out"):
        answerer.answer_table("review_summary", path)


def test_what_cannot_be_answered_is_refused(run: Run, answerer: Answerer) -> None:
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]
    with pytest.raises(ArgumentError, match=r"not trained on 'review_text'.*it has rating"):
        answerer.answer("review_text", [user], [item])
    with pytest.raises(ArgumentError, match="needs a review"):
        answerer.answer("review_summary", [user], [item])
    with pytest.raises(ArgumentError, match="no field"):
        answerer.answer("rating", [user], [item], {"colour": ["red"]})
    with pytest.raises(ArgumentError, match=r"rating-1 does not use 'review'; no template of the task"):
        answerer.answer("rating", [user], [item], {"review": ["good"]})
    with pytest.raises(ArgumentError, match="those that use it: explanation-9"):
        answerer.answer("explanation", [user], [item], {"rating": ["5"]})
    with pytest.raises(UnknownIdError, match="nobody"):
        answerer.answer("rating", ["nobody"], [item])
    with pytest.raises(ArgumentError, match="as many as users"):
        answerer.answer("rating", [user], [])
    assert answerer.answer("rating", [], []) == []


@pytest.mark.parametrize("value", [None, 5, 4.5, b"good", ["good"], {"review": "good"}])
def test_what_is_no_text_is_refused_as_a_field(run: Run, answerer: Answerer, value: Any) -> None:
    """For tasks that need the field, and where words of a template use it alone."""
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]
    with pytest.raises(ArgumentError, match=r"fields: expected a text for 'review', got .*write an empty one"):
        answerer.answer("review_summary", [user, user], [item, item], {"review": ["good", value]})
    with pytest.raises(ArgumentError, match="fields: expected a text for 'rating'"):
        answerer.answer("explanation", [user], [item], {"rating": [value]}, template="explanation-9")


def test_a_text_is_no_list(run: Run, answerer: Answerer) -> None:
    """Its characters would be ids, or a text for each item."""
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]
    for arguments, said in (
        (("12", [item] * 2), "users: expected a list of ids of users, got '12'"),
        (([user] * 2, "12"), "items: expected a list of ids of items, got '12'"),
        (([user] * 4, [item] * 4, {"review": "good"}), "fields: expected a list of texts for 'review', got 'good'"),
    ):
        with pytest.raises(ArgumentError, match=said):
            answerer.answer("review_summary", *arguments)
    asking = Answering(answerer)
    with pytest.raises(ArgumentError, match="features: expected a list of texts, got 'how'"):
        asking.explain(user, [item] * 3, "how")
    assert asking.rate(user, iter([item])) == asking.rate(user, [item])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="questions: expected Question"):
        asking.ask([{"task": "rating"}])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="fields: expected texts by name, got the name 3"):
        asking.ask([Question("explanation", user, item, {3: "a", "title": "b"})])  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="fields: expected Mapping"):
        asking.ask([Question("explanation", user, item, ["feature"])])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"user: expected ids, which are text, got \['u'\]"):
        answerer.answer("rating", [["u"]], [item])  # type: ignore[list-item]


def test_texts_are_read_as_those_of_training(run: Run, answerer: Answerer, tmp_path: Path) -> None:
    """Without blanks around them, and ratings as the fewest digits: a table may hold 5.0, and training rows say 5."""
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]

    def written(**fields: list[str]) -> list[str]:
        pairs, _ = answerer._pairs("explanation", [user] * 5, [item] * 5, fields, "explanation-9")
        return list(pairs.written[min(fields)])

    assert written(rating=["5", "5.0", " 5.00 ", "4.5", " "]) == ["5", "5", "5", "4.5", ""]
    assert written(feature=["sound", " sound\n", "  ", "", "a b"]) == ["sound", "sound", "", "", "a b"]
    path = tmp_path / "questions.parquet"
    pl.DataFrame({"user": [user], "item": [item], "rating": [5.0]}).write_parquet(path)
    found = answerer.answer_table("explanation", path, template="explanation-9")["answer"].to_list()
    assert found == answerer.answer("explanation", [user], [item], {"rating": ["5"]}, template="explanation-9")
    for value in ("good", "nan", "inf", "4,5"):
        with pytest.raises(ArgumentError, match=rf"fields: expected a number such as 4.5 for 'rating', got '{value}'"):
            answerer.answer("explanation", [user], [item], {"rating": [value]}, template="explanation-9")


def test_texts_fit_into_the_backbone(run: Run) -> None:
    """The longest question, however long its feature, leaves the positions for the longest text that is allowed."""
    log, positions = run.split.log, run.module.network.backbone.max_positions
    user, item = log.users.raw[0], log.items.raw[0]
    with pytest.raises(
        ArgumentError, match=rf"max_new_tokens: expected at most (\d+), what .*{positions} pos.*got 150"
    ):
        Answerer(run.module, TextOptions(max_new_tokens=150)).answer("explanation", [user], [item])
    with pytest.raises(ArgumentError, match=r"max_new_tokens: expected at most") as refused:
        ModelWriter(run.module, options=TextOptions(max_new_tokens=positions))
    most = int(str(refused.value).split("at most ")[1].split(",")[0])
    whole = TextOptions(max_new_tokens=most, min_new_tokens=most)
    for options in (whole, replace(whole, num_beams=2, novelty=0.5)):
        (text,) = Answerer(run.module, options).answer("explanation", [user], [item], {"feature": ["sound " * 200]})
        assert isinstance(text, str)
    config = replace(run.config, evaluate=EvaluateSettings(writing=TextOptions(max_new_tokens=positions)))
    with pytest.raises(ArgumentError, match=r"evaluate\.writing\.max_new_tokens: expected at most"):
        build(config, run.split, run.module.vocabulary)


def test_half_of_a_character_is_refused(run: Run, answerer: Answerer) -> None:
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]
    with pytest.raises(ArgumentError, match=r"the review has half of a character .* at place 5"):
        answerer.answer("review_summary", [user], [item], {"review": ["good \ud83d"]})
    whole, ends = answerer.answer("review_summary", [user] * 2, [item] * 2, {"review": ["good \U0001f600", "good\0"]})
    assert isinstance(whole, str)
    assert isinstance(ends, str)


def test_written_ratings_are_scored_as_numbers_beside_the_same_baselines(run: Run) -> None:
    rows: list[dict[str, Any]] = evaluate_run(run)["rows"]
    found = {
        row["model"]: row for row in rows if row["task"] == "rating_text" and row["template"] != "rating-text-unseen"
    }
    assert {"written", "global_mean", "biases", "matrix_factorization"} <= set(found)
    assert 0 <= found["written"]["no_number"] <= 1
    assert np.isfinite(found["written"]["rmse"])
    assert "bleu4" not in found["written"]


def test_intervals_lie_around_ratings(run: Run, answerer: Answerer, tmp_path: Path) -> None:
    log = run.split.log
    users, items = list(log.users.raw[:6]), list(log.items.raw[:6])
    found = answerer.rate_within("rating", users, items, 0.8)
    wide = answerer.rate_within("rating", users, items, 0.99)
    assert [rated for rated, _, _ in found] == answerer.answer("rating", users, items)
    assert all(low <= rated <= high for rated, low, high in found)
    assert all(a[1] <= b[1] and b[2] <= a[2] for a, b in zip(wide, found, strict=True))
    pl.DataFrame({"user": users, "item": items}).write_csv(tmp_path / "asked.csv")
    table = answerer.answer_table("rating", tmp_path / "asked.csv", interval=0.8)
    assert table.columns == ["user", "item", "answer", "low", "high"]
    assert table["low"].to_list() == [low for _, low, _ in found]
    assert answerer.rate_within("rating", [], [], 0.8) == []
    with pytest.raises(ArgumentError, match="'explanation' writes"):
        answerer.rate_within("explanation", users, items, 0.8)
    with pytest.raises(ArgumentError, match=r"e\.g\. 0\.8; got 80"):
        answerer.rate_within("rating", users, items, 80)


@pytest.mark.parametrize("level", [0, 1, 10**400, float("nan"), "0.8", [0.8]])
def test_what_is_no_level_is_refused(level: Any, run: Run, answerer: Answerer) -> None:
    user, item = run.split.log.users.raw[0], run.split.log.items.raw[0]
    with pytest.raises(ArgumentError, match="interval: expected a share above 0 and below 1"):
        answerer.rate_within("rating", [user], [item], level)


def test_a_run_of_an_older_version_has_no_intervals(run: Run) -> None:
    ratings = run.module.ratings
    assert ratings is not None
    older = replace(ratings, collaborative=None, errors=None)
    rater = ModelRater(run.module)
    rater.base = older
    held = Runner(run.module, run.split).held(find_task("rating"))
    with pytest.raises(ArgumentError, match="knew no intervals; train it again"):
        rater.interval(held, 0.8, rater.rate(held))


def test_words_stand_in_for_a_feature_that_is_not_given(run: Run) -> None:
    """As if they had been given; a feature of the question goes before them, an empty one, too."""
    assert Answerer.of(run).telling is None
    telling = TellingWords.fit(run.split.train, 3)
    assert telling is not None
    users, items = run.split.log.users.raw[:4], run.split.log.items.raw[:4]
    about = telling.about(np.arange(4), np.arange(4))
    assert all(len(words.split(", ")) >= 3 for words in about)
    plain, told = Answerer(run.module), Answerer(run.module, telling=telling)
    pair = "explanation", list(users), list(items)
    asked = told._pairs(*pair, {}, None)[0]
    assert asked.written["feature"] == tuple(about)
    assert told.answer(*pair) == plain.answer(*pair, {"feature": about})
    assert told._pairs(*pair, {"feature": [""] * 4}, None)[0].written["feature"] == ("",) * 4
    assert told.answer(*pair, {"feature": [""] * 4}) == plain.answer(*pair)
    asked_of = replace(run, module=with_words(run.module, 3))
    try:
        assert Answerer.of(asked_of).telling is not None
        held = Runner(run.module, run.split, settings=EvaluateSettings(texts=8)).held(find_task("explanation"))
        assert held.written["feature"] == tuple(telling.about(held.users, held.items))
        data = TaskDataModule(run.split, run.module.vocabulary, tasks=("explanation",))
        data.connect(run.module.reader)
        rows = data.pair_rows(find_task("explanation"), "train").pairs
        assert rows.written["feature"] == tuple(telling.about(rows.users, rows.items))
    finally:
        with_words(run.module, 0)


def with_words(module: Any, n: int) -> Any:
    """The module itself with another setting."""
    module.settings = replace(module.settings, feature_words=n)
    return module
