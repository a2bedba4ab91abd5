"""A run that is extended: what it keeps, what it recommends, where it comes from, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from metatoken import Interactions, Recommender
from metatoken.config import SettingError
from metatoken.data.growth import nothing
from metatoken.errors import ArtifactError, ConfigError, DataError, MetatokenWarning
from metatoken.model.heads.rows import settled
from metatoken.model.row_adamw import RowAdamW
from metatoken.run import Run, RunFolder, evaluate_run, extend_run, load_run, train_run
from metatoken.run.addition import Addition
from metatoken.run.config import load_config
from metatoken.run.lineage import Lineage
from metatoken.run.manifest import check_bytes
from metatoken.run.place import training_place
from tests.files import reseal
from tests.growing import Grown, make_grown, quiet, write_growing


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return make_grown(tmp_path_factory.mktemp("growing"))


def lists(run: Path, users: Any, model: str = "fused") -> list[list[tuple[str, float]]]:
    found = Recommender.load(run).recommend_many(users, k=5, model=model)  # type: ignore[arg-type]
    return [[(one.item, one.score) for one in found[user]] for user in users]


def test_old_weights_and_vectors_keep_their_bytes(grown: Grown) -> None:
    old, new = load_run(grown.parent), load_run(grown.run)
    before, after = old.module.network.state_dict(), new.module.network.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        rows = after[name][: len(value)] if value.ndim else after[name]
        assert torch.equal(value, rows), name
    n = old.module.vocabulary.n_items
    assert new.module.vocabulary.n_items > n
    with torch.no_grad():
        assert torch.equal(old.module.network.items(), new.module.network.items()[:n])
    raw = old.module.vocabulary.items.raw
    for one in raw:
        assert old.module.vocabulary.tokens_of(item=one) == new.module.vocabulary.tokens_of(item=one)


def test_the_trie_holds_exactly_the_catalogue(grown: Grown) -> None:
    run = load_run(grown.run)
    index = run.module.network.index
    assert sorted(index.leaf_items.tolist()) == list(range(len(run.catalogue.items)))
    everything = len(run.catalogue.items)
    found = Recommender.load(grown.run).recommend("u0004", k=everything, exclude_seen=False)
    assert sorted(one.item for one in found) == sorted(run.catalogue.items.raw)


def test_new_items_are_recommended_without_training(grown: Grown) -> None:
    old, run = load_run(grown.parent), load_run(grown.run)
    new = set(run.catalogue.items.raw) - set(old.catalogue.items.raw)
    users = run.split.log.users.raw
    for model in ("fused", "item_head", "generation"):
        assert any(item in new for found in lists(grown.run, users, model) for item, _ in found), model
    titled = [title for raw, title in zip(run.catalogue.items.raw, run.catalogue.titles, strict=True) if raw in new]
    assert all(titled)
    assert evaluate_run(run, unseen=False)["rows"]


def test_an_extension_without_new_data_recommends_as_the_parent(grown: Grown, tmp_path: Path) -> None:
    extend_run(grown.parent, nothing(), tmp_path / "same", say=quiet)
    users = load_run(grown.parent).split.log.users.raw
    for model in ("fused", "item_head", "generation"):
        assert lists(tmp_path / "same", users, model) == lists(grown.parent, users, model)
    for part in (
        "model/weights.safetensors",
        "vocabulary/vectors.safetensors",
        "vocabulary/entities.parquet",
        "fusion.json",
    ):
        assert (tmp_path / "same" / part).read_bytes() == (grown.parent / part).read_bytes()


def test_histories_go_on(grown: Grown) -> None:
    old, new = load_run(grown.parent).split.log, load_run(grown.run).split.log
    assert len(new) == len(old) + len(grown.new)
    assert new.frame["timestamp"].dtype == pl.Int64
    for raw in old.users:
        before, after = (log.items.column(log.sequences()[log.users.row(raw)]).to_list() for log in (old, new))
        assert after[: len(before)] == before
        more = grown.new.users.find([raw])[0]
        own = [] if more < 0 else grown.new.items.column(grown.new.sequences()[int(more)]).to_list()
        assert after[len(before) :] == own


def test_where_it_comes_from(grown: Grown, tmp_path: Path) -> None:
    extend_run(grown.run, nothing(), tmp_path / "third", say=quiet)
    versions = Lineage.load(RunFolder(tmp_path / "third").lineage).versions
    old, new = load_run(grown.parent), load_run(grown.run)
    assert [one.items for one in versions] == [old.split.log.n_items, *[new.split.log.n_items] * 2]
    assert [one.interactions for one in versions] == [len(old.split.log), *[len(new.split.log)] * 2]
    assert [one.run for one in versions] == [str(grown.parent), str(grown.run), None]
    for version, folder in zip(versions, (grown.parent, grown.run), strict=False):
        from metatoken.artifacts import sha256

        assert version.manifest == sha256(folder / "manifest.json")
        assert version.vocabulary == sha256(folder / "vocabulary" / "manifest.json")
        assert version.model == sha256(folder / "model" / "manifest.json")
    assert versions[1].log is not None
    assert versions[1].log["interactions"] == len(grown.new)
    assert versions[1].found["items"]["neighbours"] > 0
    assert "lineage.json" in check_bytes(RunFolder(grown.run))
    assert load_run(tmp_path / "third").module.vocabulary.earlier[-1][1] == versions[1].items


def test_a_lineage_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lineage.json"
    for content in ('{"schema": 1, "versions": []}', '{"schema": 1, "versions": [{"a": 1}]}', "[]", '{"schema": 1}'):
        path.write_text(content)
        with pytest.raises(ArtifactError, match="is not the lineage of a run"):
            Lineage.load(path)
    path.write_text('{"schema": 99, "versions": []}')
    with pytest.raises(ArtifactError, match="newer metatoken"):
        Lineage.load(path)


@pytest.fixture(scope="module")
def trained(grown: Grown) -> Run:
    """The run, trained further for two passes."""
    return extend_run(
        grown.parent, grown.new, grown.parent.parent / "further", epochs=2, replay=0.5, since="2021-02-01", say=quiet
    )


def test_a_run_that_updates_rows_is_extended_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, bool]] = []  # items of the table, and whether a step had a part of them alone

    class Spy(RowAdamW):
        def step(self, closure: Any = None) -> Any:
            loss = super().step(closure)
            found = [p.grad for group in self.param_groups for p in group["params"] if p.grad.is_sparse]
            steps.extend((len(one), len(settled(one).indices()[0]) < len(one)) for one in found)
            return loss

    monkeypatch.setattr("metatoken.model.schedule.RowAdamW", Spy)
    sampled = {"item_softmax": "sampled", "softmax_samples": 2, "item_updates": "rows", "tasks": ["sequential"]}
    trainer = {"batch_size": 1, "options": {"limit_train_batches": 8}}
    config, log, items = write_growing(tmp_path, model=sampled, trainer=trainer)
    run = train_run(load_config(config), tmp_path / "run", say=quiet)
    n = run.module.vocabulary.n_items
    assert {size for size, _ in steps} == {n}
    assert any(part for _, part in steps)
    steps.clear()
    new = Addition.of(run.config.data, log, items).read()
    grown = extend_run(run.folder, new, tmp_path / "grown", epochs=1, replay=0.5, say=quiet)
    assert grown.module.vocabulary.n_items > n
    assert {size for size, _ in steps} == {grown.module.vocabulary.n_items}
    assert any(part for _, part in steps)


def test_further_training_learns_new_rows(grown: Grown, trained: Run) -> None:
    plain, further = load_run(grown.run), load_run(trained.folder)
    n = load_run(grown.parent).module.vocabulary.n_items
    moved = (further.module.network.items.residual != plain.module.network.items.residual).any(1)
    assert moved[n:].all()  # new items, and old ones with them
    assert moved[:n].all()
    version = json.loads(RunFolder(trained.folder).lineage.read_text())["versions"][-1]
    assert version["training"] == {"epochs": 2, "replay": 0.5, "since": "2021-02-01"}
    # Tokens and vectors are those of the extension without training.
    for part in ("vectors.safetensors", "entities.parquet", "codebook.safetensors"):
        assert (trained.folder / "vocabulary" / part).read_bytes() == (grown.run / "vocabulary" / part).read_bytes()
    assert not (trained.folder / "checkpoints").exists()
    assert check_bytes(RunFolder(trained.folder))


def test_what_is_held_out_is_never_trained_on(grown: Grown) -> None:
    old, new = load_run(grown.parent).split, load_run(grown.run).split
    assert new.name == "leave-last-out"
    # Training rows of the parent stay training rows, and held-out items are the last ones of the grown log.
    for user, raw in enumerate(old.log.users):
        before, after = old.train.sequences()[user], new.train.sequences()[new.log.users.row(raw)]
        assert np.array_equal(after[: len(before)], before)
    assert len(new.test) > 0


def test_rows_that_a_short_history_was_learned_from_stay_in_training(grown: Grown, tmp_path: Path) -> None:
    last = int(load_run(grown.run).split.log.frame["timestamp"].max())  # type: ignore[arg-type]
    two = Interactions.from_arrays(["fresh"] * 2, ["p0001", "p0002"], times=[last + 1, last + 2])
    third = Interactions.from_arrays(["fresh"], ["p0003"], times=[last + 3])
    extend_run(grown.run, two, tmp_path / "two", say=quiet)
    extend_run(tmp_path / "two", third, tmp_path / "three", say=quiet)
    for split in (
        load_run(tmp_path / "three").split,
        extend_run(tmp_path / "three", nothing(), tmp_path / "4", say=quiet).split,
    ):
        user = split.log.users.row("fresh")
        assert split.train.items.column(split.train.sequences()[user]).to_list() == ["p0001", "p0002"]
        assert user in split.test.users
        assert user not in split.validation.users


def test_items_with_held_out_rows_alone_are_told_of_and_move_when_rows_come(grown: Grown, tmp_path: Path) -> None:
    last = int(load_run(grown.run).split.log.frame["timestamp"].max())  # type: ignore[arg-type]
    five = ["p0001", "p0002", "p0003", "held", "held-too"]
    held = Interactions.from_arrays(["fresh"] * 5, five, times=[last + place for place in range(5)])
    first: list[str] = []
    extend_run(grown.run, held, tmp_path / "held", say=first.append)
    assert "2 new items: 2 at the centre" in first
    (line,) = (one for one in first if "held-out" in one)
    assert line.startswith("2 items at the centre have no row but held-out ones")
    more = Interactions.from_arrays(["fresh"] * 2, ["p0004", "p0005"], times=[last + 6, last + 7])
    then: list[str] = []
    extend_run(tmp_path / "held", more, tmp_path / "then", say=then.append)
    assert "2 items at the centre have their first rows now: the model moves them, their tokens stay" in then
    before, after = (load_run(tmp_path / name).module for name in ("held", "then"))
    rows = after.vocabulary.items.rows(["held", "held-too"])
    assert before.vocabulary.item_vectors[rows].tobytes() == after.vocabulary.item_vectors[rows].tobytes()
    moved = (before.network.items.residual != after.network.items.residual).any(dim=1)
    assert moved.nonzero().flatten().tolist() == sorted(rows.tolist())


def test_every_interaction_may_count(grown: Grown, tmp_path: Path) -> None:
    run = extend_run(grown.parent, grown.new, tmp_path / "all", hold_out=False, epochs=1, say=quiet)
    assert run.config.data.split == "none"
    loaded = load_run(tmp_path / "all")
    assert len(loaded.split.train) == len(loaded.split.log)
    # Nothing to choose on, so the weights of the list stay.
    assert (tmp_path / "all" / "fusion.json").read_bytes() == (grown.parent / "fusion.json").read_bytes()
    with pytest.raises(ConfigError, match="nothing is held out"):
        evaluate_run(loaded)


def test_what_contradicts_the_parent_is_refused(grown: Grown, tmp_path: Path) -> None:
    old = load_run(grown.parent).split.log
    with pytest.raises(DataError, match="time does not run backwards"):
        extend_run(grown.parent, old, tmp_path / "no", say=quiet)
    with pytest.raises(DataError, match="has no times"):
        extend_run(grown.parent, Interactions.from_arrays(["a"], ["b"]), tmp_path / "no", say=quiet)
    with pytest.raises(ConfigError, match="exists already"):
        extend_run(grown.parent, nothing(), grown.run, say=quiet)
    with pytest.raises(ConfigError, match="which this training reads"):
        extend_run(grown.parent, nothing(), grown.parent, overwrite=True, say=quiet)
    with pytest.raises(SettingError, match="say epochs"):
        extend_run(grown.parent, nothing(), tmp_path / "no", since="2020-01-01", say=quiet)
    assert [*tmp_path.iterdir()] == []


def test_one_at_a_time_for_a_name(grown: Grown, tmp_path: Path) -> None:
    with training_place(tmp_path / "next"), pytest.raises(ConfigError, match="somebody else makes a run"):
        extend_run(grown.parent, nothing(), tmp_path / "next", say=quiet)
    assert [*tmp_path.iterdir()] == []


def test_a_parent_without_times_is_warned_of(grown: Grown, tmp_path: Path) -> None:
    import shutil

    run = Path(shutil.copytree(grown.parent, tmp_path / "run"))
    history = pl.read_parquet(run / "history.parquet").drop("timestamp")
    history.write_parquet(run / "history.parquet")
    reseal(run)
    with pytest.warns(MetatokenWarning, match="has no times, as older versions wrote it"):
        extend_run(run, grown.new, tmp_path / "grown", say=quiet)
    before, after = load_run(grown.run).split.log, load_run(tmp_path / "grown").split.log
    assert after.frame.columns == ["user", "item", "order"]
    assert before.items == after.items
    assert np.array_equal(before.sequences().items, after.sequences().items)


def test_a_parent_that_was_altered_is_refused(grown: Grown, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(grown.parent, tmp_path / "run")
    (tmp_path / "run" / "history.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"history\.parquet: altered"):
        extend_run(tmp_path / "run", nothing(), tmp_path / "no", say=quiet)
    (tmp_path / "begun").mkdir()
    with pytest.raises(ArtifactError, match="is not a run folder"):
        extend_run(tmp_path / "begun", nothing(), tmp_path / "no", say=quiet)
    assert not (tmp_path / "no").exists()
