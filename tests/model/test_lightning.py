"""`MetaTokenModule` as people use Lightning: their trainer, callbacks, loggers and checkpoints, test, predict, CLI."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import polars as pl
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from transformers import LlamaConfig, LlamaForCausalLM

import metatoken as mt
from metatoken.data.ragged import Sequences
from metatoken.errors import ArgumentError, ArtifactError, ConfigError
from metatoken.model.model import MetaTokenModel
from metatoken.model.store.export import export_model
from metatoken.model.store.saving import load_model, save_model
from metatoken.predict.ranker import Reading
from metatoken.tasks.prompts import train_tokenizer
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task
from tests.conftest import SMALL

WATCHED = "val/sequential/ndcg@10"
QUIET: dict[str, Any] = {
    "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
}  # fmt: skip


def trained(folder: Path, model: Any, data: Any, epochs: int = 2) -> L.Trainer:
    """A notebook's training: early stopping, the best checkpoint, a curve."""
    loggers: list[Any] = [CSVLogger(folder, name="csv", version="")]
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    trainer = L.Trainer(
        max_epochs=epochs,
        logger=loggers,
        log_every_n_steps=1,
        callbacks=[
            EarlyStopping(WATCHED, mode="max", patience=1),
            ModelCheckpoint(folder / "best", monitor=WATCHED, mode="max", filename="best"),
        ],
        **QUIET,
    )
    trainer.fit(model, data)
    return trainer


@pytest.fixture(scope="module")
def notebook(split: Any, vocabulary: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[L.Trainer, Any, Path]:
    """Trainer, data and folder of a training."""
    folder = tmp_path_factory.mktemp("notebook")
    model = mt.MetaTokenModule(
        vocabulary, preset=SMALL, max_history=20, learning_rate=3e-3, warmup_steps=5, tasks=["sequential"]
    )
    data = mt.TaskDataModule(split, vocabulary, tasks=model.tasks, batch_size=32, validation_users=100)
    return trained(folder, model, data), data, folder


def test_a_curve_and_hyperparameters_are_saved(notebook: tuple[L.Trainer, Any, Path]) -> None:
    folder = notebook[2]
    curve = pl.read_csv(folder / "csv" / "metrics.csv")
    assert curve[WATCHED].drop_nulls().len() >= 1
    assert curve["train/loss"].drop_nulls().len() >= 2
    told = yaml.safe_load((folder / "csv" / "hparams.yaml").read_text())
    assert told["backbone"] == "gpt2-preset"
    assert told["preset"]["dim"] == SMALL["dim"]
    if find_spec("tensorboard") is not None:
        assert list((folder / "tensorboard").glob("events.out.tfevents.*"))


def test_the_best_checkpoint_is_a_model_again(notebook: tuple[L.Trainer, Any, Path], vocabulary: Any) -> None:
    trainer, data, folder = notebook
    path = folder / "best" / "best.ckpt"
    model = mt.MetaTokenModule.load_from_checkpoint(path, vocabulary=vocabulary)
    assert not model.training
    assert dict(model.hparams) == torch.load(path, weights_only=True)["hyper_parameters"]
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())
    other = mt.MetaTokenModule.load_from_checkpoint(path, vocabulary=vocabulary, learning_rate=1e-5)
    assert other.settings.learning_rate == 1e-5
    again = L.Trainer(logger=False, **QUIET)
    [of_path] = trainer.test(trainer.model, data, ckpt_path=str(path), weights_only=True, verbose=False)
    [of_model] = again.test(model, data, verbose=False)
    assert of_path == of_model
    assert set(of_path) == {"test/sequential/hr@10", "test/sequential/ndcg@10"}


def test_test_and_predict_are_the_item_head_of_all_users(notebook: tuple[L.Trainer, Any, Path], split: Any) -> None:
    trainer, data, _ = notebook
    model = trainer.model
    [measured] = trainer.test(model, data, verbose=False)
    model.eval()
    template, targets = find_task("sequential").templates[0], split.test
    hits = []
    for one in EvaluationBatches(
        model.reader, template, targets.users, targets.items, split.history("test"), batch_size=64
    ):
        items, _ = Reading(model.network, one.batch, one.seen).item_head(10)
        hits.append((items == one.targets.numpy()[:, None]).any(axis=1))
    assert measured["test/sequential/hr@10"] == pytest.approx(np.concatenate(hits).mean(), abs=1e-6)

    model.list_length = 5
    table = pl.concat(trainer.predict(model, data))
    whole = split.log.sequences()
    assert table.height == 5 * int((whole.lengths > 0).sum())
    name = table["user"][0]
    history = whole[split.log.users.row(name)]
    batches = EvaluationBatches(
        model.reader, template, np.array([0]), np.array([0]), Sequences.of([history]), batch_size=1
    )
    items, logs = Reading(model.network, batches[0].batch, [history]).item_head(5)
    own = table.filter(pl.col("user") == name)
    assert own["item"].to_list() == [split.log.items.raw[row] for row in items[0]]
    assert own["rank"].to_list() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(own["score"].to_numpy(), np.exp(logs[0]), rtol=1e-5)


