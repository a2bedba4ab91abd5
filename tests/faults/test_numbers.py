"""Numbers that nobody means, for what sizes a job, a plan or a world: an error that names them, or the right thing."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken import bounds
from metatoken.bounds import check_integer
from metatoken.data import Interactions, leave_last_out
from metatoken.data.growth import append
from metatoken.data.history_shards import write_histories
from metatoken.data.world import shards
from metatoken.data.world.shards import write_world
from metatoken.errors import ArgumentError
from metatoken.recommend import Recommender
from metatoken.recommend.sharded import recommend_files
from metatoken.recommend.streaming import stream
from metatoken.run.plan import plan
from metatoken.tasks.sharded_datamodule import ShardedDataModule
from metatoken.tokens.codes.clustering import Codebook, VectorSource, assign_files, encode, fit, make_unique

NOBODYS = (-1, 2**63, 10**400, 0.5, 1e20, math.nan, math.inf, True, "x", [], b"x")
SIZES = {"users": 20, "items": 40, "interactions": 100, "scored": 10, "asked": 5, "cores": 2, "bytes_": 10**9}


def test_an_integer_is_one_of_its_range() -> None:
    assert check_integer("n", np.int8(3)) == 3
    assert isinstance(check_integer("n", np.int64(3)), int)
    assert check_integer("n", sys.maxsize) == sys.maxsize
    for value in (0, *NOBODYS):
        with pytest.raises(ArgumentError, match="n: expected an integer of at least 1, got"):
            check_integer("n", value)
    with pytest.raises(ArgumentError, match="n: expected an integer from 2 to 1,000, got 1"):
        check_integer("n", 1, 2, 1000)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", NOBODYS, ids=lambda value: str(value)[:9])
def test_a_plan_of_no_numbers_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match="expected an integer") as error:
        plan(**SIZES | {name: value})
    assert error.value.argument == name


def test_a_plan_holds_for_the_largest_numbers() -> None:
    found = plan(**dict.fromkeys(SIZES, 10**18))
    assert all(math.isfinite(one.seconds) and not one.fits for one in found.stages)


@pytest.mark.parametrize("value", NOBODYS, ids=lambda value: str(value)[:9])
def test_batches_and_shards_of_no_size_are_refused(value: Any, tmp_path: Path) -> None:
    log = Interactions.from_arrays(np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4))
    split = leave_last_out(log)
    write_histories(split, tmp_path / "h", 2)
    with pytest.raises(ArgumentError, match="batch_size: expected an integer"):
        stream(None, [], lambda _: None, batch_size=value)
    with pytest.raises(ArgumentError, match="batch_size: expected an integer"):
        Recommender.recommend_many(None, [], batch_size=value)
    with pytest.raises(ArgumentError, match="shards: expected an integer from 1 to 4"):
        write_histories(split, tmp_path / "h", value)


@pytest.mark.parametrize(
    ("users", "items", "interactions"), [(3, 1000, 1500), (5, 1000, 2400), (1, 4000, 1900), (7, 600, 2000)]
)
def test_few_users_of_many_shards_have_room(
    users: int, items: int, interactions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes more than half of the items, whatever share of a shard falls to a user."""
    monkeypatch.setattr(shards, "SHARD", 1000)
    told: list[tuple[int, int]] = []
    write_world(
        tmp_path / "w", users=users, items=items, interactions=interactions, progress=lambda *at: told.append(at)
    )
    rows = pl.read_parquet(tmp_path / "w" / "interactions" / "*.parquet")
    lengths = rows["user_id"].value_counts()["count"]
    assert (rows.height, len(lengths)) == (interactions, users)
    assert 3 <= lengths.min() <= lengths.max() <= items // 2
    assert told[-1] == (interactions, interactions)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_world_beyond_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "memory", lambda: 1 << 30)
    with pytest.raises(ArgumentError, match=r"items: needs 3\.2 GB of memory, and this machine has 1\.1"):
        write_world(tmp_path / "w", users=10**6, items=2 * 10**8, interactions=10**7)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unique", ["assignment", "nearest", "counter"])
@pytest.mark.parametrize("hot", [0, 3])
def test_shards_smaller_than_a_first_code(unique: Any, hot: int, tmp_path: Path) -> None:
    """Behind a first code with more rows than a shard, the others have none."""
    rng = np.random.default_rng(0)
    centers = 100.0 * np.eye(4, dtype=np.float32)
    book = Codebook(
        "residual", "euclidean", (centers, rng.normal(size=(32, 4)).astype(np.float32)), fit(centers, [1]).report
    )
    x = (centers[[hot] * 20 + [1] * 3] + rng.normal(size=(23, 4))).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for rows in (1, 4):
        assign_files(
            VectorSource(tmp_path / "x.npy"), book, tmp_path / "out", unique=unique, shard_rows=rows, threads=1
        )
        found = pl.read_parquet(tmp_path / "out" / "part-*.parquet")["codes"].to_list()
        assert found == encode(book, x, unique=unique, threads=1).codes.tolist()


def test_objects_of_another_class_are_named(tmp_path: Path) -> None:
    log = Interactions.from_arrays([0, 0], [0, 1])
    x, source = np.ones((2, 2), np.float32), VectorSource(tmp_path / "x.npy")
    calls: list[tuple[str, Any]] = [
        ("log: expected Interactions", lambda: append(5, log)),
        ("new: expected Interactions", lambda: append(log, "log.csv")),
        ("split: expected Split", lambda: write_histories(log, tmp_path, 1)),
        ("vocabulary: expected Vocabulary", lambda: ShardedDataModule(tmp_path, None)),
        ("pattern: expected Request", lambda: recommend_files("run", "u0001", tmp_path)),
        ("source: expected VectorSource", lambda: assign_files("x.npy", None, tmp_path)),
        ("codebook: expected Codebook", lambda: assign_files(source, "book", tmp_path)),
        ("codebook: expected Codebook", lambda: encode(x, x)),
        ("codebook: expected Codebook", lambda: make_unique(x, x, x)),
    ]
    for said, call in calls:
        with pytest.raises(TypeError, match=said):
            call()
