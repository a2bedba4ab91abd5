"""Fresh tokens for a run: what stays, what moves, and where the new model begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from metatoken import Interactions, Recommender
from metatoken.errors import ArtifactError, ConfigError
from metatoken.run import RunFolder, evaluate_run, extend_run, load_run
from metatoken.run.manifest import check_bytes, version_of
from metatoken.run.rebuild import rebuild_run
from metatoken.tokens.vectors.cold import FEATURES
from tests.growing import make_grown, quiet
from tests.lists import assert_same_list


class Rebuilt(NamedTuple):
    """An extended run and what is made of it, untrained and trained."""

    grown: Path
    start: Path
    trained: Path


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    folder = tmp_path_factory.mktemp("rebuilding")
    make_grown(folder)
    rebuild_run(folder / "grown", folder / "start", epochs=0, say=quiet)
    rebuild_run(folder / "grown", folder / "trained", epochs=1, say=quiet)
    return Rebuilt(folder / "grown", folder / "start", folder / "trained")


def test_items_keep_their_vectors_and_ids_get_new_tokens(rebuilt: Rebuilt) -> None:
    old, new = load_run(rebuilt.grown), load_run(rebuilt.start)
    assert new.module.vocabulary.items == old.module.vocabulary.items
    assert new.split.train.checksum() == old.split.train.checksum()
    with torch.no_grad():
        torch.testing.assert_close(new.module.network.items(), old.module.network.items(), atol=1e-5, rtol=1e-4)
    assert new.module.vocabulary.earlier == ()
    assert not torch.equal(new.module.network.items.tokens, old.module.network.items.tokens)
    before, after = (dict(run.module.network.named_parameters()) for run in (old, new))
    kept = [name for name in before if not name.startswith(("table.", "items."))]
    assert kept
    for name in kept:
        assert torch.equal(before[name], after[name]), name


def test_the_item_head_ranks_as_before(rebuilt: Rebuilt) -> None:
    old, new = Recommender.load(rebuilt.grown), Recommender.load(rebuilt.start)
    for user in old.history.users.raw[:20]:
        lists = [one.recommend(user, k=8, model="item_head") for one in (old, new)]
        assert_same_list(
            *(part for found in reversed(lists) for part in ([i.item for i in found], [i.score for i in found]))
        )


def test_tokens_begin_where_their_items_are(rebuilt: Rebuilt) -> None:
    """The first tokens are the means of their items' vectors, so that generation finds likely items untrained."""
    network = load_run(rebuilt.start).module.network
    with torch.no_grad():
        vectors, tokens = network.items(), network.table()
    for token in network.items.tokens[:, 0].unique().tolist():
        own = network.items.tokens[:, 0] == token
        torch.testing.assert_close(tokens[token], vectors[own].mean(dim=0), atol=1e-4, rtol=1e-3)


def test_the_mapping_and_where_it_comes_from(rebuilt: Rebuilt) -> None:
    old, new, at = load_run(rebuilt.grown), load_run(rebuilt.trained), RunFolder(rebuilt.trained)
    mapping = pl.read_parquet(at.mapping)
    assert mapping.height == old.module.vocabulary.n_users + old.module.vocabulary.n_items
    for kind, raw, before, after in mapping.iter_rows():
        assert old.module.vocabulary.tokens_of(**{kind: raw}) == before
        assert new.module.vocabulary.tokens_of(**{kind: raw}) == after
    about = json.loads(at.rebuilt.read_text())
    assert (about["version"], about["epochs"]) == (version_of(RunFolder(rebuilt.grown)), 1)
    assert {"mapping.parquet", "rebuilt.json"} <= set(check_bytes(at))
    assert not at.lineage.exists()


def test_training_moves_it_and_evaluation_works(rebuilt: Rebuilt) -> None:
    start, trained = load_run(rebuilt.start), load_run(rebuilt.trained)
    assert start.module.vocabulary.tokens == trained.module.vocabulary.tokens
    assert not torch.equal(start.module.network.table.weight, trained.module.network.table.weight)
    rows = evaluate_run(trained, unseen=False)["rows"]
    assert {"item_head", "generation", "fused"} <= {row["model"] for row in rows}


def test_a_rebuilt_run_is_extended_like_any_other(rebuilt: Rebuilt, tmp_path: Path) -> None:
    last = int(load_run(rebuilt.start).split.log.frame["timestamp"].max())  # type: ignore[arg-type]
    new = Interactions.from_arrays(["u0001", "brand-new"], ["p0001", "newest"], times=[last + 1, last + 2])
    run = extend_run(rebuilt.start, new, tmp_path / "next", say=quiet)
    assert "newest" in run.catalogue.items


def test_what_only_categories_place_stays_placed(rebuilt: Rebuilt, tmp_path: Path) -> None:
    old = load_run(rebuilt.grown)
    table = old.split.train.item_table
    assert table is not None
    kinds = table["categories"].drop_nulls()[0].to_list()
    new = Interactions.from_frame(
        {"user": ["u"], "item": ["unseen"]}, items={"item": ["unseen"], "title": ["New"], "categories": [kinds]}
    )
    extend_run(rebuilt.grown, new.with_rows(np.zeros(1, np.bool_)), tmp_path / "next", say=quiet)
    run = rebuild_run(tmp_path / "next", tmp_path / "fresh", epochs=0, say=quiet)
    for one in (load_run(tmp_path / "next").module.vocabulary, run.module.vocabulary):
        assert one.origins[one.n_users + one.items.row("unseen")] == FEATURES


def test_what_is_refused(rebuilt: Rebuilt, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        rebuild_run(rebuilt.grown, rebuilt.grown, overwrite=True, say=quiet)
    with pytest.raises(ConfigError, match="give another folder, or --overwrite"):
        rebuild_run(rebuilt.grown, rebuilt.start, say=quiet)
    with pytest.raises(ConfigError, match="which is a run; choose a place outside of it"):
        rebuild_run(rebuilt.grown, rebuilt.grown / "child", say=quiet)
    with pytest.raises(ArtifactError, match="is not a run folder"):
        rebuild_run(tmp_path / "none", tmp_path / "out", say=quiet)
    assert not (tmp_path / "out").exists()
