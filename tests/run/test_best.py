"""The best epoch is kept, whatever stops a run: patience, an error, a kill at the worst moment."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metatoken.errors import ArgumentError, ArtifactError, DivergedError
from metatoken.model.store.checkpointing import AtomicCheckpointIO
from metatoken.run import Run, train_run
from metatoken.run.best import BestEpoch, Course
from metatoken.run.config import load_config
from metatoken.run.record import TrainingRecord, Validated
from metatoken.run.trainer import make_trainer
from metatoken.tasks.datamodule import TaskDataModule
from tests.files import flip_byte, write_run_config

PAIRS = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from([1.0, 2.0, 3.0])), max_size=12)


@given(PAIRS, st.sampled_from([1, -1]), st.integers(0, 3))
def test_a_course_equals_a_slow_walk(pairs: list[tuple[float, float]], sign: int, since: int) -> None:
    values = [Validated(n + 1, 10 * n, *pair) for n, pair in enumerate(pairs)]
    course = Course(sign, values, min(since, len(values)))
    best, waited, seen = None, 0, []
    for one in values[since:]:
        value, also = sign * one.value, sign * one.also
        if best is None or value + also > sign * (best.value + best.also):
            best = one
        better = all(value > other for other, _ in seen) or all(also > other for _, other in seen)
        waited = 0 if better else waited + 1
        seen.append((value, also))
    assert course.best is best
    assert course.waited == waited


def test_a_loss_is_the_better_the_smaller() -> None:
    assert BestEpoch("val/loss").course.sign == -1
    assert BestEpoch("val/served/ndcg@10").course.sign == 1


def write_config(folder: Path, **trainer: Any) -> Path:
    """A run whose best epoch is not the last, and whose list is carried by the graph."""
    trainer = {"max_epochs": 40, "batch_size": 16, "patience": 3, "checkpoint_every_steps": 2} | trainer
    model = {"schedule": "constant", "learning_rate": 3e-2}
    return write_run_config(folder, n_users=60, trainer=trainer, model=model)


def train(yaml: Path, out: Path, *overrides: str, **options: Any) -> Run:
    return train_run(load_config(yaml, list(overrides)), out, **({"say": lambda _: None} | options))


@pytest.fixture(scope="module")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("best"))


@pytest.fixture(scope="module")
def whole(yaml: Path) -> Run:
    """The run that nothing interrupts; it stops early."""
    return train(yaml, yaml.parent / "whole")


def record(run: Path) -> TrainingRecord:
    return TrainingRecord.load(run / "training.json")


def assert_same(one: Path, other: Path) -> None:
    """Two runs ended alike, byte for byte."""
    for name in ("training.json", "fusion.json", "model/weights.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    weights = [torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for run in (one, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert {file.name for file in (other / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_it_stops_and_keeps_the_best(whole: Run) -> None:
    found = record(whole.folder)
    assert found.kept_epoch < found.epochs < found.max_epochs == 40
    kept = next(one for one in found.values if one.epoch == found.kept_epoch)
    assert found.kept_value == kept.value
    assert kept.value + kept.also == max(one.value + one.also for one in found.values)
    assert [one.epoch for one in found.values] == list(range(1, found.epochs + 1))
    best, last = (
        torch.load(whole.folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    )
    assert (best["epoch"] + 1, best["global_step"]) == (found.kept_epoch, found.kept_step)
    weights = whole.module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in best["state_dict"].items())
    assert not all(torch.equal(value, weights[name]) for name, value in last["state_dict"].items())
    assert "optimizer_states" not in best


def test_without_patience_the_last_epoch_is_kept(yaml: Path, whole: Run, tmp_path: Path) -> None:
    lines: list[str] = []
    run = train(yaml, tmp_path / "run", "trainer.patience=null", "trainer.max_epochs=4", say=lines.append)
    found = record(run.folder)
    assert (found.kept_epoch, found.epochs, found.patience) == (4, 4, None)
    assert found.values == record(whole.folder).values[:4]
    assert not (run.folder / "checkpoints" / "best.ckpt").exists()
    assert any(line.startswith("kept epoch 4, the last (served/ndcg@10 0.") for line in lines)
    # Weights that were not kept cannot be taken up later: the best is sought among the epochs that follow.
    longer = train(yaml, run.folder, "trainer.max_epochs=6", resume=True)
    assert record(longer.folder).kept_epoch in (5, 6)
    assert record(longer.folder).values[:4] == found.values


def test_stopped_and_resumed_with_more_patience_it_ends_like_a_patient_run(
    yaml: Path, whole: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole.folder, tmp_path / "part")
    patient = train(yaml, tmp_path / "patient", "trainer.patience=6")
    assert record(patient.folder).epochs > record(whole.folder).epochs
    assert_same(patient.folder, train(yaml, folder, "trainer.patience=6", resume=True).folder)


def test_resumed_with_no_more_patience_nothing_is_trained(yaml: Path, whole: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.folder, tmp_path / "again")
    lines: list[str] = []
    train(yaml, folder, resume=True, say=lines.append)
    assert not [line for line in lines if "/40: loss" in line]
    assert_same(whole.folder, folder)


# One interpreter imports everything and parts into a process for each moment, which kills itself there.
KILLED = """
import os, signal, sys
from pathlib import Path
from metatoken.cli.starting import leave, starting
with starting():
    import lightning, metatoken.model.module
    from metatoken.model.store.checkpointing import AtomicCheckpointIO
    from metatoken.run.best import BestEpoch
    from metatoken.run.config import load_config
    from metatoken.run import train_run

