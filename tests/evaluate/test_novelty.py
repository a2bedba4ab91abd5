"""How the novelty of texts is chosen, and that what is chosen is what is written with, recorded and answered with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metatoken.artifacts import OWN_SUM, read_json, write_json
from metatoken.decode.settings import TextOptions
from metatoken.errors import ArtifactError
from metatoken.evaluate.novelty import CLOSE, DIVERSE, GRID, best_of, choose_novelty
from metatoken.evaluate.runner import Runner
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.evaluate.text import text_metrics
from metatoken.predict.writer import ModelWriter
from metatoken.recommend import Question
from metatoken.recommend.answerer import Answerer
from metatoken.run import evaluate_run, load_run
from metatoken.run.evaluation import chosen_novelty, read_metrics
from metatoken.run.folder import RunFolder
from metatoken.tasks.task import find_task
from tests.conftest import TrainedRun

AUTO = TextOptions(max_new_tokens=6, num_beams=3, novelty="auto")


def tried(*rows: tuple[float, float, float, float]) -> list[dict[str, float]]:
    return [dict(zip(("novelty", *CLOSE, DIVERSE), row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("rows", "novelty"),
    [
        # The most diverse of those within two hundredths of the best in both.
        ([(0.0, 0.200, 0.400, 0.1), (0.1, 0.197, 0.393, 0.2), (0.2, 0.195, 0.400, 0.3)], 0.1),
        ([(0.0, 0.200, 0.400, 0.1), (0.1, 0.200, 0.391, 0.2)], 0.0),
        # The best need not be that of no novelty.
        ([(0.0, 0.100, 0.400, 0.1), (0.1, 0.200, 0.400, 0.2)], 0.1),
        # Of equals the smallest; a measure that is 0 for all does not count.
        ([(0.0, 0.0, 0.4, 0.1), (0.1, 0.0, 0.4, 0.2), (0.2, 0.0, 0.4, 0.2)], 0.1),
        # Nothing keeps both: .9 of one is more than .8 of the other.
        ([(0.0, 0.2, 0.32, 0.1), (0.1, 0.18, 0.4, 0.2)], 0.1),
    ],
)
def test_the_most_diverse_of_the_close_ones_is_taken(rows: list[tuple[float, ...]], novelty: float) -> None:
    assert best_of(tried(*rows)) == novelty  # type: ignore[arg-type]


def test_every_novelty_has_the_texts_that_it_writes_alone(answering_run: TrainedRun) -> None:
    run = answering_run.run
    held = Runner(run.module, run.split, "validation", EvaluateSettings(texts=9)).held(find_task("explanation"))
    found = ModelWriter(run.module, options=AUTO).write_by_novelty(held, (0.1, 1.0))
    for novelty, texts in zip((0.1, 1.0), found, strict=True):
        assert texts == ModelWriter(run.module, options=replace(AUTO, novelty=novelty)).write(held)
    choice = choose_novelty(ModelWriter(run.module, options=AUTO), held)
    assert [one["novelty"] for one in choice.tried] == list(GRID)
    assert choice.tried[1]["rouge1"] == text_metrics(found[0], held.known)["rouge1"]
    assert choice.novelty == best_of(choice.tried)


def test_what_is_chosen_on_validation_is_recorded_and_answered_with(
    answering_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(answering_run.run.folder, tmp_path / "run")
    run = load_run(tmp_path / "run")
    run = replace(run, config=replace(run.config, evaluate=replace(run.config.evaluate, texts=6, writing=AUTO)))
    (tmp_path / "run" / "metrics.json").unlink()
    assert chosen_novelty(run.folder) == {}
    asked = Question("explanation", run.split.log.users.raw[0], run.split.log.items.raw[1])
    assert Answerer.of(run).options_of(find_task("explanation")).novelty == 0.0
    monkeypatch.setattr("metatoken.evaluate.novelty.best_of", lambda tried: tried[3]["novelty"])
    evaluate_run(run, unseen=False)
    writing = read_metrics(RunFolder(run.folder))["writing"]
    assert set(writing) == {"explanation", "review_summary"}
    assert writing["explanation"]["novelty"] == GRID[3]
    assert len(writing["explanation"]["tried"]) == len(GRID)
    answerer = Answerer.of(run)
    assert answerer.options_of(find_task("explanation")) == replace(AUTO, novelty=GRID[3])
    plain = Answerer(run.module, replace(AUTO, novelty=GRID[3]), seed=run.config.seed)
    pair = asked.task, [asked.user], [asked.item]
    assert answerer.answer(*pair) == plain.answer(*pair)
    # What is tried does not change how the run answers.
    tried = replace(run.config.evaluate, writing=replace(AUTO, novelty=0.0))
    document = evaluate_run(run, unseen=False, settings=tried)
    assert document["settings"]["writing"]["novelty"] == 0.0
    assert document["writing"] == read_metrics(RunFolder(run.folder))["writing"] == writing
    assert Answerer.of(run).options_of(find_task("explanation")).novelty == GRID[3]


@pytest.mark.parametrize(
    "writing", [[], {"explanation": 0.3}, *({"explanation": {"novelty": value}} for value in ("0.3", 5, None, True))]
)
def test_a_choice_that_is_none_is_refused(writing: Any, answering_run: TrainedRun, tmp_path: Path) -> None:
    """Also where no checksum says so, as in documents of older versions."""
    at = RunFolder(shutil.copytree(answering_run.run.folder, tmp_path / "run"))
    document = {name: value for name, value in read_json(at.metrics).items() if name not in ("files", OWN_SUM)}
    for chosen in (0.3, 1):
        write_json(at.metrics, document | {"writing": {"explanation": {"novelty": chosen}}})
        assert chosen_novelty(at.path) == {"explanation": chosen}
    write_json(at.metrics, document | {"writing": writing})
    with pytest.raises(ArtifactError, match=r"metrics\.json: is not what `metatoken evaluate` writes"):
        chosen_novelty(at.path)