def test_what_a_checkpoint_does_not_hold(
    notebook: tuple[L.Trainer, Any, Path], vocabulary: Any, vocabularies: dict[int, Any], tmp_path: Path
) -> None:
    path = notebook[2] / "best" / "best.ckpt"
    with pytest.raises(ArgumentError, match=r"vocabulary: the checkpoint names no folder .* vocabulary=\.\.\."):
        mt.MetaTokenModule.load_from_checkpoint(path)
    with pytest.raises(ConfigError, match="checkpoint: "):
        mt.MetaTokenModule.load_from_checkpoint(path, vocabulary=vocabularies[3])
    (tmp_path / "no.ckpt").write_bytes(b"no")
    for name in ("no.ckpt", "missing.ckpt"):
        with pytest.raises(ArtifactError, match=f"{name}: is no checkpoint that can be read"):
            mt.MetaTokenModule.load_from_checkpoint(tmp_path / name, vocabulary=vocabulary)


def test_a_model_keeps_its_hyperparameters_when_lightning_takes_it(vocabulary: Any) -> None:
    features = np.ones((vocabulary.n_items, 3), np.float32)
    model = MetaTokenModel(vocabulary, preset=SMALL, max_history=20, features=features)
    assert mt.MetaTokenModule.of(model).hparams == mt.MetaTokenModule(
        vocabulary, preset=SMALL, max_history=20, features=features
    ).hparams  # fmt: skip