config, out, kept = load_config(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
save = AtomicCheckpointIO.save_checkpoint

def after(name, epoch):
    def patched(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        if Path(path).name == name and checkpoint["epoch"] + 1 == epoch:
            progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
            if name != "last.ckpt" or progress["processed"] == epoch:
                die()
    AtomicCheckpointIO.save_checkpoint = patched

def within(epoch):
    own = metatoken.model.module.MetaTokenModule.training_step
    def patched(self, batch, batch_idx):
        if self.current_epoch + 1 == epoch and batch_idx == 3:
            die()
        return own(self, batch, batch_idx)
    metatoken.model.module.MetaTokenModule.training_step = patched

MOMENTS = {
    "best written, last not": lambda: after("best.next.ckpt", kept),
    "last written, best not in place": lambda: after("last.ckpt", kept),
    "within the epoch after": lambda: within(kept + 1),
    "two epochs after": lambda: after("last.ckpt", kept + 2),
}
for moment, prepare in MOMENTS.items():
    child = os.fork()
    if child == 0:
        prepare()
        train_run(config, out / moment, say=lambda line: None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, moment
leave(0)
"""
MOMENTS = {
    "best written, last not": ({"best.ckpt", "best.next.ckpt", "last.ckpt"}, False),
    "last written, best not in place": ({"best.ckpt", "best.next.ckpt", "last.ckpt"}, False),
    "within the epoch after": ({"best.ckpt", "last.ckpt"}, True),
    "two epochs after": ({"best.ckpt", "last.ckpt"}, True),
}


@pytest.fixture(scope="module")
def killed(yaml: Path, whole: Run) -> Path:
    """A folder for each moment; to be read only."""
    kept = record(whole.folder).kept_epoch
    assert kept > 1
    folder = yaml.parent / "killed"
    subprocess.run([sys.executable, "-c", KILLED, yaml, folder, str(kept)], check=True, timeout=500)
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_and_resumed_it_keeps_the_same_epoch(
    moment: str, yaml: Path, whole: Run, killed: Path, tmp_path: Path
) -> None:
    files, in_place = MOMENTS[moment]
    folder = shutil.copytree(killed / moment, tmp_path / "part")
    assert {file.name for file in (folder / "checkpoints").iterdir()} == files
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert (best["epoch"] + 1 == record(whole.folder).kept_epoch) is in_place
    assert_same(whole.folder, train(yaml, folder, resume=True).folder)


def test_a_best_epoch_that_is_lost_or_damaged_is_refused(yaml: Path, whole: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.folder, tmp_path / "run")
    best = folder / "checkpoints" / "best.ckpt"
    flip_byte(best)
    with pytest.raises(ArtifactError, match=r"best\.ckpt: altered"):
        train(yaml, folder, resume=True)
    best.unlink()
    with pytest.raises(ArtifactError, match=r"best\.ckpt: missing"):
        train(yaml, folder, resume=True)
    assert (folder / "model").is_dir()


class Poison(L.Callback):
    """Makes a weight NaN before a step, or after the last one of an epoch."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def _poison(self, module: Any) -> None:
        with torch.no_grad():
            module.network.items.residual[0] = math.nan

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        if self.moment == "before a step" and batch_idx == 2:
            self._poison(pl_module)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if self.moment == "before validation":
            self._poison(pl_module)


@pytest.mark.parametrize(
    ("moment", "said"),
    [("before a step", "the loss is nan in epoch 1, batch 3"), ("before validation", "the item head's scores")],
)
@pytest.mark.parametrize("patience", ["3", "null"])
def test_nan_ends_the_run_with_one_clear_error(
    moment: str, said: str, patience: str, yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: Any) -> L.Trainer:
        trainer = make_trainer(*arguments)
        trainer.callbacks.insert(0, Poison(moment))
        return trainer

    monkeypatch.setattr("metatoken.run.train.make_trainer", poisoned)
    with pytest.raises(DivergedError, match=f"training diverged: {said}.*learning_rate"):
        train(yaml, tmp_path / "run", f"trainer.patience={patience}", "trainer.checkpoint_every_steps=null")
    assert not (tmp_path / "run").exists()


class Value(L.Callback):
    """Logs a value of one's own after each validation."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("own", self.values[trainer.current_epoch])


def fit(module: Any, split: Any, *callbacks: L.Callback) -> L.Trainer:
    data = TaskDataModule(split, module.vocabulary, tasks=module.tasks, batch_size=64, validation_users=20)
    trainer = L.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_train_batches=1, callbacks=list(callbacks), plugins=[AtomicCheckpointIO()],
    )  # fmt: skip
    trainer.fit(module, data)
    return trainer


def test_in_a_trainer_of_ones_own(make_module: Any, split: Any, tmp_path: Path) -> None:
    """Validation before training, which the trainer does by default, is not the best epoch."""
    module, best = make_module().train(), BestEpoch("own", tmp_path / "best.ckpt", patience=2)
    trainer = fit(module, split, Value(0.2, 0.3, 0.3, 0.1), best)
    assert [one.value for one in best.course.values] == pytest.approx([0.2, 0.3, 0.3, 0.1])
    assert trainer.current_epoch == 4
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert kept["epoch"] == 1  # the earliest of equals
    weights = module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in kept["state_dict"].items())
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_value_that_cannot_be_watched(make_module: Any, split: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"'other' is not logged; logged are .*own"):
        fit(make_module().train(), split, Value(0.2), BestEpoch("other", tmp_path / "best.ckpt", patience=2))
    with pytest.raises(DivergedError, match="own is nan after epoch 2"):
        fit(make_module().train(), split, Value(0.2, math.nan), BestEpoch("own", tmp_path / "best.ckpt", patience=2))
