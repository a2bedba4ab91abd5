"""A new task of each kind is one template file, and one class where it ranks; nothing else knows its name."""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from metatoken.recommend import Answerer
from metatoken.run import evaluate_run, load_config, load_run, train_run
from metatoken.tasks import ranking, task
from tests.files import write_run_config

TEMPLATES = {
    # An item that would please a user together with what they took first: reads a part of the history.
    "opening": {"kind": "rank", "templates": [("opening-1", True, "[{user} began with ]these; then:")]},
    "mood": {"kind": "rate", "column": "rating", "templates": [("mood-1", True, "The mood of {user} with {item}:")]},
    "blurb": {
        "kind": "write",
        "column": "explanation",
        "source": "summary",
        "templates": [("blurb-1", True, "{user} {item} {summary}:"), ("blurb-unseen", False, "On {item} {summary}:")],
    },
}


class OpeningRows(ranking.SequentialRows):
    """The class that a new task that ranks adds to `metatoken.tasks.ranking`: its history ends after three items."""

    def _windows(self) -> list[tuple[int, int, int]]:
        return [(user, min(end, 3), min(end, 3) - 1) for user, end, _ in super()._windows()]


@pytest.fixture
def new_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The packaged templates with three more files, and the class of the one that ranks."""
    folder = shutil.copytree(
        Path(str(importlib.resources.files("metatoken.tasks"))) / "templates", tmp_path / "templates"
    )
    for name, described in TEMPLATES.items():
        entries = [{"id": i, "seen": seen, "text": text} for i, seen, text in described["templates"]]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(described | {"templates": entries}))
    monkeypatch.setattr(task, "resources", SimpleNamespace(files=lambda _: tmp_path))
    monkeypatch.setitem(ranking.RANKING, "opening", OpeningRows)
    task.known_tasks.cache_clear()
    yield
    monkeypatch.undo()
    task.known_tasks.cache_clear()


@pytest.mark.usefixtures("new_tasks")
def test_new_tasks_train_validate_evaluate_and_answer(tmp_path: Path) -> None:
    columns = {name: name for name in ("rating", "summary", "explanation")}
    model = {"tasks": ["sequential", *TEMPLATES], "max_text": 12}
    config = load_config(write_run_config(tmp_path, data=columns, model=model, evaluate={"texts": 5}))
    said: list[str] = []
    train_run(config, tmp_path / "run", say=said.append)
    epoch = next(line for line in said if line.startswith("epoch 1/1"))
    assert all(name in epoch for name in ("opening/ndcg@10", "mood/loss", "blurb/loss"))
    run = load_run(tmp_path / "run")
    rows: list[dict[str, Any]] = evaluate_run(run)["rows"]
    found = {(row["task"], row["template"], row["model"]) for row in rows}
    assert {("opening", "opening-1", "fused"), ("opening", "-", "transition_graph")} <= found
    assert {("mood", "mood-1", "rating_head"), ("mood", "-", "biases")} <= found
    assert {("blurb", "blurb-unseen", "written"), ("blurb", "-", "nearest_text")} <= found
    log = run.split.log
    answerer = Answerer.load(tmp_path / "run")
    (rating,) = answerer.answer("mood", [log.users.raw[0]], [log.items.raw[0]])
    assert isinstance(rating, float)
    (text,) = answerer.answer("blurb", [log.users.raw[0]], [log.items.raw[0]], {"summary": ["fine"]})
    assert isinstance(text, str)
