"""One run made of several: what it holds, what it serves, and what cannot be joined."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from metatoken import Recommender
from metatoken.errors import ArgumentError, ArtifactError, ConfigError
from metatoken.run import (
    RunFolder,
    compare_runs,
    ensemble_run,
    evaluate_run,
    extend_run,
    load_config,
    load_run,
    train_run,
)
from metatoken.run.manifest import check_bytes, n_partners, version_of
from metatoken.run.rebuild import rebuild_run
from tests.conftest import TrainedRun
from tests.files import write_run_config


def quiet(_line: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def second(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same log with another seed, so with other tokens."""
    folder = tmp_path_factory.mktemp("second") / "run"
    train_run(load_config(trained_run.yaml, ["seed=7"]), folder, say=quiet)
    return folder


@pytest.fixture(scope="module")
def joined(trained_run: TrainedRun, second: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined") / "run"
    ensemble_run([trained_run.run.folder, second], folder, say=quiet)
    return folder


def test_it_is_whole_without_the_runs_it_was_made_of(joined: Path, trained_run: TrainedRun, second: Path) -> None:
    run, first = load_run(joined), load_run(trained_run.run.folder)
    (partner,) = run.partners
    with torch.no_grad():
        for mine, theirs in ((run.module, first.module), (partner, load_run(second).module)):
            assert torch.equal(mine.network.items(), theirs.network.items())
    assert partner.vocabulary.tokens != ()
    assert run.split.train.checksum() == first.split.train.checksum()
    assert run.fusion.users == first.fusion.users  # chosen anew, on the same users
    checked = check_bytes(RunFolder(joined))
    assert {"partners/0/model/weights.safetensors", "partners/0/vocabulary/codebook.safetensors"} <= set(checked)
    assert json.loads((joined / "manifest.json").read_text())["partners"] == [None]  # no frozen backbone


def test_it_is_evaluated_and_recommends_as_its_models_together(joined: Path, trained_run: TrainedRun) -> None:
    run = load_run(joined)
    rows = {(row["task"], row["model"]): row for row in evaluate_run(run, unseen=False)["rows"]}
    assert ("sequential", "fused") in rows
    before = {
        (row["task"], row["model"]): row for row in trained_run.metrics["rows"] if "unseen" not in row["template"]
    }
    for kind in ("item_head", "generation"):
        assert rows["sequential", kind]["hr@10"] == before["sequential", kind]["hr@10"]
    loaded = Recommender.load(joined)
    assert len(loaded.partners) == 1
    by_hand = Recommender(run.module, run.split.log, run.fusion, run.catalogue, partners=run.partners)
    user = run.split.log.users.raw[0]
    assert loaded.recommend(user, k=5) == by_hand.recommend(user, k=5)
    check_bytes(RunFolder(joined))


def test_it_is_compared_with_its_models_as_a_group_of_its_own(joined: Path, trained_run: TrainedRun) -> None:
    evaluate_run(load_run(joined), unseen=False)
    groups = compare_runs([trained_run.run.folder, joined], resamples=10)["groups"]
    assert [group["settings"] for group in groups] == [{"models": 1}, {"models": 2}]


def test_the_manifest_says_how_many_models_there_are(joined: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(joined, folder)
    assert n_partners(RunFolder(folder)) == 1
    shutil.copytree(folder / "partners" / "0", folder / "partners" / "1")  # of which no manifest knows
    assert n_partners(RunFolder(folder)) == 1
    (folder / "manifest.json").unlink()  # as older versions left it, which had no ensembles
    assert n_partners(RunFolder(folder)) == 0


def test_fusion_weights_may_come_from_an_earlier_one(
    joined: Path, trained_run: TrainedRun, second: Path, tmp_path: Path
) -> None:
    ensemble_run([second, trained_run.run.folder], tmp_path / "run", like=joined, say=quiet)
    assert (tmp_path / "run" / "fusion.json").read_bytes() == (joined / "fusion.json").read_bytes()
    assert version_of(RunFolder(tmp_path / "run")) != version_of(RunFolder(joined))


def test_nothing_held_out_needs_weights_from_elsewhere(joined: Path, trained_run: TrainedRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        config = load_config(trained_run.yaml, [f"seed={seed}", "data.split=none"])
        train_run(config, tmp_path / f"whole-{seed}", like=trained_run.run.folder, say=quiet)
    runs = [tmp_path / "whole-0", tmp_path / "whole-1"]
    with pytest.raises(ConfigError, match=r"nothing is held out, .* with --like"):
        ensemble_run(runs, tmp_path / "out", say=quiet)
    ensemble_run(runs, tmp_path / "out", like=joined, say=quiet)
    assert load_run(tmp_path / "out").fusion == load_run(joined).fusion


@pytest.mark.parametrize("name", ["partners/0/model/weights.safetensors", "partners/0/vocabulary/vectors.safetensors"])
def test_an_altered_partner_is_noticed(joined: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(joined, folder)
    with (folder / name).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(ArtifactError, match=name):
        check_bytes(RunFolder(folder))


def test_a_partner_of_another_ensemble_or_none_is_noticed(joined: Path, second: Path, tmp_path: Path) -> None:
    swapped, missing, added = (tmp_path / name for name in ("swapped", "missing", "added"))
    for folder in (swapped, missing, added):
        shutil.copytree(joined, folder)
    shutil.rmtree(swapped / "partners" / "0" / "model")
    shutil.copytree(joined / "model", swapped / "partners" / "0" / "model")
    shutil.rmtree(missing / "partners")
    shutil.copytree(joined / "partners" / "0", added / "partners" / "1")
    for folder in (swapped, missing, added):
        with pytest.raises(ArtifactError):
            load_run(folder)


def test_what_cannot_be_joined(joined: Path, trained_run: TrainedRun, second: Path, tmp_path: Path) -> None:
    first, out = trained_run.run.folder, tmp_path / "out"
    for runs in ([], [first], [first, first]):
        with pytest.raises(ArgumentError, match="two or more different runs"):
            ensemble_run(runs, out, say=quiet)
    with pytest.raises(ConfigError, match="is an ensemble itself"):
        ensemble_run([first, joined], out, say=quiet)
    (tmp_path / "other").mkdir()
    config = write_run_config(tmp_path / "other", n_users=60)
    train_run(load_config(config), tmp_path / "other" / "run", say=quiet)
    with pytest.raises(ConfigError, match="was trained on another log"):
        ensemble_run([first, tmp_path / "other" / "run"], out, say=quiet)
    with pytest.raises(ArtifactError, match="is not a run folder"):
        ensemble_run([first, tmp_path], out, say=quiet)
    assert not out.exists()
    before = version_of(RunFolder(second))
    with pytest.raises(ConfigError):
        ensemble_run([first, second], second, overwrite=True, say=quiet)
    assert version_of(RunFolder(second)) == before


def test_an_ensemble_goes_on_by_its_members(joined: Path, trained_run: TrainedRun, tmp_path: Path) -> None:
    new = load_run(trained_run.run.folder).split.log
    with pytest.raises(ConfigError, match="cannot be extended; extend the runs that it was made of"):
        extend_run(joined, new, tmp_path / "grown", say=quiet)
    with pytest.raises(ConfigError, match="cannot be rebuilt; rebuild the runs that it was made of"):
        rebuild_run(joined, tmp_path / "rebuilt", say=quiet)
    assert not list(tmp_path.iterdir())


def test_a_newer_ensemble_replaces_one(joined: Path, trained_run: TrainedRun, second: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(joined, folder)
    with pytest.raises(ConfigError, match="--overwrite"):
        ensemble_run([second, trained_run.run.folder], folder, say=quiet)
    ensemble_run([second, trained_run.run.folder], folder, overwrite=True, say=quiet)
    assert version_of(RunFolder(folder)) != version_of(RunFolder(joined))
