from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from metatoken import Vocabulary
from metatoken.artifacts import read_json
from metatoken.data import no_split
from metatoken.errors import ArgumentError, ArtifactError, ConfigError, DataError, MetatokenWarning
from metatoken.evaluate.runner import Runner
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.predict.fusion import Fusion
from metatoken.predict.ranker import Reading
from metatoken.run import Run, RunFolder, evaluate_run, load_run, read_log, train_run
from metatoken.run.config import Config, load_config
from metatoken.run.manifest import version_of
from metatoken.tasks.task import find_template
from tests.conftest import TrainedRun
from tests.files import flip_byte, forget_history, write_run_config


def quiet(line: str) -> None:
    pass


def train(config: Config, out: Path, **options: Any) -> Run:
    return train_run(config, out, **({"say": quiet} | options))


def scores(run: Run) -> list[torch.Tensor]:
    """Item scores and generated items of the first test users."""
    runner = Runner(run.module, run.split, "test", EvaluateSettings(batch_size=16))
    batch = runner.batches(find_template("seq-1"))[0]
    with torch.no_grad():
        reading = Reading(run.module.network, batch.batch, batch.seen, width=10)
        return [reading.item, reading.beams.items, reading.beams.scores]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(write_run_config(tmp_path))


@pytest.fixture
def finished(trained_run: TrainedRun, tmp_path: Path) -> Path:
    """A copy of the trained run, to be changed."""
    return Path(shutil.copytree(trained_run.run.folder, tmp_path / "run"))


def test_a_run_folder_holds_everything(trained_run: TrainedRun) -> None:
    folder = trained_run.run.folder
    assert names(folder) == {
        "config.yaml", "vocabulary", "items", "model", "history.parquet", "checkpoints", "fusion.json",
        "source.json", "training.json", "training.csv", "metrics.json", "predictions.parquet", "manifest.json",
    }  # fmt: skip
    assert {"manifest.json", "settings.json", "tokenizer", "weights.safetensors"} <= names(folder / "model")
    assert "manifest.json" in names(folder / "vocabulary")
    assert names(folder / "checkpoints") == {"best.ckpt", "last.ckpt"}
    n_targets = trained_run.run.split.train.sequences().n_targets
    asked = load_config(trained_run.yaml)
    resolved = asked.resolved(n_targets).reading(trained_run.run.module.vocabulary.item_tokens)
    assert load_config(folder / "config.yaml") == trained_run.run.config == resolved != asked
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0
    log = trained_run.run.split.log
    history = pl.read_parquet(folder / "history.parquet")
    assert history.columns == ["user", "item", "timestamp"]
    assert history["item"].to_list() == [log.items.raw[row] for row in log.frame["item"]]


def test_nothing_but_titles_is_kept_of_the_items_table(trained_run: TrainedRun) -> None:
    titles = trained_run.run.module.vocabulary.titles
    assert titles is not None
    assert len(titles) == trained_run.run.split.log.n_items
    assert all(titles)


def test_a_loaded_run_scores_bit_for_bit_alike(trained_run: TrainedRun) -> None:
    loaded = load_run(trained_run.run.folder)
    assert loaded.fusion == trained_run.run.fusion
    assert loaded.config == trained_run.run.config
    assert loaded.split.log.frame.select("user", "item", "order").equals(
        trained_run.run.split.log.frame.select("user", "item", "order")
    )
    for ours, theirs in zip(scores(loaded), scores(trained_run.run), strict=True):
        assert torch.equal(ours, theirs)


def test_one_seed_one_result(config: Config, trained_run: TrainedRun, tmp_path: Path) -> None:
    again = train(config, tmp_path / "again")
    weights = again.module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in trained_run.run.module.state_dict().items())
    document, other = dict(evaluate_run(again)), dict(trained_run.metrics)
    assert document.pop("seconds") >= 0
    assert other.pop("seconds") >= 0
    assert document.pop("run") == version_of(RunFolder(again.folder))
    assert other.pop("run") == version_of(RunFolder(trained_run.run.folder))
    # Of all that stands in the document, its own seconds too.
    assert document.pop("checksum") != other.pop("checksum")
    assert document == other
    assert read_json(again.folder / "metrics.json")["rows"] == other["rows"]
    first, second = (folder / "predictions.parquet" for folder in (again.folder, trained_run.run.folder))
    assert first.read_bytes() == second.read_bytes()


