"""Worlds of any size, written as shards."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoken.data import Interactions, audit, leave_last_out
from metatoken.data.world import shards
from metatoken.data.world.shards import write_world
from metatoken.errors import ArgumentError, ArtifactError

SIZE = {"users": 700, "items": 400, "interactions": 14_000, "groups": 8}
NAMED = {"user": "user_id", "item": "item_id", "time": "timestamp"}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("worlds") / "world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 5000)
        patch.setattr(shards, "CHUNK", 100)
        write_world(place, **SIZE, seed=3)
    return place


@pytest.fixture(scope="module")
def rows(world: Path) -> pl.DataFrame:
    """All interactions with the group of their items, oldest first per user."""
    items = pl.read_parquet(world / "items" / "*.parquet").select("item_id", "group")
    rows = pl.read_parquet(world / "interactions" / "*.parquet")
    return rows.join(items, on="item_id").sort("user_id", "timestamp")


def test_counts_are_those_that_were_asked_for(world: Path, rows: pl.DataFrame) -> None:
    assert [path.name for path in sorted((world / "interactions").iterdir())] == [
        f"part-0000{shard}.parquet" for shard in range(3)
    ]
    assert rows.height == SIZE["interactions"]
    lengths = rows["user_id"].value_counts()["count"]
    assert (len(lengths), lengths.min()) == (SIZE["users"], 3)
    assert lengths.max() > 3 * lengths.median()
    assert not rows.select("user_id", "item_id").is_duplicated().any()
    assert not rows.select("user_id", "timestamp").is_duplicated().any()
    items = pl.read_parquet(world / "items" / "*.parquet")
    assert items["item_id"].to_list() == [f"p{row:04d}" for row in range(1, SIZE["items"] + 1)]
    assert items["title"].n_unique() == SIZE["items"]
    assert items["group"].value_counts()["count"].to_list() == [SIZE["items"] // SIZE["groups"]] * SIZE["groups"]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    small = {"users": 50, "items": 40, "interactions": 400}
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_world(tmp_path / name, **small, seed=seed)
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert first["interactions/part-00000.parquet"] != other["interactions/part-00000.parquet"]


def test_steps_stay_in_their_groups_and_follow_rings(rows: pl.DataFrame) -> None:
    inside = (rows["user_id"] == rows["user_id"].shift()) & (rows["group"] == rows["group"].shift())
    steps = (rows["user_id"] == rows["user_id"].shift()).sum()
    # 88 % stay, and a drift may lead back into the same group.
    assert 0.86 < inside.sum() / steps < 0.97
    pairs = rows.select("item_id", after=pl.col("item_id").shift(-1)).filter(inside.shift(-1, fill_value=False))
    best = (
        pairs.group_by("item_id", "after").len().group_by("item_id").agg(pl.col("len").max(), total=pl.col("len").sum())
    )
    # The likeliest successor has .57 * .6 of the steps, and 50 items of a group share the rest.
    assert best["len"].sum() / best["total"].sum() > 0.3


def test_few_items_have_much(rows: pl.DataFrame) -> None:
    counts = rows["item_id"].value_counts()["count"].sort(descending=True).to_numpy()
    assert counts[:20].sum() > 3 * 20 * counts.mean() / 2
    assert len(counts) > 0.95 * SIZE["items"]


def test_order_beats_popularity(world: Path) -> None:
    """HR@10 of counted transitions against popularity, both from train alone, seen items removed."""
    log = Interactions.read(world / "interactions", **NAMED)
    assert not [said for said in audit(log).warnings if "order" in said]
    split = leave_last_out(log)
    train, history = split.train.sequences(), split.history("test")
    counts = np.zeros((log.n_items, log.n_items))
    same = train.owners[1:] == train.owners[:-1]
    np.add.at(counts, (train.items[:-1][same], train.items[1:][same]), 1)
    popularity = np.bincount(train.items, minlength=log.n_items).astype(float)
    hits = np.zeros(2)
    for user, item in zip(split.test.users, split.test.items, strict=True):
        for place, scores in enumerate((popularity, counts[history[user][-1]])):
            known = scores + 1e-6 * popularity
            known[history[user]] = -1
            hits[place] += item in np.argsort(-known)[:10]
    assert hits[1] > 4 * hits[0] > 0


def test_memory_is_bounded_by_the_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 4000)
    peaks = []
    for times in (1, 8):
        tracemalloc.start()
        write_world(tmp_path / str(times), users=100 * times, items=200, interactions=4000 * times)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(list((tmp_path / "8" / "interactions").iterdir())) == 8
    assert peaks[1] < 1.5 * peaks[0]


def test_a_user_of_a_tiny_world_takes_what_is_left(tmp_path: Path) -> None:
    write_world(tmp_path / "w", users=20, items=8, interactions=80, groups=2)
    rows = pl.read_parquet(tmp_path / "w" / "interactions" / "*.parquet")
    assert rows["user_id"].value_counts()["count"].to_list() == [4] * 20
    assert not rows.select("user_id", "item_id").is_duplicated().any()


@pytest.mark.parametrize(
    ("sizes", "argument"),
    [
        ({"users": 0, "items": 40, "interactions": 400}, "users"),
        ({"users": 10, "items": 7, "interactions": 30}, "items"),
        ({"users": 10, "items": 40, "interactions": 29}, "interactions"),
        ({"users": 10, "items": 40, "interactions": 201}, "interactions"),
        ({"users": 10, "items": 40, "interactions": 40, "groups": 11}, "groups"),
        ({"users": 10, "items": 40, "interactions": 40, "seed": -1}, "seed"),
        ({"users": 10, "items": 40, "interactions": True}, "interactions"),
    ],
)
def test_sizes_out_of_range(sizes: dict[str, int], argument: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as error:
        write_world(tmp_path / "w", **sizes)
    assert error.value.argument == argument
    assert not (tmp_path / "w").exists()


def test_only_a_world_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is not a world"):
        write_world(tmp_path / "w", users=10, items=40, interactions=40)
    assert files(tmp_path / "w") == {"mine.txt": b"mine"}
