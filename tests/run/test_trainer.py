"""Real processes: a run killed in the middle of an epoch, and two processes that train one model."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from metatoken.errors import ConfigError
from metatoken.run import Run, load_run, train_run
from metatoken.run.config import load_config
from metatoken.run.trainer import is_first_process
from tests.files import write_run_config

MOMENTS = ("  epoch 1: 5/", "  epoch 2: 7/")

# One interpreter imports everything and parts into a process for each moment, which kills itself there.
KILLED = """
import os, signal, sys
from metatoken.cli.starting import leave, starting
with starting():
    import lightning, metatoken.model.module
    from metatoken.run.config import load_config
    from metatoken.model.store import reporting
    from metatoken.run import train_run

reporting.EpochLines.__init__.__defaults__ = (0.0,)  # a line per batch
config, out, *moments = load_config(sys.argv[1]), *sys.argv[2:]

def train(moment):
    def say(line):
        if line.startswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)
    train_run(config, os.path.join(out, moment.strip().partition(":")[0]), say=say)

for moment in moments:
    child = os.fork()
    if child == 0:
        train(moment)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, moment
leave(0)
"""


def write_config(folder: Path, **trainer: Any) -> Path:
    trainer = {"max_epochs": 2, "batch_size": 8, "checkpoint_every_steps": 3} | trainer
    return write_run_config(folder, n_users=60, trainer=trainer)


@pytest.fixture(scope="module")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def whole(yaml: Path) -> Run:
    """The run that nothing interrupts."""
    return train_run(load_config(yaml), yaml.parent / "whole", say=lambda _: None)


@pytest.fixture(scope="module")
def killed(yaml: Path) -> Path:
    """Folders `epoch 1` and `epoch 2`, runs killed in the middle of that epoch; to be read only."""
    subprocess.run([sys.executable, "-c", KILLED, yaml, yaml.parent / "killed", *MOMENTS], check=True, timeout=300)
    return yaml.parent / "killed"


@pytest.mark.parametrize("epoch", [1, 2])
def test_killed_within_an_epoch_and_resumed_it_ends_alike(
    epoch: int, yaml: Path, whole: Run, killed: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(killed / f"epoch {epoch}", tmp_path / "part")
    lines: list[str] = []
    part = train_run(load_config(yaml), folder, resume=True, say=lines.append)
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"][epoch - 1 :]
    weights = part.module.state_dict()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, weights[name]), name
    names = ("model/weights.safetensors", "fusion.json", "training.json")
    assert all((part.folder / name).read_bytes() == (whole.folder / name).read_bytes() for name in names)
    assert {file.name for file in (part.folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_another_batch_size_is_refused_within_an_epoch_only(yaml: Path, killed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(killed / "epoch 1", tmp_path / "run")
    with pytest.raises(ConfigError, match="batch_size 8"):
        train_run(load_config(yaml, ["trainer.batch_size=9"]), folder, resume=True, say=lambda _: None)
    assert (folder / "checkpoints" / "last.ckpt").exists()


def validation(lines: list[str]) -> list[float]:
    """Every metric that the lines of the epochs tell; the loss is that of the first process alone."""
    epochs = [line for line in lines if line.startswith("epoch ")]
    return [float(value) for line in epochs for value in re.findall(r"@\d+ ([\d.]+)", line)]


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """`metatoken train` starts itself a second time; the first process alone writes and speaks."""
    preset = {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.0, "positions": 160}  # processes drop different units
    yaml = write_run_config(
        tmp_path, model={"preset": preset, "user_tokens": "prefix", "learning_rate": 1e-3},
        trainer={"max_epochs": 2, "batch_size": 16, "devices": 2, "strategy": "ddp"},
    )  # fmt: skip
    command = [sys.executable, "-m", "metatoken", "train", yaml, "-o", tmp_path / "two"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/2") == done.stdout.count("epoch 2/2") == 1
    assert done.stdout.count("run saved to") == 1
    two = load_run(tmp_path / "two")
    assert two.config.trainer.strategy == "ddp"

    lines: list[str] = []
    alone = load_config(yaml, ["trainer.devices=1", "trainer.strategy=auto"])
    one = train_run(alone, tmp_path / "one", say=lines.append)
    last = [torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, two)]
    assert [checkpoint["TaskDataModule"]["plan"]["devices"] for checkpoint in last] == [1, 2]
    assert last[0]["global_step"] == last[1]["global_step"] > 8
    weights = two.module.state_dict()
    for name, value in one.module.state_dict().items():
        # As a whole: a weight whose gradient is rounding alone moves by whole steps of AdamW, in any direction.
        assert (weights[name] - value).norm() < 1e-3 * value.norm() + 1e-3, name
    found = validation(done.stdout.splitlines())
    assert len(found) >= 4
    assert found == pytest.approx(validation(lines), abs=0.03)


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_2", "sideways"])
def test_a_strategy_that_cannot_run_here_leaves_nothing(strategy: str, tmp_path: Path) -> None:
    if torch.cuda.is_available() and strategy != "sideways":
        pytest.skip("it may well run here")
    with pytest.raises(ConfigError, match="trainer: Lightning refuses"):
        train_run(load_config(write_config(tmp_path, strategy=strategy)), tmp_path / "run", say=lambda _: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "first"), [("RANK", False), ("LOCAL_RANK", False), ("OTHER", True)])
def test_only_one_process_is_the_first(name: str, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, "1")
    assert is_first_process() is first
    monkeypatch.setenv(name, "0")
    assert is_first_process()
