"""Fitted baselines on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatoken.artifacts import MANIFEST, read_tensors, sha256, write_json, write_manifest, write_tensors
from metatoken.baselines import BASELINES, Baseline
from metatoken.baselines.baseline import KIND, SCHEMA
from metatoken.baselines.settings import BaselineSettings, EASESettings, ItemKNNSettings, SASRecSettings
from metatoken.errors import ArtifactError

QUICK = BaselineSettings(
    SASRecSettings(dim=8, layers=1, epochs=1),
    ItemKNNSettings(neighbors=(5,), shrinkage=(1.0,)),
    EASESettings(regularization=(10.0,), neighbors=9),
)


@pytest.fixture(scope="module", params=list(BASELINES))
def fitted(request: pytest.FixtureRequest, split: Any) -> Baseline:
    return BASELINES[request.param].fit(split, getattr(QUICK, request.param), seed=3)


def test_every_baseline_has_settings_of_its_name() -> None:
    assert {name: type(settings) for name, settings in vars(QUICK).items()} == {
        name: kind.options for name, kind in BASELINES.items()
    }


def test_saved_and_loaded_it_is_the_same(fitted: Baseline, split: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    loaded = type(fitted).load(tmp_path / "one")
    assert (loaded.settings, loaded.origin) == (fitted.settings, fitted.origin)
    assert loaded.origin.learned_from == split.train.edges_checksum()
    history, users = split.history("test"), np.arange(split.log.n_users)
    np.testing.assert_array_equal(loaded.scores(history, users), fitted.scores(history, users))
    loaded.save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert sha256(path) == sha256(tmp_path / "two" / path.name)


def test_fitted_with_what_was_chosen_it_is_the_same_again(fitted: Baseline, split: Any) -> None:
    again = type(fitted).fit(split, fitted.settings, seed=3)
    for name, values in fitted.arrays().items():
        np.testing.assert_array_equal(values, again.arrays()[name])


def test_another_baseline_and_an_altered_file_are_refused(fitted: Baseline, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    other = next(kind for kind in BASELINES.values() if kind.name != fitted.name)
    with pytest.raises(ArtifactError, match=f"holds the baseline {fitted.name}, expected {other.name}"):
        other.load(tmp_path / "one")
    write_json(tmp_path / "one" / "settings.json", {})
    with pytest.raises(ArtifactError, match="altered or damaged"):
        type(fitted).load(tmp_path / "one")


@pytest.mark.parametrize("how", ["missing", "shape"])
def test_arrays_that_do_not_fit_are_refused(fitted: Baseline, how: str, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    weights = tmp_path / "one" / "weights.safetensors"
    arrays = read_tensors(weights)[0]
    if how == "missing":
        del arrays["popularity"]
    else:
        arrays["popularity"] = arrays["popularity"][:-1]
    write_tensors(weights, arrays)
    (tmp_path / "one" / MANIFEST).unlink()
    write_manifest(tmp_path / "one", KIND, SCHEMA, name=fitted.name, **vars(fitted.origin))
    with pytest.raises(ArtifactError, match=f"baseline {fitted.name} do not fit"):
        type(fitted).load(tmp_path / "one")