def test_another_seed_gives_other_weights(config: Config, trained_run: TrainedRun, tmp_path: Path) -> None:
    other = train(replace(config, seed=1), tmp_path / "other")
    assert not torch.equal(scores(other)[0], scores(trained_run.run)[0])


def test_a_vocabulary_of_ones_own_is_used_as_it_is(config: Config, trained_run: TrainedRun, tmp_path: Path) -> None:
    given = trained_run.run.folder / "vocabulary"
    run = train(replace(config, vocabulary=given), tmp_path / "run")
    assert np.array_equal(run.module.vocabulary.item_codes, trained_run.run.module.vocabulary.item_codes)
    for file in given.iterdir():
        assert (run.folder / "vocabulary" / file.name).read_bytes() == file.read_bytes()
    assert torch.equal(scores(run)[0], scores(trained_run.run)[0])


def test_a_vocabulary_without_titles_takes_those_of_the_log(
    config: Config, trained_run: TrainedRun, tmp_path: Path
) -> None:
    vocabulary = trained_run.run.module.vocabulary
    replace(vocabulary, titles=None).save(tmp_path / "untitled")
    run = train(replace(config, vocabulary=tmp_path / "untitled"), tmp_path / "run")
    assert run.module.vocabulary.titles == vocabulary.titles
    assert load_run(tmp_path / "run").module.vocabulary.titles == vocabulary.titles
    assert any(vocabulary.titles)


