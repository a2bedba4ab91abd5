"""Several seeds: each run is the one that its seed alone gives, and the whole goes on where it was interrupted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metatoken.errors import ArgumentError, ConfigError
from metatoken.run import RunFolder, load_config, load_run, train_run, train_seeds
from metatoken.run.config import Config
from tests.files import write_run_config

EPOCHS = 2


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_config(tmp_path_factory.mktemp("config"), n_users=60, trainer={"max_epochs": EPOCHS})


@pytest.fixture(scope="module")
def config(yaml: Path) -> Config:
    return load_config(yaml)


@pytest.fixture(scope="module")
def whole(config: Config, yaml: Path) -> Path:
    """Seeds 0 and 2, trained without an interruption; to be read only."""
    out = yaml.parent / "whole"
    assert train_seeds(config, [2, 0], out, say=quiet) == [out / "seed-2", out / "seed-0"]
    return out


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a run but those that hold times."""
    timed = {"checkpoints", "training.csv"}
    files = (path for path in folder.rglob("*") if path.is_file() and not timed & set(path.parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_each_is_what_its_seed_alone_gives(yaml: Path, whole: Path, tmp_path: Path) -> None:
    for seed in (0, 2):
        alone = train_run(load_config(yaml, [f"seed={seed}"]), tmp_path / f"{seed}", say=quiet).folder
        assert content(alone) == content(whole / f"seed-{seed}")
    assert content(whole / "seed-0") != content(whole / "seed-2")


def test_interrupted_it_goes_on_where_it_was(config: Config, whole: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    def interrupt(line: str) -> None:
        lines.append(line)
        if lines[-1].startswith(f"epoch 2/{EPOCHS}") and any("seed-2" in one for one in lines):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_seeds(config, [0, 2, 5], tmp_path, say=interrupt)
    before = (tmp_path / "seed-0" / "model" / "manifest.json").stat().st_mtime_ns
    again: list[str] = []
    train_seeds(config, [0, 2, 5], tmp_path, resume=True, say=again.append)
    heads = [line for line in again if line.startswith((str(tmp_path), "epoch"))]
    assert [line.partition(": loss")[0].replace(str(tmp_path), "") for line in heads] == [
        "/seed-0: finished already", "/seed-2:", "epoch 2/2", "/seed-5:", "epoch 1/2", "epoch 2/2",
    ]  # fmt: skip
    assert (tmp_path / "seed-0" / "model" / "manifest.json").stat().st_mtime_ns == before
    for seed in (0, 2):
        assert content(tmp_path / f"seed-{seed}") == content(whole / f"seed-{seed}")


def test_one_that_was_killed_before_its_first_checkpoint_begins_again(
    config: Config, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / "seed-2", tmp_path / "seed-2", ignore=shutil.ignore_patterns("checkpoints", "model"))
    (folder,) = train_seeds(config, [2], tmp_path, resume=True, say=quiet)
    assert content(folder) == content(whole / "seed-2")


def test_finished_ones_can_train_longer(config: Config, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "runs")
    longer = replace(config, trainer=replace(config.trainer, max_epochs=EPOCHS + 1))
    lines: list[str] = []
    train_seeds(longer, [0, 2], tmp_path / "runs", resume=True, say=lines.append)
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 3/3"] * 2
    found = load_run(tmp_path / "runs" / "seed-2").config
    assert found == replace(longer, seed=2).filled(load_config(whole / "seed-2" / "config.yaml"))


def test_places_are_checked_before_anything_is_trained(config: Config, tmp_path: Path) -> None:
    taken = tmp_path / "seed-1"
    taken.mkdir()
    (taken / "cat.jpg").write_text("cat")
    options: list[dict[str, Any]] = [{}, {"overwrite": True}, {"resume": True}]
    for one in options:
        with pytest.raises(ConfigError, match="seed-1"):
            train_seeds(config, [0, 1], tmp_path, say=quiet, **one)
    assert [path.name for path in tmp_path.iterdir()] == ["seed-1"]


def test_older_runs_are_replaced_if_asked(config: Config, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "seed-0", tmp_path / "seed-2")
    (tmp_path / "seed-2" / "metrics.json").write_text("{}")
    with pytest.raises(ConfigError, match="--overwrite"):
        train_seeds(config, [2], tmp_path, say=quiet)
    (folder,) = train_seeds(config, [2], tmp_path, overwrite=True, say=quiet)
    assert content(folder) == content(whole / "seed-2")
    assert not RunFolder(folder).metrics.exists()


@pytest.mark.parametrize("seeds", [[], [-1], [0, 0]])
def test_seeds_that_are_none(seeds: list[int], config: Config, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="seeds: expected different seeds of at least 0"):
        train_seeds(config, seeds, tmp_path, say=quiet)


def test_several_processes_are_refused(yaml: Path, tmp_path: Path) -> None:
    config = load_config(yaml, ["trainer.devices=2", "trainer.strategy=ddp"])
    with pytest.raises(ConfigError, match=r"one process; set trainer\.devices to 1"):
        train_seeds(config, [0, 1], tmp_path / "runs", say=quiet)
    assert not (tmp_path / "runs").exists()
