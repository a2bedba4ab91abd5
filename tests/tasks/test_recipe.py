"""What a log is trained with where nobody says otherwise: the same in Python, on the command line, in the docs."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from metatoken import MetaTokenModule, TaskDataModule, Vocabulary
from metatoken.model.settings import ModelSettings
from metatoken.run.config import Config
from metatoken.tasks.recipe import BY_TARGETS, PRETRAINED, recipe
from tests.files import ROOT

PAGE = ROOT / "docs" / "running.md"


def test_the_recipe_goes_by_the_number_of_targets() -> None:
    bounds = [most for most, _ in BY_TARGETS]
    assert bounds == sorted(bounds)
    assert bounds[-1] == float("inf")
    for (most, one), (_, following) in pairwise(BY_TARGETS):
        assert (recipe(int(most)), recipe(int(most) + 1)) == (one, following)
        assert one != following
    assert recipe(None) == recipe(0) == BY_TARGETS[0][1]
    assert recipe(10**9, pretrained=True) == PRETRAINED


def test_the_page_has_the_same_table() -> None:
    rows = re.findall(
        r"^\| (?:to|above) ([\d,]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE
    )
    found = [[float(value.replace(",", "")) for value in row] for row in rows]
    bounds = [most for most, _ in BY_TARGETS[:-1]]
    expected = [
        [bound, one.max_epochs, one.batch_size, one.learning_rate, one.dropout]
        for bound, (_, one) in zip([*bounds, bounds[-1]], BY_TARGETS, strict=True)
    ]
    assert found == expected


def test_python_and_the_command_line_train_alike(split: Any, vocabulary: Vocabulary) -> None:
    n_targets = int((split.train.sequences().lengths - 1).clip(min=0).sum())
    assert vocabulary.n_targets == split.train.sequences().n_targets == n_targets
    config = Config.read({"data": {"path": "log.csv"}}).resolved(n_targets).reading(vocabulary.item_tokens)
    module = MetaTokenModule(vocabulary)
    data = TaskDataModule(split, vocabulary, tasks=module.tasks)
    assert module.settings == config.model
    assert module.recipe == recipe(n_targets)
    found = (module.recipe.max_epochs, data.batch_size)
    assert (
        found
        == (config.trainer.max_epochs, config.trainer.batch_size)
        == (recipe(n_targets).max_epochs, recipe(n_targets).batch_size)
    )
    blocks = module.network.backbone.bare().transformer.h
    assert {block.mlp.dropout.p for block in blocks} == {recipe(n_targets).dropout}
    trainer = L.Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    assert trainer.optimizers[0].defaults["lr"] == recipe(n_targets).learning_rate


def test_a_large_log_has_the_recipe_of_its_size() -> None:
    config = Config.read({"data": {"path": "log.csv"}}).resolved(10**7)
    last = BY_TARGETS[-1][1]
    assert (config.trainer.max_epochs, config.trainer.batch_size) == (last.max_epochs, last.batch_size)
    assert (config.model.learning_rate, config.model.preset["dropout"]) == (last.learning_rate, last.dropout)


def test_what_is_open_is_as_in_the_run_that_it_goes_on_from() -> None:
    config = Config.read({"data": {"path": "log.csv"}, "model": {"preset": {"dim": 32}}})
    small, large = config.resolved(10), config.resolved(10**7)
    for run in (small, large):
        found = config.filled(run)
        assert found == run
        assert list(found.model.preset) == list(run.model.preset) == ["dim", "dropout"]
    assert small.filled(large) == small


def test_what_is_said_is_kept() -> None:
    said = {
        "model": {
            "preset": {"dim": 32, "dropout": 0.0},
            "learning_rate": 5e-4,
            "input_norm": 3.0,
            "schedule": "cosine",
            "reworded": 0.1,
            "reworded_texts": 0.2,
        },
        "trainer": {"max_epochs": 7, "batch_size": 9},
    }
    config = Config.read({"data": {"path": "log.csv"}} | said)
    assert config.resolved(10**5) == config
    assert config.resolved(10**5).resolved(10) == config


@pytest.mark.parametrize(("backbone", "preset"), [("t5-preset", {}), ("smollm2-135m", {})])
def test_other_backbones_bring_their_own_dropout(backbone: str, preset: dict[str, float]) -> None:
    settings = ModelSettings(backbone=backbone)
    assert settings.resolved(1000).preset == preset
    rate = PRETRAINED.learning_rate if backbone == "smollm2-135m" else recipe(1000).learning_rate
    assert settings.resolved(1000).learning_rate == rate


def test_a_vocabulary_keeps_the_number(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / "vocabulary")
    assert Vocabulary.load(tmp_path / "vocabulary").n_targets == vocabulary.n_targets
    assert Vocabulary.from_embeddings(["a", "b"], [[0.0, 1.0], [1.0, 0.0]], levels=[2]).n_targets is None
