"""Lists as a folder of shards: the rows of one file, gone on with after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.errors import ArgumentError, DataError
from metatoken.recommend import Request
from metatoken.recommend.sharded import Listing, recommend_files
from tests.conftest import TrainedRun


@pytest.fixture
def folder(trained_run: TrainedRun) -> Path:
    return Path(trained_run.run.folder)


@pytest.fixture
def users(trained_run: TrainedRun, tmp_path: Path) -> Path:
    raw = trained_run.run.split.log.users.raw
    items = trained_run.run.split.log.items.raw
    path = tmp_path / "users.csv"
    path.write_text("\n".join(["user,history", *(f"{user}," for user in raw[:40]), f",{items[3]} {items[5]} nothing"]))
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_shards_hold_the_rows_of_one_file(run: Any, folder: Path, users: Path, tmp_path: Path) -> None:
    command = ("recommend", folder, "--user", "u0050", "--users", users, "-k", 3, "--batch-size", 8)
    whole = run(*command, "-o", tmp_path / "lists.parquet")
    parts = run(*command, "-o", tmp_path / "lists", "--shard-users", 16)
    assert whole.code == parts.code == 0, parts.err
    assert whole.out.replace("lists.parquet", "lists") == parts.out
    assert whole.err == parts.err  # the item of a history that is none of the run
    assert sorted(content(tmp_path / "lists")) == ["manifest.json", *(f"part-0000{n}.parquet" for n in range(3))]
    assert pl.read_parquet(tmp_path / "lists" / "part-*.parquet").equals(pl.read_parquet(tmp_path / "lists.parquet"))
    before = content(tmp_path / "lists")
    assert run(*command, "-o", tmp_path / "lists", "--shard-users", 16).code == 0  # replaced
    assert content(tmp_path / "lists") == before


def test_an_interrupted_job_goes_on(folder: Path, users: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"users": users, "batch_size": 8, "shard_users": 8, "columns": ["categories"]}
    pattern = Request(k=3, deny=["p0001"])
    recommend_files(folder, pattern, tmp_path / "whole", **options)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_files(folder, pattern, tmp_path / "out", **options, progress=stop)
    assert not (tmp_path / "out").exists()
    seen: list[int] = []
    opened = Listing.open

    def counted(self: Listing) -> Any:
        make = opened(self)
        return lambda unit: seen.append(unit) or make(unit)  # type: ignore[func-returns-value]

    monkeypatch.setattr(Listing, "open", counted)
    found = recommend_files(folder, pattern, tmp_path / "out", **options)
    assert found.resumed
    assert seen == [2, 3, 4, 5]
    assert found.counts.users == 41
    assert found.counts.unknown == 1
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_every_user_of_the_log(folder: Path, tmp_path: Path, trained_run: TrainedRun) -> None:
    pattern = Request(k=np.int64(2), allow=np.array(trained_run.run.split.log.items.raw))  # type: ignore[arg-type]
    recommend_files(folder, pattern, tmp_path / "out", all_users=True, shard_users=50)
    found = pl.read_parquet(tmp_path / "out" / "part-*.parquet")["user"].unique(maintain_order=True).to_list()
    assert found == list(trained_run.run.split.log.users.raw)


def test_unknown_users_are_refused_or_skipped(folder: Path, users: Path, tmp_path: Path) -> None:
    with users.open("a") as file:
        file.write("\nstranger,\n")
    with pytest.raises(DataError, match=r"users\.csv:43: .*stranger"):
        recommend_files(folder, Request(), tmp_path / "out", users=users, shard_users=16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["users.csv"]
    found = recommend_files(folder, Request(), tmp_path / "out", users=users, skip_unknown=True)
    assert (found.counts.users, found.skipped) == (41, 1)


def test_refusals(refuse: Any, folder: Path, users: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    (tmp_path / "empty.csv").write_text("user\n")
    command = ("recommend", folder, "--users", users)
    assert "a name without an ending" in refuse(*command, "--engine", "ray", "-o", tmp_path / "a.csv")
    assert "a name without an ending" in refuse(*command, "--shard-users", 5)
    assert "goes with --engine ray" in refuse(*command, "--workers", 2, "-o", tmp_path / "a")
    assert "--history" in refuse("recommend", folder, "--history", "p0001", "-o", tmp_path / "a")
    assert "choose another place" in refuse(*command, "-o", tmp_path / "mine")
    assert "no column 'colour'" in refuse(*command, "--columns", "colour", "-o", tmp_path / "a")
    assert "no rows" in refuse("recommend", folder, "--users", tmp_path / "empty.csv", "-o", tmp_path / "a")
    with pytest.raises(ArgumentError, match="which come from the users"):
        recommend_files(folder, Request("u0001"), tmp_path / "a", users=users)
    with pytest.raises(ArgumentError, match="users: expected a file of users or ids"):
        recommend_files(folder, Request(), tmp_path / "a")
    with pytest.raises(ArgumentError, match="threads: expected an integer from 1 to 1,024, got 0"):
        recommend_files(folder, Request(), tmp_path / "a", users=users, threads=0)
    with pytest.raises(ArgumentError, match="k: expected an integer of at least 1, got 0"):
        recommend_files(folder, Request(k=0), tmp_path / "a", users=users)
    with pytest.raises(ArgumentError, match="deny: expected a list of ids of items, got 'p0001'"):
        recommend_files(folder, Request(deny="p0001"), tmp_path / "a", users=users)
    with pytest.raises(ArgumentError, match="pattern: expected UTF-8 and finite numbers"):
        recommend_files(folder, Request(exclude_seen=np.True_), tmp_path / "a", users=users)  # type: ignore[arg-type]
