"""What of a log counts: ratings on some rows, filters, windows, k-cores; and splits by time, ratio or a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from metatoken.data import Interactions, hold_out
from metatoken.data.split import split_log
from metatoken.errors import ArgumentError, ConfigError, DataError, MetatokenError, MetatokenWarning

FRAME = pl.DataFrame(
    {
        "user": ["u", "u", "u", "u", "v", "v", "v", "w"],
        "item": ["a", "b", "c", "d", "a", "b", "c", "a"],
        "time": ["2024-01-01", "2024-01-03", "2024-01-05", "2024-01-07", "2024-01-02", "2024-01-04", "2024-01-06",
                 "2024-01-09"],
        "stars": [5.0, None, 1.0, None, 4.0, 2.0, None, None],
        "event": ["buy", "view", "buy", "buy", "buy", "view", "buy", "view"],
    }
)  # fmt: skip


def pairs(log: Interactions) -> list[str]:
    users, items = log.users.column(log.frame["user"]), log.items.column(log.frame["item"])
    return [user + item for user, item in zip(users, items, strict=True)]


def named(log: Interactions, targets: Any) -> list[str]:
    users, items = log.users.column(targets.users), log.items.column(targets.items)
    return [user + item for user, item in zip(users, items, strict=True)]


def test_rows_without_a_rating_stay_in_the_log() -> None:
    from metatoken.tasks.biases import RatingBias
    from metatoken.tasks.rating import rest_of
    from metatoken.tasks.rating_base import RatingBase

    log = Interactions.from_frame(FRAME, rating="stars")
    assert log.frame["rating"].to_list() == FRAME["stars"].to_list()
    rated = log.having(["rating"])
    assert pairs(rated) == ["ua", "uc", "va", "vb"]
    assert rated.n_items == log.n_items
    assert RatingBias.fit(log, 1.0).mean == 3.0
    base = RatingBase.fit(log, log)
    rest = rest_of(log, base, fold_seed=None)
    np.testing.assert_array_equal(np.isnan(rest), [row is None for row in FRAME["stars"].to_list()])
    with pytest.raises(DataError, match="'stars' for rating is empty in every row"):
        Interactions.from_frame(FRAME.with_columns(stars=None), rating="stars")


@pytest.mark.parametrize(
    ("settings", "expected", "note"),
    [
        ({"where": "event == 'buy' and stars >= 4"}, ["ua", "va"], "where event == 'buy' and stars >= 4: 6 of 8 rows"),
        ({"where": "stars is null"}, ["ub", "ud", "vc", "wa"], "4 of 8 rows are left out"),
        ({"time": "time", "since": "2024-01-05"}, ["uc", "ud", "vc", "wa"], "since 2024-01-05: 4 of 8 rows"),
        ({"time": "time", "since": "2024-01-02", "until": "2024-01-03T00:00:01Z"}, ["ub", "va"], "6 of 8 rows"),
        ({"min_user": 2}, ["ua", "ub", "uc", "ud", "va", "vb", "vc"], "min_user 2, min_item 1: 1 of 8 rows"),
        (
            {"min_user": 3, "min_item": 2}, ["ua", "ub", "uc", "va", "vb", "vc"],
            "min_user 3, min_item 2: 2 of 8 rows are left out, with them 1 users and 1 items (1 round)",
        ),
    ],
)  # fmt: skip
def test_what_is_kept_is_said(settings: dict[str, Any], expected: list[str], note: str) -> None:
    log = Interactions.from_frame(FRAME, **settings)
    assert pairs(log) == expected
    assert note in log.notes[0]
    assert log.n_users == len({pair[0] for pair in expected})


def test_a_core_takes_as_many_rounds_as_it_needs() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"user": rng.integers(0, 60, 300), "item": rng.zipf(1.6, 300) % 50})
    kept, rounds = frame, 0
    while True:
        busy = kept.filter(pl.len().over("user") >= 4)
        smaller = busy.filter(pl.len().over("item") >= 3)
        if smaller.height == kept.height:
            break
        kept, rounds = smaller, rounds + 1
    log = Interactions.from_frame(frame, min_user=4, min_item=3)
    assert rounds > 1
    assert sorted(pairs(log)) == sorted(f"{user}{item}" for user, item in kept.iter_rows())
    assert f"({rounds} rounds)" in log.notes[0]


def test_windows_are_in_the_unit_of_the_times() -> None:
    frame = pl.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "t": [1704067200000, 1704153600000]})
    assert pairs(Interactions.from_frame(frame, time="t", since="2024-01-02")) == ["ub"]
    assert pairs(Interactions.from_frame(frame, time="t", until=1704153600000)) == ["ua"]


@pytest.mark.parametrize("text", ["2024", "20240102", "1704153600", "1704153600000000", "nan", "-1e999", "-17041536"])
@pytest.mark.parametrize("name", ["since", "until", "test_from"])
def test_a_number_of_another_unit_is_no_time_of_the_log(text: str, name: str) -> None:
    frame = pl.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "t": [1704067200000, 1704153600000]})
    settings: dict[str, Any] = {name: text} | ({"split": "time"} if name == "test_from" else {})
    with pytest.raises(ArgumentError, match=f"{name}: expected a date such as 2024-05-31, or a time such as 17041536"):
        Interactions.from_frame(frame, time="t", **settings)
    ranks = frame.with_columns(t=pl.Series([3, 2024]))  # what counts from nothing has no unit
    if text == "2024" and name == "since":
        assert pairs(Interactions.from_frame(ranks, time="t", since=text)) == ["ub"]


def test_a_split_by_time() -> None:
    log = Interactions.from_frame(
        FRAME, time="time", split="time", validation_from="2024-01-04", test_from="2024-01-06"
    )
    split = split_log(log, "time")
    assert pairs(split.train) == ["ua", "ub", "va"]
    assert named(log, split.validation) == ["uc", "vb"]
    assert named(log, split.test) == ["ud", "vc"]  # w has nothing before
    history = split.history("test")
    assert [[log.items.raw[i] for i in row] for row in history] == [["a", "b", "c"], ["a", "b"], []]
    again = Interactions.from_frame(
        pl.DataFrame({"user": log.users.column(log.frame["user"]), "item": log.items.column(log.frame["item"]),
                      "part": log.frame["part"]}), part="part", split="part",
    )  # fmt: skip
    assert split_log(again, "time").train.edges_checksum() == split.train.edges_checksum()


def test_a_split_by_ratio() -> None:
    frame = pl.DataFrame({"user": ["u"] * 10 + ["v"] * 2 + ["w"] * 3, "item": [*"abcdefghij", *"ab", *"abc"]})
    log = Interactions.from_frame(frame, split="ratio", validation_share=0.2, test_share=0.3)
    split = split_log(log, "ratio")
    assert pairs(split.train) == ["ua", "ub", "uc", "ud", "ue", "va", "vb", "wa"]
    assert named(log, split.validation) == ["uf", "wb"]
    assert named(log, split.test) == ["uh", "wc"]
    assert [log.items.raw[i] for i in split.history("test")[0]] == [*"abcdefg"]
    assert split.train_only_users == 1


def test_a_split_by_a_column() -> None:
    frame = FRAME.with_columns(fold=pl.Series(["train", "Train", "valid", "test", "train", "test", "train", "test"]))
    log = Interactions.from_frame(frame, part="fold", split="part")
    with pytest.warns(MetatokenWarning, match="1 rows stand behind rows of a later part of the same user"):
        split = hold_out(log, {}, 0, "part")
    assert (named(log, split.validation), named(log, split.test)) == (["uc"], ["ud", "vb"])
    assert pairs(split.train) == ["ua", "ub", "va", "vc"]
    with pytest.raises(DataError, match=r"part 'fold 1' in column 'fold' is not one of train, validation, test"):
        Interactions.from_frame(frame.with_columns(fold=pl.lit("fold 1")), part="fold", split="part")
    with pytest.raises(ConfigError, match="needs a log whose rows say train"):
        split_log(Interactions.from_frame(FRAME), "part")


def test_a_split_by_files_of_ones_own(tmp_path: Path) -> None:
    for name, text in {"a": "u,a,1\nu,b,2\nv,a,1\nw,c,5\n", "b": "u,c,3\n", "c": "u,d,9\nv,b,3\nx,a,1\n"}.items():
        (tmp_path / f"{name}.csv").write_text(f"user,item,time\n{text}")
    files = {"path": tmp_path / "a.csv", "test_path": tmp_path / "c.csv"}
    split = split_log(Interactions.read(**files, split="files", validation_path=tmp_path / "b.csv"), "files")
    assert pairs(split.train) == ["ua", "ub", "va", "wc"]
    assert (named(split.log, split.validation), named(split.log, split.test)) == (["uc"], ["ud", "vb"])
    assert [[split.log.items.raw[i] for i in row] for row in split.history("test")] == [[*"abc"], ["a"], ["c"], []]
    alone = split_log(Interactions.read(**files, time="time", split="files"), "files")
    assert pairs(alone.train) == ["ua", "va", "wc"]
    assert (named(alone.log, alone.validation), named(alone.log, alone.test)) == (["ub"], ["ud", "vb"])
    whole = Interactions.read(**files, time="time", split="none")
    assert (len(whole), whole.rows_read) == (7, 7)
    (tmp_path / "c.csv").write_text("user,item,time\nu,d,9\n\nv,,3\n")
    with pytest.raises(DataError, match=r"c\.csv:4: empty item id"):
        Interactions.read(**files, split="files")


def test_a_published_split_of_sequences(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("u a b c\nv a b\n")
    (tmp_path / "test.txt").write_text("u d e\nv c\n")
    log = Interactions.read(tmp_path / "train.txt", "sequences", split="files", test_path=tmp_path / "test.txt")
    split = split_log(log, "files")
    assert pairs(split.train) == ["ua", "ub", "va"]
    assert (named(log, split.validation), named(log, split.test)) == (["uc", "vb"], ["ud", "vc"])


def test_order_is_that_of_a_plain_sort() -> None:
    rng = np.random.default_rng(0)
    for times in (rng.integers(-50, 50, 400), rng.integers(0, 2**62, 400), rng.normal(size=400).round(1)):
        users = [f"u{n}" for n in rng.integers(0, 9, 400)]
        frame = pl.DataFrame({"user": users, "item": rng.permutation(400), "time": times})
        expected = frame.sort("user", "time", maintain_order=True)
        log = Interactions.from_frame(frame, time="time")
        assert pairs(log) == [f"{user}{item}" for user, item in expected.select("user", "item").iter_rows()]
        assert log.frame["timestamp"].to_list() == expected["time"].to_list()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "files"}, "test_path: is needed for split files"),
        ({"test_path": "t.csv"}, "test_path: is for split files"),
        ({"split": "files", "test_path": "t.csv"}, "split: files names files; of a table in memory"),
        ({"since": "2024"}, "since: is about times; name their column with time"),
        ({"split": "time"}, "split: time needs the column of times"),
        ({"test_from": "2024-01-01", "time": "time"}, "test_from: is for split time"),
        ({"split": "part"}, "part: goes with split part"),
        ({"part": "event"}, "part: goes with split part"),
        ({"split": "ratio", "test_share": 0.95}, "test_share: expected validation_share and test_share to sum"),
        ({"rating": "user"}, "rating: column 'user' is already used for user"),
        ({"wher": "x"}, "unknown setting 'wher'; did you mean 'where'?"),
        ({"query": "SELECT 1"}, "query: goes with uri"),
        ({"title": "t"}, "title: is about the item table"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Interactions.from_frame(FRAME, **settings)
    assert message in str(caught.value)


def test_every_kind_of_table_in_memory_gives_the_same_log() -> None:
    expected = Interactions.from_frame(FRAME, time="time", rating="stars").checksum()
    tables = (FRAME.lazy(), FRAME.to_pandas(), FRAME.to_arrow(), FRAME.to_dict(as_series=False))
    for table in (*tables, FRAME.to_arrow().to_reader()):
        assert Interactions.from_frame(table, time="time", rating="stars").checksum() == expected


def test_columns_of_mixed_types_become_text() -> None:
    frame = pd.DataFrame({"user": [1, "u", 2], "item": ["a", 7, "b"], "r": [1.0, None, float("nan")]})
    log = Interactions.from_frame(frame, rating="r")
    assert (log.users.raw, log.items.raw) == (("1", "2", "u"), ("7", "a", "b"))
    assert log.frame["rating"].null_count() == 2


def test_numbers_of_other_marks_and_units_in_memory() -> None:
    log = Interactions.from_frame({"user": ["u"], "item": ["a"], "r": ["4,5"]}, rating="r", decimal=",")
    assert log.frame["rating"].to_list() == [4.5]
    for unit in ("s", "m", "h", "D", "ms", "ns"):
        times = np.array(["2024-01-31"], dtype=f"datetime64[{unit}]")
        assert Interactions.from_arrays(["u"], ["a"], times=times).frame["timestamp"].to_list() == [1706659200]
    with pytest.raises(ArgumentError, match="'item' stands twice; rename one"):
        Interactions.from_frame(pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"]))


def test_tables_of_other_libraries_with_columns_of_other_kinds() -> None:
    numbers = pd.DataFrame([["u", "a"], ["v", "b"]], columns=[0, 1])
    assert pairs(Interactions.from_frame(numbers, user="0", item="1")) == ["ua", "vb"]
    with pytest.raises(DataError, match="no column 'user' for user; the columns are '0', '1'"):
        Interactions.from_frame(numbers)
    with pytest.raises(ArgumentError, match=r"frame: its columns cannot be read: .*nothing\.csv"):
        Interactions.from_frame(pl.scan_csv("nothing.csv"))
    with pytest.raises(DataError, match="rating 1e\\+300"):
        Interactions.from_frame({"user": ["u"], "item": ["a"], "r": [1e300]}, rating="r")


MISSING_OR_NONE: dict[str, tuple[dict[str, Any], str]] = {
    "masked": ({"users": np.ma.array([1, 2], mask=[0, 1]), "items": ["a", "b"]}, "users: .*that are masked"),
    "none": ({"users": None, "items": ["a"]}, "users: expected ids, got None"),
    "one text": ({"users": "ab", "items": "xy"}, "users: expected values in one dimension"),
    "half a character": ({"users": ["\ud800"], "items": ["a"]}, "hold text that is none"),
    "NaN among texts": ({"users": ["u", float("nan")], "items": ["a", "b"]}, "empty user id"),
}


@pytest.mark.parametrize("name", MISSING_OR_NONE)
def test_arrays_that_hold_no_ids(name: str) -> None:
    arrays, message = MISSING_OR_NONE[name]
    with pytest.raises(MetatokenError, match=message):
        Interactions.from_arrays(**arrays)


def test_texts_of_arrays_are_kept_as_they_are() -> None:
    assert pairs(Interactions.from_arrays(["a\0", "a", 1], ["x", "y", "z"])) == ["1z", "ay", "a\0x"]


@pytest.mark.parametrize("users", [pd.interval_range(0, 1), pd.period_range("2024-01", periods=1, freq="M")])
def test_types_that_libraries_add_are_no_ids(users: Any) -> None:
    with pytest.raises(DataError, match="ids are text or whole numbers"):
        Interactions.from_frame(pd.DataFrame({"user": users, "item": ["a"]}))


@pytest.mark.parametrize("users", [{"u", "v"}, np.ma.array([1, 2], mask=[0, 1]), b"uv"])
def test_columns_that_have_no_order_or_no_values(users: Any) -> None:
    with pytest.raises(ArgumentError, match="its columns cannot be read: user "):
        Interactions.from_frame({"user": users, "item": ["a", "b"]})


@pytest.mark.parametrize("table", [3, "log.csv", [1, 2], None, {"user": 3}, {"user": "abc"}, Path("log.csv")])
def test_what_is_no_table(table: Any) -> None:
    with pytest.raises(ArgumentError, match=r"frame: (expected a table|its columns cannot be read)"):
        Interactions.from_frame(table)
