"""A run over tokens of items alone, as logs of anonymous sessions have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from metatoken.errors import ConfigError
from metatoken.recommend import Recommender
from metatoken.run import evaluate_run, load_run, train_run
from metatoken.run.config import load_config
from tests.files import write_run_config


def test_a_run_without_user_tokens_goes_end_to_end(tmp_path: Path) -> None:
    sections = {"tokens": {"kinds": "items", "meta_paths": ["item-user-item", "item>item"]}}
    yaml = write_run_config(tmp_path, **sections, model={"tasks": ["sequential"]})
    train_run(load_config(yaml), tmp_path / "run", say=lambda _: None)
    run = load_run(tmp_path / "run")
    assert run.module.vocabulary.n_users == 0
    rows = evaluate_run(run)["rows"]
    assert {row["model"] for row in rows} >= {"item_head", "generation", "popularity"}
    user = run.split.log.users.raw[0]
    assert len(Recommender.load(tmp_path / "run").recommend(user=user, k=5)) == 5


@pytest.mark.parametrize(
    "model", [{"tasks": ["sequential", "direct"]}, {"tasks": ["sequential"], "user_tokens": "prefix"}]
)
def test_what_needs_users_is_refused(tmp_path: Path, model: dict) -> None:
    yaml = write_run_config(tmp_path, tokens={"kinds": "items"}, model=model)
    with pytest.raises(ConfigError, match="holds items only"):
        train_run(load_config(yaml), tmp_path / "run", say=lambda _: None)
