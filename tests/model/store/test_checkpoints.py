from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from metatoken import TaskDataModule
from metatoken.errors import ConfigError, DivergedError
from metatoken.model.objective import TargetScores, loss_parts
from metatoken.model.settings import Weights
from metatoken.model.store.checkpointing import AtomicCheckpointIO
from metatoken.model.store.checkpoints import (
    check_weights,
    owner_of,
    random_state,
    set_random_state,
)


class StopError(Exception):
    pass


class StopAt(L.Callback):
    """Saves at one batch and stops at a later one; draws from every generator, as callbacks of users may."""

    def __init__(self, path: Path | None = None, save: int = -1, stop: int = -1) -> None:
        self.path, self.save, self.stop, self.seen = path, save, stop, 0
        self.draws: list[tuple[float, ...]] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        at = trainer.fit_loop.epoch_loop.total_batch_idx
        self.draws.append((random.random(), float(np.random.rand()), float(torch.rand(1))))  # noqa: NPY002, S311
        if at == self.save and self.path is not None:
            trainer.save_checkpoint(self.path)
        if at == self.stop:
            raise StopError


def fit(
    module: Any, split: Any, *callbacks: L.Callback, resume: Path | None = None, batch_size: int = 32, **options: Any
) -> L.Trainer:
    data = TaskDataModule(split, module.vocabulary, tasks=module.tasks, batch_size=batch_size, validation_users=40)
    options = {"max_epochs": 2, "gradient_clip_val": 1.0} | options
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()], **options,
    )  # fmt: skip
    random.seed(0 if resume is None else 1)
    np.random.seed(0 if resume is None else 1)  # noqa: NPY002
    trainer.fit(module, data, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return trainer


def same(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"val_check_interval": 2}], ids=str)
@pytest.mark.parametrize("save", [3, 9])
def test_a_resumed_fit_ends_like_an_uninterrupted_one(
    make_module: Any, split: Any, tmp_path: Path, options: dict[str, Any], save: int
) -> None:
    """Stopped within the first epoch or the second, in a trainer of one's own with callbacks that draw numbers."""
    whole = make_module().train()
    seen = StopAt()
    fit(whole, split, seen, **options)
    part = make_module().train()
    with pytest.raises(StopError):
        fit(part, split, StopAt(tmp_path / "a.ckpt", save, save + 2), **options)
    assert not same(part, whole)
    resumed, rest = make_module().train(), StopAt()
    for parameter in resumed.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter.data)  # all must come from the checkpoint
    fit(resumed, split, rest, resume=tmp_path / "a.ckpt", **options)
    assert same(resumed, whole)
    assert rest.draws == seen.draws[save + 1 :]


def test_gradient_accumulation_changes_nothing(make_module: Any, split: Any) -> None:
    still = {"preset": {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.0}}
    once, twice = make_module(**still).train(), make_module(**still).train()
    first = fit(once, split, limit_val_batches=0)
    second = fit(twice, split, limit_val_batches=0, accumulate_grad_batches=2)
    assert first.global_step == second.global_step
    assert first.num_training_batches * 2 == second.num_training_batches
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_parts_of_a_loss_average_to_the_loss_of_the_whole() -> None:
    rng = torch.Generator().manual_seed(0)
    values = -torch.rand(4, 10, generator=rng)
    scores = TargetScores(values[0], [values[1], values[2]], values[3])
    whole = loss_parts(scores, Weights())
    assert float(whole["item"]) == pytest.approx(-float(values[0].mean()))
    parts = [
        loss_parts(TargetScores(v[0], [v[1], v[2]], v[3]), Weights(), torch.tensor([10 / 3, 1.0, 1.0, 10 / 3]))
        for v in (values[:, :2], values[:, 2:9], values[:, 9:])
    ]
    for name, value in whole.items():
        assert float(sum(p[name] for p in parts)) / 3 == pytest.approx(float(value), rel=1e-5)


