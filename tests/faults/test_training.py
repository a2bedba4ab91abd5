"""Trainings that end in another way than they should: diverged, replaced, resumed with other people's parts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from metatoken.config import SettingError
from metatoken.errors import ArtifactError, ConfigError, DivergedError
from metatoken.run import RunFolder, load_run, train_run
from metatoken.run.config import load_config
from metatoken.run.manifest import check_bytes, is_begun
from metatoken.run.settings import TrainerSettings
from tests.conftest import TrainedRun


def train(run: TrainedRun, out: Path, *overrides: str, **options: Any) -> Any:
    return train_run(load_config(run.yaml, list(overrides)), out, say=lambda _: None, **options)


@pytest.fixture
def finished(trained_run: TrainedRun, tmp_path: Path) -> Path:
    """A copy of the trained run, to be changed."""
    return Path(shutil.copytree(trained_run.run.folder, tmp_path / "run"))


def test_a_diverged_training_says_where_and_keeps_the_older_run(trained_run: TrainedRun, finished: Path) -> None:
    said = (
        r"training diverged: .*(epoch 1, batch \d+ \(step \d+\), at a learning rate of|epoch 1|scores are no numbers)"
    )
    with pytest.raises(DivergedError, match=said):
        train(trained_run, finished, "model.learning_rate=1e20", "model.warmup_steps=0", overwrite=True)
    assert load_run(finished).config == trained_run.run.config
    assert [one.name for one in finished.parent.iterdir()] == ["run"]


def test_an_error_in_the_middle_keeps_the_older_run_and_resume_goes_on_with_the_new_one(
    trained_run: TrainedRun, finished: Path
) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise RuntimeError

    longer = load_config(trained_run.yaml, ["trainer.max_epochs=2", "seed=3"])
    with pytest.raises(RuntimeError):
        train_run(longer, finished, overwrite=True, say=stop)
    assert load_run(finished).config.seed == 0  # the old one, still whole
    run = train_run(longer, finished, resume=True, say=lambda _: None)
    assert run.folder == finished
    assert load_run(finished).config.seed == 3
    assert [one.name for one in finished.parent.iterdir()] == ["run"]


def test_a_finished_run_that_cannot_be_gone_on_with_stays_usable(
    trained_run: TrainedRun, finished: Path, tmp_path: Path
) -> None:
    RunFolder(finished).best.unlink()
    with pytest.raises(ArtifactError, match="best"):
        train(trained_run, finished, "trainer.max_epochs=2", resume=True)
    load_run(finished)
    for bad in ("trainer.options={maximum: 3}", "model.alpha=0.5", "tokens.dim=8", "seed=4", f"vocabulary={tmp_path}"):
        with pytest.raises(ConfigError):
            train(trained_run, finished, bad, resume=True)
        load_run(finished)


def test_a_run_that_is_trained_further_cannot_be_used_meanwhile(trained_run: TrainedRun, finished: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("kept epoch"):
            raise RuntimeError

    longer = load_config(trained_run.yaml, ["trainer.max_epochs=2"])
    with pytest.raises(RuntimeError):
        train_run(longer, finished, resume=True, say=stop)
    assert is_begun(RunFolder(finished))
    with pytest.raises(ArtifactError, match="--resume"):
        load_run(finished)
    train_run(longer, finished, resume=True, say=lambda _: None)
    load_run(finished)


def test_a_checkpoint_of_another_seed_is_refused(trained_run: TrainedRun, finished: Path, tmp_path: Path) -> None:
    train(trained_run, tmp_path / "other", "seed=7")
    other, own = RunFolder(tmp_path / "other"), RunFolder(finished)
    for name in ("checkpoint", "best"):
        kept = getattr(own, name).read_bytes()
        shutil.copy(getattr(other, name), getattr(own, name))
        with pytest.raises(ArtifactError, match="is of another run"):
            train(trained_run, finished, "trainer.max_epochs=2", resume=True)
        with pytest.raises(ArtifactError, match="is of another run"):
            check_bytes(own)
        getattr(own, name).write_bytes(kept)
    for part in ("model", "vocabulary"):
        run = Path(shutil.copytree(finished, tmp_path / part))
        shutil.rmtree(run / part)
        shutil.copytree(other.path / part, run / part)
        with pytest.raises(ArtifactError, match="altered"):
            load_run(run)


def test_other_weights_of_a_frozen_backbone_are_refused(finished: Path) -> None:
    from metatoken.run.manifest import backbone_checksum, check_backbone

    module = load_run(finished).module
    assert backbone_checksum(module) is None  # a preset is trained and saved whole
    object.__setattr__(module.settings, "tuning", "frozen")
    before = backbone_checksum(module)
    assert before is not None
    check_backbone(module, {"backbone": before}, finished)
    check_backbone(module, {"backbone": None}, finished)
    check_backbone(module, None, finished)
    with torch.no_grad():
        next(p for n, p in module.network.named_parameters() if n.startswith("backbone."))[0] += 1e-3
    with pytest.raises(ArtifactError, match="other weights than those that the run was trained on"):
        check_backbone(module, {"backbone": before}, finished)


@pytest.mark.parametrize("batches", [0, -1, 1.5, True, "2"])
def test_batches_that_lightning_would_divide_by(batches: Any) -> None:
    with pytest.raises(SettingError, match=r"options\.accumulate_grad_batches"):
        TrainerSettings(options={"accumulate_grad_batches": batches})


LATE = {
    "an accelerator that is not there": "trainer.accelerator=tpu",
    "an option of another type": "trainer.options={benchmark: 3}",
    "an option that is looked at when the data are known": "trainer.options={val_check_interval: 1000000}",
}


@pytest.mark.parametrize("name", LATE)
def test_what_lightning_refuses_is_one_line(name: str, trained_run: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^trainer: Lightning refuses these settings \("):
        train(trained_run, tmp_path / "run", LATE[name])
    assert list(tmp_path.iterdir()) == []


def test_one_item_of_a_history_teaches_a_causal_model_nothing(trained_run: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.max_history: .* use at least 2"):
        train(trained_run, tmp_path / "run", "model.max_history=1")
    train(trained_run, tmp_path / "run", "model.max_history=1", "model.tasks=[direct]")
