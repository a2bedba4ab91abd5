"""The moving average of the weights: what it is, where it is used, and that an interruption does not change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from metatoken.model.averaging import WeightAverage
from metatoken.model.store.checkpointing import AtomicCheckpointIO, StepCheckpoints
from metatoken.run import train_run
from metatoken.run.best import BestEpoch
from metatoken.run.config import load_config
from metatoken.tasks.datamodule import TaskDataModule
from tests.files import write_run_config

DECAY = 0.9
Weights = dict[str, torch.Tensor]


def trainable(module: Any) -> Weights:
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class Spy(L.Callback):
    """Averages slowly, and looks at the weights in validation and where checkpoints are made."""

    def __init__(self) -> None:
        self.average: Weights = {}
        self.validated: list[bool] = []
        self.raw: list[bool] = []
        self.step = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self.average = trainable(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step > self.step:
            decay = min(DECAY, (1 + self.step) / (10 + self.step))
            self.step += 1
            for name, value in trainable(pl_module).items():
                self.average[name] = decay * self.average[name] + (1 - decay) * value

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ARG002
        found = trainable(pl_module)
        near = [torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in self.average.items()]
        self.validated.append(all(near))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        found = trainable(pl_module)
        near = [torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in self.average.items()]
        self.raw.append(not all(near))


def fit(module: Any, split: Any, *callbacks: L.Callback, resume: Path | None = None, **options: Any) -> L.Trainer:
    data = TaskDataModule(split, module.vocabulary, tasks=module.tasks, batch_size=32, validation_users=20)
    trainer = L.Trainer(**{
        "max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
        "callbacks": list(callbacks), "plugins": [AtomicCheckpointIO()],
    } | options)  # fmt: skip
    trainer.fit(module, data, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_is_a_moving_average_that_validation_and_the_model_use(
    accumulate: int, make_module: Any, split: Any
) -> None:
    module, average, spy = make_module().train(), WeightAverage(DECAY), Spy()
    trainer = fit(module, split, average, spy, accumulate_grad_batches=accumulate)
    assert average.steps == trainer.global_step == spy.step
    found = trainable(module)
    for name, value in spy.average.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    assert spy.validated
    assert all(spy.validated)
    assert all(spy.raw)  # outside of validation the weights themselves are there, which checkpoints hold


def test_training_itself_is_as_without_it(make_module: Any, split: Any, tmp_path: Path) -> None:
    """A checkpoint holds the weights themselves: resumed without an average it ends as if there had been none."""
    plain, module, resumed = (make_module().train() for _ in range(3))
    fit(plain, split)
    fit(module, split, WeightAverage(DECAY), StepCheckpoints(tmp_path / "a.ckpt", 1))
    held = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert held["callbacks"]["WeightAverage"]["average"].keys() == trainable(module).keys()
    fit(resumed, split, resume=tmp_path / "a.ckpt")
    assert same(trainable(plain), trainable(resumed))
    assert not same(trainable(plain), trainable(module))


class StopError(Exception):
    pass


class StopAt(L.Callback):
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 11:
            raise StopError


@pytest.mark.parametrize("saver_first", [True, False])
def test_a_resumed_fit_has_the_same_average(saver_first: bool, make_module: Any, split: Any, tmp_path: Path) -> None:
    """Whichever of the callbacks comes first: a checkpoint of a step has the average of that step."""
    whole, part, resumed = (make_module().train() for _ in range(3))
    fit(whole, split, WeightAverage(DECAY))
    saver = StepCheckpoints(tmp_path / "a.ckpt", 3)
    callbacks = [saver, WeightAverage(DECAY)] if saver_first else [WeightAverage(DECAY), saver]
    with pytest.raises(StopError):
        fit(part, split, *callbacks, StopAt())
    fit(resumed, split, WeightAverage(DECAY), resume=tmp_path / "a.ckpt")
    assert same(trainable(whole), trainable(resumed))


def test_a_finished_fit_that_is_resumed_has_the_average(make_module: Any, split: Any, tmp_path: Path) -> None:
    module, again = make_module().train(), make_module().train()
    last = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    fit(module, split, WeightAverage(DECAY), last, enable_checkpointing=True)
    fit(again, split, WeightAverage(DECAY), resume=tmp_path / "last.ckpt")
    assert same(trainable(module), trainable(again))


def test_a_frozen_backbone_is_not_averaged(make_module: Any, split: Any) -> None:
    module, average = make_module().train(), WeightAverage(DECAY)
    for parameter in module.network.backbone.parameters():
        parameter.requires_grad_(requires_grad=False)
    fit(module, split, average, limit_train_batches=2)
    assert average.average
    assert not [name for name in average.average if "backbone" in name]


@pytest.mark.parametrize("average_first", [True, False])
def test_the_best_epoch_has_the_average(average_first: bool, make_module: Any, split: Any, tmp_path: Path) -> None:
    module, spy = make_module().train(), Spy()
    best = BestEpoch("val/sequential/ndcg@10", tmp_path / "best.ckpt", patience=9)
    average = WeightAverage(DECAY)
    fit(module, split, *([average, best] if average_first else [best, average]), spy, max_epochs=1)
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in spy.average.items():
        torch.testing.assert_close(kept[name], value, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, kept[name]) for name, value in trainable(module).items())


def test_a_run_that_is_interrupted_ends_with_the_same_average(tmp_path: Path) -> None:
    trainer = {"max_epochs": 4, "batch_size": 16, "ema": DECAY, "patience": 2, "checkpoint_every_steps": 2}
    config = load_config(write_run_config(tmp_path, n_users=60, trainer=trainer))
    plain = load_config(tmp_path / "config.yaml", ["trainer.ema=null"])

    def interrupt(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise RuntimeError

    whole = train_run(config, tmp_path / "whole", say=lambda _: None)
    with pytest.raises(RuntimeError):
        train_run(config, tmp_path / "part", say=interrupt)
    part = train_run(config, tmp_path / "part", resume=True, say=lambda _: None)
    other = train_run(plain, tmp_path / "plain", say=lambda _: None)
    for name in ("model/weights.safetensors", "training.json", "fusion.json"):
        assert (part.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert not same(trainable(whole.module), trainable(other.module))
