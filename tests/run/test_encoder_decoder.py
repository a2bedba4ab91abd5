"""A run of an encoder-decoder model with every kind of task: trained, resumed, evaluated, asked and exported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from metatoken import Recommender
from metatoken.cli.app import main
from metatoken.evaluate.runner import Runner
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.model.store.export import export_model
from metatoken.model.store.standalone import Recommender as Standalone
from metatoken.predict.writer import ModelWriter
from metatoken.recommend import Question
from metatoken.run import Run, evaluate_run, load_run, train_run
from metatoken.run.config import load_config
from metatoken.tasks.task import find_task, tasks_of
from tests.files import write_run_config
from tests.model.architectures import write_backbone

TASKS = ["sequential", "direct", "rating", "explanation", "review_summary", "review_rating", "rating_text"]
DATA = {"rating": "rating", "review": "review", "summary": "summary", "explanation": "explanation"}
TINY = {"dim": 16, "layers": 1, "heads": 2, "dropout": 0.1}


class Done(NamedTuple):
    """What was trained and measured; to be read only."""

    run: Run
    said: list[str]
    metrics: dict[str, Any]


def config_of(folder: Path, **sections: Any) -> Any:
    """A small run, an epoch of which holds a few rows of each task."""
    model = {"tasks": TASKS, "max_text": 16, "lora": {"r": 4}} | sections.pop("model")
    shares = {task.name: 0.1 for task in tasks_of(model["tasks"], "rate", "write")}
    trainer = {"shares": shares} | sections.pop("trainer", {})
    path = write_run_config(folder, 50, 40, data=DATA, model=model, evaluate={"texts": 6}, trainer=trainer, **sections)
    return load_config(path)


@pytest.fixture(scope="module", params=["t5-tied", "t5-separate"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder, said = tmp_path_factory.mktemp(request.param), []
    backbone = str(write_backbone(request.param, folder / "backbone"))
    config = config_of(folder, model={"backbone": backbone, "preset": {}})
    run = train_run(config, folder / "run", say=said.append)
    return Done(run, said, evaluate_run(run))


def test_every_task_is_trained_validated_and_measured(done: Done) -> None:
    epoch = next(line for line in done.said if line.startswith("epoch 1/1"))
    for task in tasks_of(TASKS, "rank", "rate", "write"):
        assert f"{task.name}/{'ndcg@10' if task.kind == 'rank' else 'loss'}" in epoch
    rows = {(row["task"], row["template"], row["model"]): row for row in done.metrics["rows"]}
    for task, of_head in (("rating", "rating_head"), ("review_rating", "rating_head"), ("rating_text", "written")):
        for words in ("1", "unseen"):
            assert np.isfinite(rows[task, f"{task.replace('_', '-')}-{words}", of_head]["rmse"])
    for task in ("explanation", "review_summary"):
        for words in ("1", "unseen"):
            assert 0 <= rows[task, f"{task.replace('_', '-')}-{words}", "written"]["rougeL"] <= 1
    assert {("sequential", "seq-1", "item_head"), ("direct", "direct-1", "item_head")} <= set(rows)
    texts = pl.read_parquet(done.run.folder / "answers.parquet").filter(pl.col("model") == "written")["answer"]
    assert len(texts) > 0
    assert not any(re.search(r"<[a-z]_\d+>", text) or not text.strip() for text in texts)


def test_a_loaded_run_answers_the_same(done: Done) -> None:
    again = evaluate_run(load_run(done.run.folder))
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in done.metrics["rows"]]
    assert again["rows"] == rows


def test_questions_are_answered_as_in_the_evaluation(done: Done) -> None:
    run, recommender = done.run, Recommender.load(done.run.folder)
    log, runner = run.split.log, Runner(run.module, run.split, settings=EvaluateSettings(texts=4))
    held = runner.held(find_task("review_summary"))
    written = ModelWriter(run.module).write(held)
    names = [(log.users.raw[u], log.items.raw[i]) for u, i in zip(held.users, held.items, strict=True)]
    for (user, item), review, text in zip(names, held.written["review"], written, strict=True):
        assert recommender.summarize(user, item, review) == text
    user, items = names[0][0], [item for _, item in names]
    rated, told = recommender.rate(user, items), recommender.explain(user, items)
    asked = [Question(task, user, item) for item in items for task in ("rating", "explanation")]
    found = [one.answer for one in recommender.ask(asked)]
    assert found == [one for pair in zip(rated, told, strict=True) for one in pair]
    assert all(1 <= one <= 5 for one in rated)
    (within,) = recommender.ask([Question("rating", user, items[0], interval=0.8)])
    assert within.low is not None
    assert within.high is not None
    assert within.low <= within.answer <= within.high


def test_the_command_line_answers(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    user, item = done.run.split.log.users.raw[0], done.run.split.log.items.raw[1]
    recommender, said = Recommender.load(done.run.folder), {}
    for task in ("rating", "explanation"):
        with pytest.raises(SystemExit) as stopped:
            main(["answer", str(done.run.folder), task, "--user", user, "--item", item])
        assert not stopped.value.code
        said[task] = capsys.readouterr().out.strip()
    assert float(said["rating"]) == pytest.approx(recommender.rate(user, [item])[0], abs=0.01)
    assert said["explanation"].split() == recommender.explain(user, [item])[0].split()


def test_its_export_recommends_the_same(done: Done, tmp_path: Path) -> None:
    export_model(load_run(done.run.folder).module, tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text(encoding="utf-8")
    assert "about a user and an item, too (rating, explanation, review_summary, review_rating, rating_text)" in card
    raw = done.run.split.log.items.raw
    for history in ([raw[row] for row in (3, 7, 19, 4)], [raw[5]]):
        listed = Recommender.load(done.run.folder).recommend(history=history, k=5, model="generation")
        found = Standalone(tmp_path / "hf").recommend(history, 5)
        assert [one.item for one in found] == [one.item for one in listed]
        assert [one.score for one in found] == pytest.approx([one.score for one in listed], rel=1e-3)


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    model = {"backbone": "t5-preset", "preset": TINY, "lora": None}
    config = config_of(tmp_path, model=model, trainer={"max_epochs": 2})

    def interrupt(line: str) -> None:
        if line.startswith("epoch 2/2"):
            raise KeyboardInterrupt

    whole = train_run(config, tmp_path / "whole", say=lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        train_run(config, tmp_path / "part", say=interrupt)
    part = train_run(config, tmp_path / "part", resume=True, say=lambda _: None)
    weights = part.module.state_dict()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_ratings_or_texts_alone_train(tmp_path: Path) -> None:
    """A decoder that only ever reads its start, and one that reads nothing but texts."""
    for tasks in (["rating"], ["explanation"]):
        folder = tmp_path / tasks[0]
        folder.mkdir()
        model = {"tasks": tasks, "backbone": "t5-preset", "preset": TINY, "lora": None}
        rows = evaluate_run(train_run(config_of(folder, model=model), folder / "run", say=lambda _: None))["rows"]
        assert {row["task"] for row in rows} == set(tasks)
        assert all(np.isfinite(row.get("rmse", 0.0)) for row in rows)