def test_a_frozen_backbone_is_not_saved(make_module: Any, split: Any, tmp_path: Path) -> None:
    module = make_module().train()
    for parameter in module.network.backbone.parameters():
        parameter.requires_grad_(requires_grad=False)
    fit(module, split, limit_train_batches=1, limit_val_batches=0).save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert not [name for name in checkpoint["state_dict"] if "backbone" in name]
    assert set(checkpoint["state_dict"]) == {n for n, p in module.named_parameters() if p.requires_grad}
    assert {"optimizer_states", "lr_schedulers", "loops", "random_state"} <= set(checkpoint)


def test_every_weight_is_checked(make_module: Any) -> None:
    module = make_module()
    weights = {name: p for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    check_weights(module, weights)
    less = {k: v for k, v in weights.items() if k != "network.items.residual"}
    with pytest.raises(ConfigError, match=r"1 weights are missing \(network\.items\.residual\)"):
        check_weights(module, less)
    with pytest.raises(ConfigError, match=r"1 weights are unknown \(network\.odd\)"):
        check_weights(module, weights | {"network.odd": torch.zeros(1)})
    with pytest.raises(ConfigError, match=r"network\.items\.residual has shape \[3\]"):
        check_weights(module, weights | {"network.items.residual": torch.zeros(3)})


def test_random_state_goes_through_a_file(tmp_path: Path) -> None:
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    np.random.standard_normal()  # noqa: NPY002 - leaves a second draw in the state
    random.gauss(0, 1)
    torch.save(random_state(), tmp_path / "state")
    draws = [(random.gauss(0, 1), np.random.standard_normal(), float(torch.rand(1))) for _ in range(3)]  # noqa: NPY002
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    again = [(random.gauss(0, 1), np.random.standard_normal(), float(torch.rand(1))) for _ in range(3)]  # noqa: NPY002
    assert again == draws


# One interpreter imports everything and parts into a process for each moment.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from metatoken.model.store.checkpointing import AtomicCheckpointIO

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(value, file):
    file.write(b"PK half of it")
    file.flush()
    die()

def save(moment):
    io, path = AtomicCheckpointIO(), Path(sys.argv[1], moment, "last.ckpt")
    io.save_checkpoint({"weights": torch.zeros(1000)}, path)
    if moment == "while writing":
        torch.save = half
    else:
        Path.replace = die
    io.save_checkpoint({"weights": torch.ones(1000)}, path)

for moment in ("while writing", "before the rename"):
    child = os.fork()
    if child == 0:
        save(moment)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, moment
"""


def test_a_kill_while_saving_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=True, timeout=300)
    for moment in ("while writing", "before the rename"):
        path = tmp_path / moment / "last.ckpt"
        assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.zeros(1000))
        AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(1000)}, path)
        assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.ones(1000))
        assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_never_saved(bad: float, tmp_path: Path) -> None:
    path, io = tmp_path / "last.ckpt", AtomicCheckpointIO(lambda: "mine")
    io.save_checkpoint({"state_dict": {"w": torch.zeros(3)}, "epoch": 0, "global_step": 4}, path)
    broken = {"w": torch.tensor([1.0, bad, 2.0])}
    with pytest.raises(DivergedError, match=r"w holds values that are no numbers in epoch 2, step 8; .*learning_rate"):
        io.save_checkpoint({"state_dict": broken, "epoch": 1, "global_step": 8}, path)
    assert torch.equal(torch.load(path, weights_only=True)["state_dict"]["w"], torch.zeros(3))
    assert owner_of(path) == "mine"


def test_fsdp_clips_by_the_norm_over_all_shards(make_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path alone, on a stand-in for the trainer: FSDP itself needs CUDA."""
    from types import SimpleNamespace

    from lightning.pytorch.strategies import FSDPStrategy

    module, clipped = make_module(), []
    wrapped = SimpleNamespace(clip_grad_norm_=clipped.append)
    trainer = SimpleNamespace(strategy=FSDPStrategy(), model=wrapped)
    monkeypatch.setattr(type(module), "trainer", trainer)
    module.configure_gradient_clipping(None, 0.5, "norm")
    assert clipped == [0.5]
    assert trainer.strategy.kwargs["use_orig_params"] is True
