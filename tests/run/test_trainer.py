"""Real processes: a run killed in the middle of an epoch, and two processes that train one model."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from metatoken.errors import ConfigError
from metatoken.run import load_run, train_run
from metatoken.run.config import load_config
from metatoken.run.trainer import is_first_process
from tests.files import write_run_config

TALKATIVE = """
import sys
from metatoken.run.config import load_config
from metatoken.model.store import reporting
from metatoken.run import train_run

reporting.EpochLines.__init__.__defaults__ = (0.0,)  # a line a batch
train_run(load_config(sys.argv[1], ["threads=1"]), sys.argv[2], say=lambda line: print(line, flush=True))
"""


def write_config(folder: Path, **trainer: Any) -> Path:
    trainer = {"max_epochs": 2, "batch_size": 8, "checkpoint_every_steps": 3} | trainer
    return write_run_config(folder, n_users=60, trainer=trainer)


def kill_at(line: str, command: list[str]) -> None:
    """Starts a program and kills it as soon as it prints a line that begins so."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if said.startswith(line):
                process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["  epoch 1: 5/", "  epoch 2: 7/"])
def test_killed_within_an_epoch_and_resumed_it_ends_alike(moment: str, tmp_path: Path) -> None:
    yaml = write_config(tmp_path)
    kill_at(moment, [sys.executable, "-c", TALKATIVE, str(yaml), str(tmp_path / "part")])
    config = load_config(yaml, ["threads=1"])
    lines: list[str] = []
    part = train_run(config, tmp_path / "part", resume=True, say=lines.append)
    assert [line[:9] for line in lines if line.startswith("epoch")] == (
        ["epoch 1/2", "epoch 2/2"] if "epoch 1" in moment else ["epoch 2/2"]
    )
    whole = train_run(config, tmp_path / "whole", say=lambda _: None)
    weights = part.module.state_dict()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, weights[name]), name
    names = ("model/weights.safetensors", "fusion.json")
    assert all((part.folder / name).read_bytes() == (whole.folder / name).read_bytes() for name in names)
    assert [file.name for file in (part.folder / "checkpoints").iterdir()] == ["last.ckpt"]


def test_another_batch_size_is_refused_within_an_epoch_only(tmp_path: Path) -> None:
    yaml = write_config(tmp_path)
    kill_at("  epoch 1: 5/", [sys.executable, "-c", TALKATIVE, str(yaml), str(tmp_path / "run")])
    with pytest.raises(ConfigError, match="batch_size 8"):
        train_run(load_config(yaml, ["trainer.batch_size=9"]), tmp_path / "run", resume=True, say=lambda _: None)
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


TWO = """
import sys

import lightning as L
import torch

import metatoken as mt
from metatoken.data import generate_world

torch.set_num_threads(1)
devices, out = int(sys.argv[1]), sys.argv[2]
split = mt.leave_last_out(generate_world(n_users=80, n_items=60, seed=0).interactions())
vocabulary = mt.Vocabulary.fit(split.train, levels=[8, 16], dim=16, walks_per_node=2, walk_length=10, seed=0)
model = mt.MetaTokenModule(
    vocabulary, preset={"dim": 32, "layers": 1, "dropout": 0.0}, user_tokens="prefix", max_history=20
)
data = mt.TaskDataModule(split, vocabulary, tasks=model.tasks, batch_size=16)
trainer = L.Trainer(
    max_epochs=2, accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", gradient_clip_val=1.0,
    logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(model, data)
if trainer.is_global_zero:
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    torch.save({"weights": model.state_dict(), "metrics": metrics, "steps": trainer.global_step}, out)
"""


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    results = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.pt"
        subprocess.run([sys.executable, str(script), str(devices), str(out)], check=True, timeout=500)
        results.append(torch.load(out, weights_only=True))
    one, two = results
    assert one["steps"] == two["steps"] > 8
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=0.03)


def test_a_run_of_two_processes(tmp_path: Path) -> None:
    """`metatoken train` starts itself a second time; the first process alone writes and speaks."""
    yaml, out = write_config(tmp_path, devices=2, strategy="ddp", max_epochs=1), tmp_path / "run"
    command = [sys.executable, "-m", "metatoken", "train", str(yaml), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1") == 1
    assert done.stdout.count("run saved to") == 1
    assert load_run(out).config.trainer.strategy == "ddp"
    checkpoint = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["TaskDataModule"]["plan"]["devices"] == 2


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
