"""Splits by time: where they cut, and what only later parts have."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from metatoken.artifacts import read_manifest
from metatoken.data import Interactions, generate_world, hold_out, leave_last_out
from metatoken.data.cuts import drawn, of_new_items, parts_overview, told, write_parts
from metatoken.data.settings import LogSettings
from metatoken.errors import ArgumentError, ArtifactError

ROWS = st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=2)
SHOP = pl.DataFrame(
    [("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("v", "c", 4), ("u", "n", 5), ("w", "a", 6), ("v", "m", 7)],
    schema=["user", "item", "time"], orient="row",
)  # fmt: skip


def rows_of(log: Interactions) -> list[tuple[str, str, int]]:
    frame = log.frame
    users, items = log.users.column(frame["user"]), log.items.column(frame["item"])
    return list(zip(users, items, frame["timestamp"], strict=True))


@given(ROWS, st.integers(1, 99), st.booleans())
def test_a_share_cuts_between_two_times(rows: list[tuple[str, str, int]], percent: int, own: bool) -> None:
    """Against a slow cut: the share of the rows in the order of time, and rows of one time on one side."""
    times = sorted(row[2] for row in rows)
    cut = times[len(times) * percent // 100]
    assume(cut > times[0])
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    validation = {"validation_from": times[0] + 1} if own and times[0] + 1 <= cut else {}
    if validation:
        log = Interactions.from_frame(frame, time="time", split="time", test_from=f"{percent}%", **validation)
    else:
        log = Interactions.from_frame(frame, time="time", split={"time": f"{percent} %"})
    parts = dict(zip(rows_of(log), log.frame["part"], strict=True))
    for row, part in parts.items():
        assert (part == "test") == (row[2] >= cut)
    if validation:
        assert {row for row, part in parts.items() if part == "train"} == {row for row in rows if row[2] == times[0]}
        return
    for user in "uvwx":
        before = [part for row, part in zip(rows_of(log), log.frame["part"], strict=True)
                  if row[0] == user and row[2] < cut]  # fmt: skip
        assert before == ["train"] * (len(before) - 1) + ["validation"] * (len(before) > 1) or before == ["train"]


def test_the_ways_to_write_it_are_one() -> None:
    expected = Interactions.from_frame(SHOP, time="time", split="time", validation_from="3", test_from="5").checksum()
    for split in ({"time": [3, 5]}, {"time": ["3", 5]}):
        assert Interactions.from_frame(SHOP, time="time", split=split).checksum() == expected
    about = LogSettings.read({"path": "x", "time": "t", "split": {"time": date(2024, 5, 31)}})
    assert (about.split, about.validation_from, about.test_from) == ("time", None, "2024-05-31")
    assert LogSettings.read(about.plain()) == about
    plain, shares = ({"split": "time"}, {"split": {"time": "80%"}})
    assert len({Interactions.from_frame(SHOP, time="time", **one).checksum() for one in (plain, shares)}) == 1


def test_a_share_is_of_the_rows_that_count() -> None:
    log = Interactions.from_frame(SHOP, time="time", since=3, until=7, where="item != 'n'", split={"time": "50%"})
    assert [row[2] for row, part in zip(rows_of(log), log.frame["part"], strict=True) if part == "test"] == [4, 6]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": {"time": "0%"}}, "test_from: expected a share above 0% and below 100%, got 0%"),
        ({"split": {"time": "100%"}}, "test_from: expected a share above 0% and below 100%, got 100%"),
        ({"split": {"time": 0.8}}, "test_from: expected a time after the first one of the log, 1, got 0.8; a share of"),
        ({"split": {"time": "1 %"}}, "test_from: expected a time after the first one"),
        ({"split": {"time": ["90%", "50%"]}}, "validation_from: expected a time before test_from, 50%, got 90%"),
        ({"split": {"time": "tomorrow"}}, "test_from: expected a date"),
        ({"split": {"time": None}}, "split: expected the name of a split, {time: 80%}"),
        ({"split": {"time": [1, 2, 3]}}, "split: expected the name of a split"),
        ({"split": {"ratio": 0.8}}, "split: expected the name of a split, {time: 80%} or"),
        ({"split": {"time": 3}, "test_from": 4}, "test_from: is said by split, too"),
        ({"split": "time", "validation_from": 4}, "test_from: goes with validation_from"),
        ({"since": "80%"}, "since: expected a date"),
    ],
)
def test_cuts_that_are_none(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Interactions.from_frame(SHOP, time="time", **settings)
    assert str(caught.value).startswith(message)


def test_items_that_come_after_the_cut_are_listed_but_not_learned_from() -> None:
    log = Interactions.from_frame(SHOP, time="time", split={"time": [4, 5]})
    split = hold_out(log, {}, 0, "time")
    assert log.items.raw == ("a", "b", "c", "m", "n")  # the catalogue
    assert set(split.train.frame["item"]) == {0, 1}
    targets = split.test
    assert [log.users.raw[user] for user in targets.users] == ["u", "v"]  # w has nothing before
    assert [log.items.raw[item] for item in targets.items] == ["n", "m"]
    assert of_new_items(split, targets).tolist() == [True, True]
    assert of_new_items(split, split.validation).tolist() == [True]  # c
    parts = parts_overview(log)
    assert parts["train"] == {
        "rows": 3, "users": 2, "items": 2, "new_users": 2, "new_items": 2, "begins": 1, "ends": 3,
    }  # fmt: skip
    assert (parts["test"]["items"], parts["test"]["new_items"], parts["test"]["new_users"]) == (3, 2, 1)
    assert [*told(parts)] == [
        "validation: 1 rows, from 4 on; 1 of its 1 items and 0 of its 1 users have no earlier row",
        "test: 3 rows, from 5 on; 2 of its 3 items and 1 of its 3 users have no earlier row",
    ]
    assert parts_overview(Interactions.from_frame(SHOP)) == {}


@given(ROWS, st.sampled_from(["50%", "80%"]))
def test_written_parts_read_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]], cut: str
) -> None:
    """The parts together are the log, and the first one alone knows nothing of the second."""
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").with_columns(stars=pl.lit(2.5))
    given = {"time": "time", "rating": "stars", "split": {"time": cut}}
    assume(min(frame["time"]) < sorted(frame["time"])[len(rows) * int(cut[:-1]) // 100])
    log, out = Interactions.from_frame(frame, **given), tmp_path_factory.mktemp("parts") / "parts"
    written = write_parts(log, LogSettings.read({"path": "log.csv", **given}), out)
    parts = {part: Interactions.read(out / f"{part}.parquet", time="time", rating="rating") for part in written}
    assert [*parts] == ["train", "test"]
    assert sorted(rows_of(parts["train"]) + rows_of(parts["test"])) == sorted(rows_of(log))
    before = frame.filter(pl.col("time") < written["test"]["begins"])
    expected = Interactions.from_frame(before, time="time", rating="stars")
    assert parts["train"].checksum() == expected.checksum()
    again = Interactions.read(
        out / "train.parquet", time="time", rating="rating", split="files", test_path=out / "test.parquet"
    )
    assert again.checksum() == log.checksum()
    manifest = read_manifest(out, "split", 1, ["train.parquet", "test.parquet"])
    assert (manifest["by"], manifest["test_from"], manifest["parts"]) == ("time", cut, written)


def test_parts_replace_parts_only(tmp_path: Path) -> None:
    about = LogSettings.read({"path": "log.csv", "time": "time", "split": {"time": [4, 5]}})
    log = Interactions.from_frame(SHOP, time="time", split={"time": [4, 5]})
    assert [*write_parts(log, about, tmp_path / "parts")] == ["train", "validation", "test"]
    before = (tmp_path / "parts" / "manifest.json").read_bytes()
    write_parts(log, about, tmp_path / "parts")
    assert (tmp_path / "parts" / "manifest.json").read_bytes() == before
    (tmp_path / "parts" / "mine").write_text("x")
    with pytest.raises(ArtifactError, match="also holds mine"):
        write_parts(log, about, tmp_path / "parts")


def test_fractions_and_nanoseconds_are_cut_exactly() -> None:
    fine = 1_700_000_000_000_000_000
    frame = pl.DataFrame({"user": ["u"] * 4, "item": [*"abcd"], "time": [fine + n for n in range(4)]})
    log = Interactions.from_frame(frame, time="time", split={"time": "75%"})
    assert log.frame["part"].to_list() == ["train", "train", "validation", "test"]
    parts = parts_overview(log.with_rows(np.ones(4, dtype=np.bool_)))
    assert parts["test"]["begins"] == fine + 3
    assert [*told(parts)][1].startswith("test: 1 rows, from 2023-11-14T22:13:20Z on;")


def test_a_drawn_split_keeps_histories_and_scores_fewer():
    split = leave_last_out(generate_world(n_users=50, n_items=60, n_groups=4).interactions())
    few = drawn(split, 20)
    assert (len(few.validation), len(few.test)) == (20, 20)
    for part in ("validation", "test"):
        of = dict(zip(split.targets(part).users.tolist(), split.targets(part).items.tolist(), strict=True))
        assert all(of[user] == item for user, item in zip(*vars(few.targets(part)).values(), strict=True))
        assert few.history(part).items.tolist() == split.history(part).items.tolist()
    assert drawn(split, 20).test.users.tolist() == few.test.users.tolist()
    assert drawn(split, 50) is split is drawn(split, None)
