"""A run that holds nothing out: it learns from everything and takes what is chosen from an earlier run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatoken import Recommender, Vocabulary
from metatoken.data import hold_out, no_split
from metatoken.errors import ArtifactError, ConfigError
from metatoken.predict.fusion import Fusion
from metatoken.predict.transitions import Popularity
from metatoken.recommend import Answerer
from metatoken.run import Run, RunFolder, evaluate_run, fit_baselines, load_config, load_run, read_log, train_run
from metatoken.run.config import Config, dump_config
from metatoken.run.final import take_choices
from metatoken.run.record import TrainingRecord
from metatoken.tasks.biases import RatingBias
from tests.conftest import TrainedRun
from tests.files import forget_history, reseal


def quiet(line: str) -> None:
    pass


def whole(run: TrainedRun, **changes: Any) -> Config:
    """The configuration of a run, for all of its log."""
    return replace(load_config(run.yaml, ["data.split=none"]), **changes)


def train(config: Config, out: Path, like: Path | None, **options: Any) -> Run:
    return train_run(config, out, like=like, **({"say": quiet} | options))


def kept(folder: Path, epoch: int) -> Path:
    """The folder of a run, which now says that it kept another epoch of five."""
    path = RunFolder(folder).training
    replace(TrainingRecord.load(path), kept_epoch=epoch, epochs=5, max_epochs=9).save(path)
    reseal(folder)
    return folder


@pytest.fixture
def earlier(trained_run: TrainedRun, tmp_path: Path) -> Path:
    """A copy of the trained run, with weights of fusion that no choice gives."""
    copy = Path(shutil.copytree(trained_run.run.folder, tmp_path / "earlier"))
    Fusion(0.35, 0.15, 0.5, users=77, form="sum").save(copy / "fusion.json")
    reseal(copy)
    return copy


@pytest.fixture(scope="module")
def final(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over everything, to be read only; its configuration says another number of epochs."""
    config = load_config(trained_run.yaml, ["data.split=none", "trainer.max_epochs=40"])
    return train(config, tmp_path_factory.mktemp("final") / "run", trained_run.run.folder)


def test_everything_is_learned_from(final: Run, trained_run: TrainedRun) -> None:
    log = trained_run.run.split.log
    assert final.split.train.edges_checksum() == final.split.log.edges_checksum() == log.edges_checksum()
    assert len(final.split.test) == len(final.split.validation) == 0
    assert final.module.vocabulary.learned_from == log.edges_checksum()
    recommender = Recommender.load(final.folder)
    users = np.arange(5)
    history = log.sequences()
    prior = recommender._prior.scores(history, users)
    assert recommender.fusion.content > 0
    np.testing.assert_array_equal(prior, recommender.fusion.fit_prior(log).scores(history, users))
    popular = Popularity.fit(final.split.train).scores(history, users)
    np.testing.assert_array_equal(popular, Popularity.fit(log).scores(history, users))
    assert len(recommender.recommend(log.users.raw[0], k=3)) == 3


def test_epochs_and_weights_are_those_of_the_earlier_run(
    trained_run: TrainedRun, earlier: Path, tmp_path: Path
) -> None:
    config = load_config(trained_run.yaml, ["data.split=none", "trainer.max_epochs=40"])
    lines: list[str] = []
    run = train(config, tmp_path / "run", earlier, say=lines.append)
    assert run.fusion == Fusion(0.35, 0.15, 0.5, users=77, form="sum")
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/1"]
    assert not any("hr@10" in line for line in lines)
    assert any("every interaction trains, nothing is held out" in line for line in lines)
    loaded = load_run(tmp_path / "run")
    assert loaded.fusion == run.fusion
    assert loaded.config.trainer.max_epochs == 1
    assert loaded.config.data.split == loaded.split.name == "none"


def test_an_earlier_run_of_before_there_was_a_choice_wrote_its_histories(
    trained_run: TrainedRun, earlier: Path
) -> None:
    assert take_choices(whole(trained_run), earlier)[0].model.history == "compact"
    forget_history(earlier)
    assert take_choices(whole(trained_run), earlier)[0].model.history == "written"


def test_the_epoch_that_was_kept_is_the_last_one(trained_run: TrainedRun, earlier: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run = train(whole(trained_run), tmp_path / "run", kept(earlier, 3), say=lines.append)
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert (run.config.trainer.max_epochs, run.config.trainer.patience) == (3, None)
    assert TrainingRecord.load(RunFolder(run.folder).training).kept_epoch == 3


def test_a_run_of_an_older_version_kept_its_last_epoch(trained_run: TrainedRun, earlier: Path) -> None:
    RunFolder(earlier).training.unlink()
    (earlier / "manifest.json").unlink()
    config = load_config(earlier / "config.yaml", ["trainer.max_epochs=4"])
    (earlier / "config.yaml").write_text(dump_config(config))
    assert take_choices(whole(trained_run), earlier)[0].trainer.max_epochs == 4


def test_it_can_be_loaded_but_not_evaluated(final: Run) -> None:
    loaded = load_run(final.folder)
    user = loaded.split.log.users.raw[3]
    ours, theirs = (
        Recommender(one.module, one.split.log, one.fusion, one.catalogue).recommend(user) for one in (final, loaded)
    )
    assert ours == theirs
    for part in ("test", "validation"):
        with pytest.raises(
            ConfigError, match=r"trained on every interaction .* evaluate the run whose choices it took"
        ):
            evaluate_run(loaded, part)  # type: ignore[arg-type]
    assert not (final.folder / "metrics.json").exists()
    with pytest.raises(ConfigError, match="nothing to be tuned or compared on"):
        fit_baselines(loaded, ["item_knn"], say=quiet)
    assert not RunFolder(final.folder).baselines.exists()


def test_interrupted_it_goes_on_with_the_same_command(trained_run: TrainedRun, tmp_path: Path) -> None:
    like = kept(Path(shutil.copytree(trained_run.run.folder, tmp_path / "like")), 2)

    def interrupt(line: str) -> None:
        if line.startswith("epoch 2/2"):
            raise KeyboardInterrupt

    config = whole(trained_run)
    done = train(config, tmp_path / "done", like)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "part", like, say=interrupt)
    part = train(config, tmp_path / "part", like, resume=True)
    file = Path("model") / "weights.safetensors"
    assert (part.folder / file).read_bytes() == (done.folder / file).read_bytes()
    assert part.fusion == done.fusion