@pytest.fixture(scope="module")
def files(world: Any, vocabulary: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML for `LightningCLI`, and the log and the tokens that it names."""
    folder = tmp_path_factory.mktemp("cli")
    log, _ = world.write(folder / "world")
    vocabulary.save(folder / "tokens")
    config = {
        "seed_everything": 0,
        "model": {
            "vocabulary": str(folder / "tokens"),
            "settings": {"preset": SMALL, "max_history": 20, "tasks": ["sequential"], "weights": {"shared": 0.0}},
        },
        "data": {
            "log": {"path": str(log), "user": "user_id", "item": "item_id", "time": "timestamp"},
            "vocabulary": str(folder / "tokens"),
            "tasks": ["sequential"],
            "batch_size": 64,
        },
        "trainer": {
            **QUIET,
            "max_epochs": 1,
            "limit_train_batches": 3,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(folder / "logs")},
            },
            "callbacks": [
                {"class_path": "EarlyStopping", "init_args": {"monitor": WATCHED, "mode": "max"}},
                {
                    "class_path": "ModelCheckpoint",
                    "init_args": {
                        "dirpath": str(folder / "kept"), "monitor": WATCHED, "mode": "max", "filename": "best",
                    },
                },
            ],
        },
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_fused_optimizer_moves_clipped_gradients(split: Any, vocabulary: Any, precision: Any) -> None:
    """Also under autocast, where Lightning takes it for one that scales gradients."""
    norms = []

    class Watch(L.Callback):
        def on_train_batch_end(self, _trainer: Any, module: Any, *_batch: Any) -> None:
            grads = [weight.grad for weight in module.parameters() if weight.grad is not None]
            norms.append(float(torch.stack([grad.norm() for grad in grads]).norm()))

    model = mt.MetaTokenModule(vocabulary, preset=SMALL, max_history=20, tasks=["sequential"])
    data = mt.TaskDataModule(split, vocabulary, tasks=model.tasks, batch_size=32)
    settings: dict[str, Any] = QUIET | {"precision": precision, "limit_val_batches": 0, "logger": False}
    trainer = L.Trainer(
        max_steps=2, gradient_clip_val=1e-3, callbacks=[Watch()], enable_checkpointing=False, **settings
    )
    trainer.fit(model, data)
    assert trainer.optimizers[0].param_groups[0]["fused"]
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_the_command_line_of_lightning(files: Path) -> None:
    arguments = ["--config", str(files / "config.yaml"), "--model.settings.learning_rate", "2e-3"]
    fitted = LightningCLI(mt.MetaTokenModule, mt.LogDataModule, args=["fit", *arguments])
    assert fitted.model.settings.weights.shared == 0.0
    assert fitted.model.settings.learning_rate == 2e-3
    assert list((files / "logs").rglob("metrics.csv"))
    # The folder of the vocabulary was named, so the checkpoint is enough.
    model = mt.MetaTokenModule.load_from_checkpoint(files / "kept" / "best.ckpt")
    assert model.settings.learning_rate == 2e-3
    [measured] = fitted.trainer.test(model, fitted.datamodule, verbose=False)
    assert measured["test/sequential/hr@10"] > 0


def test_a_vocabulary_of_another_log_is_refused(files: Path, world: Any, tmp_path: Path) -> None:
    from metatoken.data.settings import LogSettings

    log, _ = mt.generate_world(n_users=60, n_items=40, seed=5).write(tmp_path)
    about = LogSettings(path=log, user="user_id", item="item_id", time="timestamp")
    with pytest.raises(ArgumentError, match=r"vocabulary: .* has learned from other interactions"):
        mt.LogDataModule(about, str(files / "tokens"))


@pytest.fixture(scope="module")
def llama() -> tuple[Any, Any]:
    """A small Llama with random weights, and a tokenizer."""
    tokenizer = train_tokenizer(["sequential"])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


@pytest.mark.filterwarnings("error:.*will be removed in v6:FutureWarning")  # what transformers gives up
@pytest.mark.parametrize("tuning", ["full", "lora", "frozen"])
def test_a_model_object_as_backbone(
    llama: tuple[Any, Any], tuning: Any, split: Any, vocabulary: Any, tmp_path: Path
) -> None:
    backbone, tokenizer = copy.deepcopy(llama[0]), llama[1]
    about: dict[str, Any] = {"tokenizer": tokenizer, "tuning": tuning, "tasks": ["sequential"], "max_history": 10}
    about["gradient_checkpointing"] = tuning == "lora"
    model = mt.MetaTokenModule(vocabulary, backbone=backbone, **about)
    assert model.hparams["backbone"] == "object:LlamaForCausalLM"
    data = mt.TaskDataModule(split, vocabulary, tasks=model.tasks, batch_size=32, validation_users=20)
    trainer = L.Trainer(max_epochs=1, limit_train_batches=2, logger=False, enable_checkpointing=False, **QUIET)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    save_model(model, tmp_path / "model")

    again = mt.MetaTokenModule.load_from_checkpoint(
        tmp_path / "last.ckpt", vocabulary=vocabulary, backbone=copy.deepcopy(llama[0]), tokenizer=tokenizer
    )
    saved = load_model(tmp_path / "model", vocabulary)
    wanted = mt.Recommender(model.eval(), history=split.log).recommend(split.log.users.raw[0], k=5)
    assert mt.Recommender(again, history=split.log).recommend(split.log.users.raw[0], k=5) == wanted
    assert mt.Recommender(saved, history=split.log).recommend(split.log.users.raw[0], k=5) == wanted
    export_model(saved, tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text(encoding="utf-8")
    assert f"# LlamaForCausalLM with tokens for {vocabulary.n_items} items" in card
    assert "object:" not in card
    with pytest.raises(ConfigError, match="was made with a LlamaForCausalLM object"):
        mt.MetaTokenModule.load_from_checkpoint(tmp_path / "last.ckpt", vocabulary=vocabulary, tokenizer=tokenizer)
    with pytest.raises(ArgumentError, match="the backbone of another model already"):
        mt.MetaTokenModule(vocabulary, backbone=model.network.backbone.bare(), **about)


def test_objects_that_are_no_backbone(llama: tuple[Any, Any], vocabulary: Any) -> None:
    backbone, tokenizer = llama
    with pytest.raises(ArgumentError, match=r"tokenizer: is needed beside a model object"):
        mt.MetaTokenModule(vocabulary, backbone=backbone)
    with pytest.raises(ArgumentError, match=r"backbone: expected a language model of transformers.*got Linear"):
        mt.MetaTokenModule(vocabulary, backbone=torch.nn.Linear(2, 2), tokenizer=tokenizer)
    with pytest.raises(ArgumentError, match=r"backbone: expected a language model of transformers.*got LlamaModel"):
        mt.MetaTokenModule(vocabulary, backbone=backbone.model, tokenizer=tokenizer)
    with pytest.raises(ArgumentError, match=r"expected weights in float32, got torch.bfloat16"):
        mt.MetaTokenModule(vocabulary, backbone=copy.deepcopy(backbone).bfloat16(), tokenizer=tokenizer)
    small = copy.deepcopy(backbone)
    small.resize_token_embeddings(10)
    with pytest.raises(ArgumentError, match=r"tokenizer: it has \d+ tokens, and the backbone has room for 10"):
        mt.MetaTokenModule(vocabulary, backbone=small, tokenizer=tokenizer)
