from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from metatoken.recommend import Recommender
from tests.cli.conftest import Run, flip_byte
from tests.conftest import TrainedRun

Refuse = Callable[..., str]


@pytest.fixture
def folder(trained_run: TrainedRun) -> Path:
    return Path(trained_run.run.folder)


@pytest.fixture
def users(trained_run: TrainedRun) -> tuple[str, ...]:
    raw: tuple[str, ...] = trained_run.run.split.log.users.raw
    return raw


def test_a_user_gets_items_with_titles(run: Run, folder: Path, users: tuple[str, ...]) -> None:
    result = run("recommend", folder, "--user", users[0], "-k", 3)
    assert result.code == 0, result.err
    head, *lines = result.out.splitlines()
    assert head == f"{users[0]}:"
    expected = Recommender.load(folder).recommend(users[0], k=3)
    found = [re.fullmatch(r" +(\d+)  (\S+)  (\S+)  (.+)", line) for line in lines]
    assert [m.groups() for m in found if m] == [
        (str(one.rank), f"{one.score:.4f}", one.item, one.title) for one in expected
    ]
    assert all(one.title for one in expected)


@pytest.mark.parametrize("model", ["fused", "item_head", "generation"])
def test_each_part_of_the_model(model: str, run: Run, folder: Path, users: tuple[str, ...]) -> None:
    result = run("recommend", folder, "--user", users[4], "--model", model)
    assert result.code == 0, result.err
    expected = Recommender.load(folder).recommend(users[4], model=model)  # type: ignore[arg-type]
    assert [line.split()[2] for line in result.out.splitlines()[1:]] == [one.item for one in expected]


def test_many_users(run: Run, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_text(f"{users[2]}\n\n {users[0]} \n")
    result = run("recommend", folder, "--user", users[9], "--users", file, "-k", 2, "-o", tmp_path / "out.parquet")
    assert result.code == 0, result.err
    assert "6 recommendations for 3 users" in result.out
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame.columns == ["user", "rank", "item", "title", "score"]
    assert frame["user"].to_list() == [users[n] for n in (9, 9, 2, 2, 0, 0)]
    assert frame["rank"].to_list() == [1, 2] * 3


def test_anybody_with_a_history(run: Run, folder: Path, trained_run: TrainedRun) -> None:
    items = trained_run.run.split.log.items.raw
    result = run("recommend", folder, "--history", f"{items[0]}, {items[5]},", "-k", 4)
    assert result.code == 0, result.err
    head, *lines = result.out.splitlines()
    assert head == "(history):"
    assert len(lines) == 4
    assert not {items[0], items[5]} & {line.split()[2] for line in lines}


def test_unknown_ids(refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    assert "nobody" in refuse("recommend", folder, "--user", "nobody")
    assert "nobody" in refuse("recommend", folder, "--user", users[0], "--user", "nobody", "-o", tmp_path / "o.parquet")
    assert "nothing" in refuse("recommend", folder, "--history", "nothing")
    (tmp_path / "users.txt").write_text("nobody\n")
    assert "nobody" in refuse("recommend", folder, "--users", tmp_path / "users.txt")


def test_who_is_asked_for_must_be_clear(refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    assert "--user" in refuse("recommend", folder)
    assert "--user" in refuse("recommend", folder, "--user", users[0], "--history", "a")
    assert "absent.txt" in refuse("recommend", folder, "--users", tmp_path / "absent.txt")
    for content, hint in ((b"", "empty"), (b"\xff\xfe\x00", "UTF-8")):
        (tmp_path / "users.txt").write_bytes(content)
        assert hint in refuse("recommend", folder, "--users", tmp_path / "users.txt")


@pytest.mark.parametrize("option", [("-k", "0"), ("-k", "many"), ("--model", "best")])
def test_options_that_cannot_be_used(option: tuple[str, str], run: Run, folder: Path, users: tuple[str, ...]) -> None:
    result = run("recommend", folder, "--user", users[0], *option)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize("file", ["model/weights.safetensors", "vocabulary/vectors.safetensors"])
def test_an_altered_file(file: str, refuse: Refuse, finished: Path, users: tuple[str, ...]) -> None:
    flip_byte(finished / file)
    assert "altered" in refuse("recommend", finished, "--user", users[0])


def test_no_run(refuse: Refuse, tmp_path: Path) -> None:
    assert "is not a run folder" in refuse("recommend", tmp_path, "--user", "a")
