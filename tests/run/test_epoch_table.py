"""The table of a training: a row an epoch, added to when a run goes on, whatever ended it before."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metatoken.errors import ConfigError
from metatoken.run import train_run
from metatoken.run.config import Config, load_config
from metatoken.run.record import TrainingRecord
from tests.files import write_run_config

MOVING = ("seconds", "processor_seconds", "peak_memory_mb")


@pytest.fixture(scope="module")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    return write_run_config(folder, n_users=60, trainer={"max_epochs": 3, "batch_size": 16})


@pytest.fixture(scope="module")
def whole(yaml: Path) -> Path:
    lines: list[str] = []
    run = train_run(load_config(yaml), yaml.parent / "whole", say=lines.append)
    (run.folder / "lines.txt").write_text("\n".join(lines))
    return run.folder


def table(run: Path) -> pl.DataFrame:
    return pl.read_csv(run / "training.csv").drop(MOVING)


def test_it_has_what_the_lines_and_the_record_say(whole: Path) -> None:
    found, record = pl.read_csv(whole / "training.csv"), TrainingRecord.load(whole / "training.json")
    assert found.columns[:7] == ["epoch", "step", *MOVING, "learning_rate", "train/loss"]
    assert (found["peak_memory_mb"] > 50).all()
    assert {"train/item", "train/generation", "train/shared", "val/sequential/hr@10"} <= set(found.columns)
    assert found["epoch"].to_list() == [1, 2, 3]
    assert found["step"].to_list() == [one.step for one in record.values]
    assert found["val/served/ndcg@10"].to_list() == pytest.approx([one.value for one in record.values], rel=1e-5)
    lines = [line for line in (whole / "lines.txt").read_text().splitlines() if line.startswith("epoch ")]
    for line, loss in zip(lines, found["train/loss"].to_list(), strict=True):
        assert f"loss {loss:.3f}," in line
    rates = found["learning_rate"].to_list()
    assert rates == sorted(rates, reverse=True)
    assert found.null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize("moment", ["within", "after"])
def test_a_run_that_goes_on_adds_to_it(moment: str, yaml: Path, whole: Path, tmp_path: Path) -> None:
    """Interrupted before the checkpoint of the second epoch, whose row may stand there already."""

    def interrupt(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise RuntimeError

    config, out = load_config(yaml), tmp_path / "run"
    with pytest.raises(RuntimeError):
        train_run(config, out, say=interrupt)
    assert table(out)["epoch"].to_list() == [1]
    if moment == "after":
        lines = (whole / "training.csv").read_text().splitlines()
        (out / "training.csv").write_text("\n".join([*lines[:2], lines[2].replace("2,", "2,9", 1)]) + "\n")
    train_run(config, out, resume=True, say=lambda _: None)
    assert table(out).equals(table(whole))


def test_other_columns_and_a_table_that_is_none(yaml: Path, whole: Path, tmp_path: Path) -> None:
    """What is logged may change when a run goes on; a file that somebody has spoiled costs only itself."""
    config = load_config(yaml, ["trainer.max_epochs=1", "trainer.validate_every=2"])
    run = train_run(config, tmp_path / "run", say=lambda _: None)
    assert not [name for name in table(run.folder).columns if name.startswith("val/")]
    longer = load_config(yaml, ["trainer.max_epochs=2"])
    train_run(longer, run.folder, resume=True, say=lambda _: None)
    found = table(run.folder)
    assert found["val/served/ndcg@10"].is_null().to_list() == [True, False]
    (run.folder / "training.csv").write_bytes(b"\xff\xfe,nonsense\n1,2,3\n")
    train_run(load_config(yaml, ["trainer.max_epochs=3"]), run.folder, resume=True, say=lambda _: None)
    assert table(run.folder)["epoch"].to_list() == [3]


def test_without_a_logger_there_is_none(yaml: Path, tmp_path: Path) -> None:
    run = train_run(load_config(yaml, ["trainer.logger=none", "trainer.max_epochs=1"]), tmp_path / "run", say=print)
    assert not (run.folder / "training.csv").exists()


def tensorboard(yaml: Path) -> Config:
    return load_config(yaml, ["trainer.logger=tensorboard", "trainer.max_epochs=1"])


def test_tensorboard_that_is_not_installed(yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: Any, **options: Any) -> None:
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr("lightning.pytorch.loggers.TensorBoardLogger", absent)
    with pytest.raises(ConfigError, match=r"trainer\.logger: TensorBoard is not installed; pip install tensorboard"):
        train_run(tensorboard(yaml), tmp_path / "run", say=lambda _: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard(yaml: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train_run(tensorboard(yaml), tmp_path / "run", say=lambda _: None)
    longer = load_config(yaml, ["trainer.logger=tensorboard", "trainer.max_epochs=2"])
    train_run(longer, run.folder, resume=True, say=lambda _: None)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    record = TrainingRecord.load(run.folder / "training.json")
    found = [event.value for event in events.Scalars("val/served/ndcg@10")]
    assert found == pytest.approx([one.value for one in record.values], rel=1e-6)
    assert (run.folder / "training.csv").exists()