def test_a_vocabulary_that_has_seen_the_targets_is_refused(config: Config, tmp_path: Path) -> None:
    everything = no_split(read_log(config)).train
    Vocabulary.fit(everything, levels=[8, 16], dim=8, walks_per_node=2, walk_length=8).save(tmp_path / "leaking")
    with pytest.raises(ConfigError, match="leave-last-out"):
        train(replace(config, vocabulary=tmp_path / "leaking"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_existing_folder_is_kept(config: Config, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("cat")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(ConfigError, match="photos"):
            train(config, photos, **options)
    file = tmp_path / "file"
    file.write_text("text")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(ConfigError, match="file"):
            train(config, file, **options)
    assert names(photos) == {"cat.jpg"}
    assert file.read_text() == "text"


def test_a_finished_run_is_replaced_only_when_asked(config: Config, finished: Path) -> None:
    with pytest.raises(ConfigError, match="--overwrite"):
        train(config, finished)
    assert (finished / "metrics.json").exists()
    run = train(config, finished, overwrite=True)
    assert not (finished / "metrics.json").exists()  # it was the older run's
    assert run.folder == finished


def test_an_empty_folder_may_be_given(config: Config, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert load_run(train(config, tmp_path / "empty").folder).module.tasks == ("sequential", "direct")


UNUSABLE: dict[str, tuple[dict[str, Any], str, type[Exception]]] = {
    "no such log": ({"data": {"path": "absent.csv"}}, "absent.csv", DataError),
    "no such column": ({"data": {"user": "customer"}}, "customer", DataError),
    "levels too large": ({"tokens": {"levels": [4096, 16]}}, "levels", ArgumentError),
    "no such meta-path": ({"tokens": {"meta_paths": ["user-shop"]}}, "meta_path", ArgumentError),
    "too long for the positions": ({"model": {"max_history": 400}}, "max_history", ConfigError),
    "no such task": ({"model": {"tasks": ["rating"]}}, "model.tasks", ConfigError),
    "no such backbone": ({"model": {"backbone": "./nowhere", "preset": {}}}, "model.backbone", ConfigError),
    "no such preset key": ({"model": {"preset": {"size": 3}}}, "model.preset", ConfigError),
    "no such trainer option": ({"trainer": {"options": {"maximum": 3}}}, "maximum", ConfigError),
    "an option given twice": ({"trainer": {"options": {"max_epochs": 3}}}, "max_epochs", ConfigError),
    "no such accelerator": ({"trainer": {"accelerator": "abacus"}}, "abacus", ConfigError),
}


def test_settings_of_the_model_are_refused_before_the_log_is_read(tmp_path: Path) -> None:
    sections = {"data": {"path": "absent.csv"}, "model": {"tasks": ["sequental"]}}
    with pytest.raises(ConfigError, match=r"model\.tasks: unknown task 'sequental'; did you mean 'sequential'"):
        train(load_config(write_run_config(tmp_path, **sections)), tmp_path / "run")


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_leaves_no_folder_and_keeps_the_older_run(
    name: str, tmp_path: Path, finished: Path
) -> None:
    sections, hint, error = UNUSABLE[name]
    path = write_run_config(tmp_path / "bad", **sections)
    for out, options in ((tmp_path / "new", {}), (finished, {"overwrite": True})):
        with pytest.raises(error, match=hint):
            train(load_config(path), out, **options)
    assert not (tmp_path / "new").exists()
    assert (finished / "metrics.json").exists()


def test_a_log_with_nothing_to_learn_from(config: Config, tmp_path: Path) -> None:
    log = tmp_path / "short.csv"
    log.write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{u},i{(u + t) % 20},{t}\n" for u in range(30) for t in range(3))
    )
    short = replace(config, data=replace(config.data, path=log, items=None, title=None, categories=None))
    with pytest.raises(ArgumentError, match="two training interactions"):
        train(short, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("validate_every", [1, 2])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    stop: type[BaseException], validate_every: int, tmp_path: Path
) -> None:
    trainer = {"max_epochs": 3, "validate_every": validate_every}
    config = load_config(write_run_config(tmp_path, n_users=60, trainer=trainer))

    def interrupt(line: str) -> None:
        if line.startswith("epoch 2/3"):
            raise stop

    whole = train(config, tmp_path / "whole")
    with pytest.raises(stop):
        train(config, tmp_path / "part", say=interrupt)
    with pytest.raises(ArtifactError, match="--resume"):
        load_run(tmp_path / "part")
    lines: list[str] = []
    part = train(config, tmp_path / "part", resume=True, say=lines.append)
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 2/3", "epoch 3/3"]
    weights = part.module.state_dict()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert part.fusion == whole.fusion
    file = Path("model") / "weights.safetensors"
    assert (part.folder / file).read_bytes() == (whole.folder / file).read_bytes()


def test_interrupted_before_the_first_checkpoint_nothing_stays(config: Config, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", say=interrupt)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_can_train_longer(config: Config, finished: Path) -> None:
    longer = replace(config, trainer=replace(config.trainer, max_epochs=2))
    lines: list[str] = []
    run = train(longer, finished, resume=True, say=lines.append)
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 2/2"]
    resolved = longer.resolved(run.split.train.sequences().n_targets)
    assert load_run(run.folder).config == resolved.reading(run.module.vocabulary.item_tokens)


def test_a_run_says_how_it_names_the_items_of_a_history(trained_run: TrainedRun) -> None:
    assert load_config(trained_run.run.folder / "config.yaml").model.history == "compact"
    assert trained_run.run.module.settings.history == trained_run.run.config.model.history == "compact"


def test_a_run_of_before_there_was_a_choice_goes_on_as_it_began(config: Config, tmp_path: Path) -> None:
    folder = train(replace(config, model=replace(config.model, history="written")), tmp_path / "run").folder
    forget_history(folder)
    longer = replace(config, trainer=replace(config.trainer, max_epochs=2))
    with pytest.raises(ConfigError, match="--resume"):
        train(replace(longer, model=replace(longer.model, history="compact")), folder, resume=True)
    run = train(longer, folder, resume=True)
    assert run.module.settings.history == "written"
    assert not run.module.builder.encoder.compact
    loaded = load_run(folder)
    assert loaded.config == run.config
    assert loaded.config.model.history == loaded.module.settings.history == "written"


def test_what_cannot_be_resumed(config: Config, finished: Path, tmp_path: Path) -> None:
    for changed in ({"seed": 5}, {"model": replace(config.model, alpha=0.5)}):
        with pytest.raises(ConfigError, match="--resume"):
            train(replace(config, **changed), finished, resume=True)
    with pytest.raises(ConfigError, match="no checkpoint"):
        train(config, tmp_path / "nowhere", resume=True)
    last = finished / "checkpoints" / "last.ckpt"
    flip_byte(last)
    content = last.read_bytes()
    for damaged in (content, content[:1000], b""):
        last.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"last\.ckpt"):
            train(config, finished, resume=True)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", ["config.yaml", "vocabulary", "model", "history.parquet", "fusion.json"])
def test_a_part_that_is_missing(name: str, finished: Path) -> None:
    remove(finished / name)
    with pytest.raises((ArtifactError, ConfigError), match=name.partition(".")[0] if name != "model" else "run"):
        load_run(finished)


def test_a_history_of_other_people(finished: Path) -> None:
    frame = pl.DataFrame({"user": ["a", "a", "a"], "item": ["x", "y", "z"]})
    frame.write_parquet(finished / "history.parquet")
    with pytest.raises(ArtifactError, match=r"history\.parquet: altered"):
        load_run(finished)
    (finished / "manifest.json").unlink()  # as older versions left a run
    with (
        pytest.warns(MetatokenWarning, match="has no manifest"),
        pytest.raises(ArtifactError, match="other users or items"),
    ):
        load_run(finished)


def test_a_history_in_another_order(finished: Path) -> None:
    pl.read_parquet(finished / "history.parquet").reverse().write_parquet(finished / "history.parquet")
    (finished / "manifest.json").unlink()  # as older versions left a run
    with pytest.raises(ArtifactError, match=r"history\.parquet: altered"):
        load_run(finished)


def test_a_vocabulary_of_another_size(finished: Path, config: Config) -> None:
    split_train = load_run(finished).split.train
    remove(finished / "vocabulary")
    other = Vocabulary.fit(split_train, levels=[4, 16, 8], dim=16, walks_per_node=2, walk_length=8)
    other.save(finished / "vocabulary")
    with pytest.raises(ArtifactError, match="vocabulary"):
        load_run(finished)
    (finished / "manifest.json").unlink()  # as older versions left a run
    with pytest.raises(ArtifactError, match="vocabulary"):
        load_run(finished)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a run folder"):
        load_run(tmp_path)


def test_a_run_without_held_out_items(trained_run: TrainedRun) -> None:
    run = trained_run.run
    empty = Run(run.folder, run.config, no_split(run.split.log), run.module, Fusion(), run.catalogue)
    with pytest.raises(ConfigError, match="three interactions"):
        evaluate_run(empty)


def test_metrics_document(trained_run: TrainedRun) -> None:
    document, log = trained_run.metrics, trained_run.run.split.log
    assert document["split"] == "leave-last-out"
    assert document["dataset"] == {"users": log.n_users, "items": log.n_items, "interactions": len(log)}
    assert document["repeated_targets"] == 0
    assert read_json(trained_run.run.folder / "metrics.json") == document


def test_validation_can_be_scored_without_unseen_templates(finished: Path) -> None:
    document = evaluate_run(load_run(finished), "validation", unseen=False)
    assert document["split"] == "leave-last-out (validation)"
    assert {row["template"] for row in document["rows"]} == {"seq-1", "direct-1", "-"}
    assert pl.read_parquet(finished / "predictions.parquet")["split"].unique().to_list() == ["validation"]