def test_ratings_and_texts_learn_from_all_pairs(answering_run: TrainedRun, tmp_path: Path) -> None:
    run = train(whole(answering_run), tmp_path / "run", answering_run.run.folder)
    log, before, after = run.split.log, answering_run.run.module.ratings, run.module.ratings
    assert run.split.pairs is not None
    assert [len(part) for part in (run.split.pairs.train, run.split.pairs.validation, run.split.pairs.test)] == [
        len(log), 0, 0,
    ]  # fmt: skip
    assert before is not None
    assert after is not None
    assert after.share == before.share
    expected = RatingBias.fit(log, before.biases.damping, before.biases.item_damping)
    assert after.biases.damping == before.biases.damping
    np.testing.assert_array_equal(after.biases.item, expected.item)
    user, item = log.users.raw[0], log.items.raw[0]
    answerer = Answerer.load(tmp_path / "run")
    assert 1 <= answerer.answer("rating", [user], [item])[0] <= 5  # type: ignore[operator]
    assert isinstance(answerer.answer("explanation", [user], [item])[0], str)
    with pytest.raises(ConfigError, match="nothing is held out"):
        evaluate_run(run)


def test_what_does_not_fit_is_refused_before_any_work(
    trained_run: TrainedRun, earlier: Path, final: Run, tmp_path: Path
) -> None:
    config, out = whole(trained_run), tmp_path / "run"
    other = replace(config, model=replace(config.model, alpha=0.5))
    wider = replace(config, trainer=replace(config.trainer, batch_size=64))
    cases: list[tuple[Config, Path | None, type[Exception], str]] = [
        (config, None, ConfigError, "data.split: none holds nothing out .* --like RUN"),
        (trained_run.run.config, earlier, ConfigError, "--like: only for a run that holds nothing out"),
        (other, earlier, ConfigError, r"earlier was trained with model\.alpha: 1\.0, this configuration says 0\.5"),
        (wider, earlier, ConfigError, r"trainer\.batch_size: 32, this configuration says 64"),
        (config, final.folder, ConfigError, "held nothing out itself"),
        (config, tmp_path / "absent", ArtifactError, "is not a run folder"),
    ]
    for one, like, error, said in cases:
        with pytest.raises(error, match=said):
            train(replace(one, data=replace(one.data, path="absent.csv")), out, like)
    shutil.rmtree(earlier / "model")
    with pytest.raises(ArtifactError, match="interrupted"):
        train(config, out, earlier)
    assert not out.exists()


def test_another_log_seed_and_machine_fit(trained_run: TrainedRun, earlier: Path, tmp_path: Path) -> None:
    """A shop trains its final model on a newer export."""
    config = whole(trained_run, seed=5, threads=2)
    path = tmp_path / "newer.csv"
    path.write_text(Path(config.data.path).read_text().rsplit("\n", 3)[0] + "\n")
    config = replace(config, data=replace(config.data, path=path), trainer=replace(config.trainer, devices=1))
    run = train(config, tmp_path / "run", earlier)
    assert len(run.split.log) < len(trained_run.run.split.log)
    assert run.fusion.users == 77


def test_tokens_of_ones_own_must_be_of_everything(trained_run: TrainedRun, earlier: Path, tmp_path: Path) -> None:
    config = whole(trained_run)
    tokens = {"levels": [8, 16], "dim": 8, "walks_per_node": 2, "walk_length": 8}
    Vocabulary.fit(no_split(read_log(config)).train, **tokens).save(tmp_path / "all")
    run = train(replace(config, vocabulary=tmp_path / "all"), tmp_path / "run", earlier)
    assert run.module.vocabulary.learned_from == run.split.log.edges_checksum()
    with pytest.raises(ConfigError, match="--split none"):
        train(replace(config, vocabulary=earlier / "vocabulary"), tmp_path / "other", earlier)


def test_nothing_held_out_leaves_pairs_in_train(answering_run: TrainedRun) -> None:
    log, needs = answering_run.run.split.log, answering_run.run.config.needs
    split = hold_out(log, needs, 0, "none")
    assert split.pairs is not None
    assert split.train.edges_checksum() == split.pairs.train.edges_checksum() == log.edges_checksum()
    assert hold_out(log, {}, 0, "none").pairs is None
    assert hold_out(log, needs, 0).train.edges_checksum() == answering_run.run.split.train.edges_checksum()
