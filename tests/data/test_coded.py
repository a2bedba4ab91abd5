"""Several Parquet files give the same log as one that holds their rows, with ids as numbers from the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metatoken.data import Interactions
from metatoken.data.coded import read_coded
from metatoken.data.columns import RawTable
from metatoken.data.readers import read_table
from metatoken.errors import DataError

IDS = {"user": "user", "item": "item"}


def shards(folder: Path, frames: list[pl.DataFrame]) -> tuple[Path, Path]:
    """A folder with a file for each frame, and a file with all of them."""
    (folder / "shards").mkdir()
    for number, frame in enumerate(frames):
        frame.write_parquet(folder / "shards" / f"part-{number:03d}.parquet")
    pl.concat(frames, how="vertical_relaxed").write_parquet(folder / "one.parquet")
    return folder / "shards", folder / "one.parquet"


def same(several: Interactions, one: Interactions) -> bool:
    return several.frame.equals(one.frame) and several.users == one.users and several.items == one.items


def drawn(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    users = [f" u-{user}" if user % 3 else f"u-{user} " for user in rng.integers(0, 60, rows)]
    items = [f"item/{item}" for item in rng.integers(0, 40, rows)]
    stars = rng.integers(1, 6, rows)
    return pl.DataFrame({"user": users, "item": items, "t": rng.integers(0, 10**9, rows), "stars": stars})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"time": "t"},
        {"time": "t", "where": "stars >= 3", "rating": "stars"},
        {"time": "t", "min_user": 4, "min_item": 3},
        {"time": "t", "since": 3 * 10**8, "split": "time"},
        {"where": "user != 'u-1'"},
        {"where": "stars == 5", "min_user": 2},
        {"feature": "item"},
    ],
)
def test_several_files_are_one_log(settings: dict[str, Any], tmp_path: Path) -> None:
    several, one = shards(tmp_path, [drawn(200, seed) for seed in range(4)])
    found = Interactions.read(several, **settings)
    assert same(found, Interactions.read(one, **settings))
    assert found.rows_read == 800


@pytest.mark.parametrize(
    "users",
    [
        [["1.0", "12"], ["7", "1"]],  # saved as floats, which only one file shows
        [["1.0", "x"], ["7", "1"]],  # texts after all
        [["007", "7"], ["07", "7 "]],
        [["a", "B"], ["é", "z"]],
        [[5, 7], [2**62, -1]],  # whole numbers that lie far apart
        [[1.0, 2.0], [3.0, 2.0]],
        [[1, 2], ["x", "1"]],  # files that do not agree
        [["12.0", "12"], ["12", "12.0"]],
    ],
)
def test_ids_are_read_as_from_one_file(users: list[list[Any]], tmp_path: Path) -> None:
    frames = [pl.DataFrame({"user": some, "item": ["b", "a"]}) for some in users]
    several, one = shards(tmp_path, frames)
    assert same(Interactions.read(several), Interactions.read(one))


def test_ids_take_four_bytes_a_row(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [f"a very long id of a user {row % 7}" for row in range(3000)], "item": ["i"] * 3000})
    several, _ = shards(tmp_path, [frame, frame])
    table = read_table(several, ["user", "item"], ids=IDS)
    assert table.coded == {"user", "item"}
    assert table.frame.estimated_size() <= 2 * 4 * table.frame.height
    assert read_table(several, ["user", "item"]).frame.schema["user"] == pl.String


@pytest.mark.parametrize("bad", [None, "", "  "])
def test_an_empty_id_is_told_with_its_file(bad: str | None, tmp_path: Path) -> None:
    frames = [
        pl.DataFrame({"user": ["u", "v"], "item": ["a", "b"]}),
        pl.DataFrame({"user": ["u", bad], "item": ["a", "b"]}),
    ]
    several, _ = shards(tmp_path, frames)
    with pytest.raises(DataError, match=r"part-001.parquet.*empty user id in column 'user'.*row 2"):
        Interactions.read(several)


def test_a_bad_time_is_told_with_its_place(tmp_path: Path) -> None:
    frames = [
        pl.DataFrame({"user": ["u"], "item": ["a"], "t": [1.0]}),
        pl.DataFrame({"user": ["u"], "item": ["a"], "t": [None]}),
    ]
    frames = [frame.cast({"t": pl.Float64}) for frame in frames]
    several, _ = shards(tmp_path, frames)
    with pytest.raises(DataError, match=r"part-001.parquet.*time"):
        Interactions.read(several, time="t")


def test_a_missing_column_is_told(tmp_path: Path) -> None:
    several, _ = shards(tmp_path, [pl.DataFrame({"user": ["u"], "item": ["a"]})] * 2)
    with pytest.raises(DataError, match="no column 'product' for item"):
        Interactions.read(several, item="product")
    with pytest.raises(DataError, match="no column 'when' for time"):
        Interactions.read(several, time="when")


@pytest.mark.parametrize("bad", [None, "", "  "])
def test_rows_without_an_id_are_left_out_where_that_is_said(bad: str | None, tmp_path: Path) -> None:
    frames = [
        pl.DataFrame({"user": ["u", "v"], "item": ["a", "b"], "n": [1, 2]}),
        pl.DataFrame({"user": ["u", bad], "item": ["a", "b"], "n": [3, 4]}),
    ]
    several, one = shards(tmp_path, frames)
    assert same(Interactions.read(several, where="n < 4"), Interactions.read(one, where="n < 4"))
    if bad is None:
        rule = "user is not null"
        assert same(Interactions.read(several, where=rule), Interactions.read(one, where=rule))


def test_each_file_is_read_once(tmp_path: Path) -> None:
    several, _ = shards(tmp_path, [drawn(20, seed) for seed in range(3)])
    read: list[Path] = []

    def count(path: Path, _: object) -> RawTable:
        read.append(path)
        return RawTable(pl.read_parquet(path), path)

    files = sorted(several.iterdir())
    assert read_coded(several, files, count, None, IDS) is not None
    assert read == files


def test_ids_are_what_the_rows_say_that_count(tmp_path: Path) -> None:
    """Ids that a filter leaves out do not say whether the others were saved as floats."""
    frames = [
        pl.DataFrame({"user": ["12.0", "x"], "item": ["1.0", "2"], "kind": ["buy", "test"]}),
        pl.DataFrame({"user": ["12", "7"], "item": ["1", "y"], "kind": ["buy", "buy"]}),
    ]
    several, one = shards(tmp_path, frames)
    found = Interactions.read(several, where="kind == 'buy'", feature="item")
    assert same(found, Interactions.read(one, where="kind == 'buy'", feature="item"))
    assert (found.users.raw, found.items.raw) == (("12", "7"), ("1", "1.0", "y"))
    assert Interactions.read(several).users.raw == ("12", "12.0", "7", "x")


@pytest.mark.parametrize(("again", "said"), [(("user", "item"), "the header again"), (("---", ":--"), "drawn table")])
def test_rows_that_are_no_data_are_refused(again: tuple[str, str], said: str, tmp_path: Path) -> None:
    frames = [
        pl.DataFrame({"user": ["user", "v"], "item": ["a", "item"]}),
        pl.DataFrame({"user": ["u", again[0]], "item": ["a", again[1]]}),
    ]
    several, _ = shards(tmp_path, frames)
    with pytest.raises(DataError, match=rf"part-001.parquet.*{said}.*row 2"):
        Interactions.read(several)
    assert same(*(Interactions.read(path, where="user not in ['user', '---'] or item == 'a'")
                  for path in (several, tmp_path / "one.parquet")))  # fmt: skip


@pytest.mark.parametrize("other", [pl.Enum(["w", "u"]), pl.Categorical, pl.String])
def test_each_file_may_have_categories_of_its_own(other: Any, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for name, users, kind in (("a", ["u", "v"], pl.Enum(["u", "v"])), ("b", ["w", "u"], other)):
        frame = pl.DataFrame({"user": pl.Series(users, dtype=kind), "item": ["x", "y"]})
        frame.write_parquet(tmp_path / "shards" / f"{name}.parquet")
    found = Interactions.read(tmp_path / "shards")
    assert found.users.raw == ("u", "v", "w")
    assert found.frame["user"].to_list() == [0, 0, 1, 2]


def test_no_text_is_lost_that_was_put_beside_those_of_an_enum(tmp_path: Path) -> None:
    """pyarrow keeps the note of polars about the texts of the first table."""
    users = [pl.Series(texts, dtype=pl.Enum(texts)) for texts in (["u", "v"], ["w", "x"])]
    tables = [pl.DataFrame({"user": some, "item": ["a", "b"]}).to_arrow() for some in users]
    joined = pa.concat_tables(tables, promote_options="permissive")
    assert joined.schema.field("user").metadata
    pq.write_table(joined, tmp_path / "one.parquet")
    assert Interactions.read(tmp_path / "one.parquet").users.raw == ("u", "v", "w", "x")
