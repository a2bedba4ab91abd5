"""What is measured after each epoch is what is served, and the prompts are read once for all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from metatoken.evaluate.ranking import ranking_metrics
from metatoken.predict.choice import STEPS
from metatoken.predict.fusion import Fusion
from metatoken.predict.prior import Prior
from metatoken.predict.ranker import Reading
from metatoken.run import train_run
from metatoken.run import validation as measures
from metatoken.run.config import load_config
from metatoken.run.record import TrainingRecord
from metatoken.run.validation import LOSS, SERVED, ServedList, watched
from metatoken.tasks.datamodule import TaskDataModule
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task
from tests.files import write_run_config


def validate(module: Any, split: Any, served: ServedList, times: int = 1) -> list[dict[str, float]]:
    data = TaskDataModule(split, module.vocabulary, tasks=module.tasks, validation_users=None)
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[served],
    )  # fmt: skip
    return [trainer.validate(module, data, verbose=False)[0] for _ in range(times)]


def served_ndcg(module: Any, split: Any) -> float:
    """The best fusion of the served lists of all validation users, as evaluation makes and scores them."""
    prior, history, targets = Prior.chosen(split), split.history("validation"), split.validation
    template = find_task("sequential").templates[0]
    data = EvaluationBatches(module.reader, template, targets.users, targets.items, history, batch_size=64)
    found = []
    for n in range(STEPS + 1):
        fusion, lists = Fusion((STEPS - n) / STEPS, 0.0, n / STEPS), []
        for one in data:
            reading = Reading(module.network, one.batch, one.seen)
            lists.append(reading.fused(fusion, prior.scores(history, one.users), 10)[0])
        found.append(ranking_metrics(np.concatenate(lists), targets.items, split.log.n_items)["ndcg@10"])
    return max(found)


@pytest.mark.parametrize("room", [0, 1 << 28], ids=["computed anew", "kept"])
def test_the_served_list_is_what_evaluation_scores(
    room: int, make_module: Any, split: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "ROOM", room)
    monkeypatch.setattr("metatoken.tasks.datamodule.VALIDATION_BATCH", 64)
    module = make_module()
    with torch.no_grad():
        expected = served_ndcg(module, split)
    first, second = validate(module, split, ServedList(split), times=2)
    assert first["val/served/ndcg@10"] == second["val/served/ndcg@10"] == pytest.approx(expected, abs=1e-5)
    assert first["val/served/ndcg@10"] > first["val/sequential/ndcg@10"]


def test_prompts_are_read_once(make_module: Any, split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, read = make_module(), []
    start = module.network.start
    monkeypatch.setattr(module.network, "start", lambda batch: read.append(len(batch.input_ids)) or start(batch))
    validate(module, split, ServedList(split))
    assert sum(read) == len(module.tasks) * len(split.validation.users)


def test_what_is_watched(split: Any) -> None:
    assert watched(["direct", "sequential"], split)[:2] == (SERVED, "val/sequential/ndcg@10")
    assert watched(["rating", "direct"], split) == ("val/direct/ndcg@10", "val/direct/ndcg@10", [])
    assert watched(["rating"], split)[:2] == (LOSS, LOSS)


def test_a_run_that_only_rates_and_writes_watches_its_mean_loss(tmp_path: Path) -> None:
    columns = {name: name for name in ("rating", "review", "summary", "explanation")}
    yaml = write_run_config(
        tmp_path, data=columns, model={"tasks": ["rating", "review_summary"], "max_text": 16},
        trainer={"max_epochs": 2, "validation_users": 40}, evaluate={"texts": 4},
    )  # fmt: skip
    lines: list[str] = []
    run = train_run(load_config(yaml), tmp_path / "run", say=lines.append)
    found = TrainingRecord.load(run.folder / "training.json")
    assert found.monitor == found.also == LOSS
    assert found.kept_value == min(one.value for one in found.values)
    shown = [dict(part.rsplit(" ", 1) for part in line.partition(": ")[2].split(" (")[0].split(", ")) for line in lines
             if line.startswith("epoch ")]  # fmt: skip
    for epoch, one in zip(shown, found.values, strict=True):
        mean = (float(epoch["rating/loss"]) + float(epoch["review_summary/loss"])) / 2
        assert one.value == pytest.approx(mean, abs=1e-4)


def test_a_run_without_held_out_users_keeps_the_last_epoch(tmp_path: Path) -> None:
    yaml = write_run_config(tmp_path, trainer={"max_epochs": 2, "validation_users": 0})
    run = train_run(load_config(yaml), tmp_path / "run", say=lambda _: None)
    found = TrainingRecord.load(run.folder / "training.json")
    assert (found.kept_epoch, found.kept_value, found.values) == (2, None, ())
    assert [file.name for file in (run.folder / "checkpoints").iterdir()] == ["last.ckpt"]
