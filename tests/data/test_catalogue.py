from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoken.data import Catalogue, IdMap, Interactions
from metatoken.data.items import attribute
from metatoken.errors import ArtifactError

LOG = pl.DataFrame({"user": ["u", "u", "v", "v"], "item": ["b", "a", "c", "d"]})
TABLE = """item_id,title,categories,price,brand,stock,code,empty,new
z,not in the log,,1,Z,1,01,,true
b,Salt &amp; Pepper,Food|Spice,2.5,B &amp; C,7,007,,true
a,,,,,-3,10,,False
d,Pepper mill,Tools,10,A,,,,
"""


@pytest.fixture
def log(tmp_path: Path) -> Interactions:
    LOG.write_csv(tmp_path / "log.csv")
    (tmp_path / "items.csv").write_text(TABLE, encoding="utf-8")
    return Interactions.read(tmp_path / "log.csv", items=tmp_path / "items.csv")


def test_every_column_of_the_item_table_is_kept(log: Interactions) -> None:
    known = Catalogue.of(log)
    assert known.columns == {
        "item": "text", "title": "text", "categories": "list of texts", "price": "number", "brand": "text",
        "stock": "whole number", "code": "text", "new": "true or false",
    }  # fmt: skip
    assert known.frame.rows() == [
        ("a", "", [], None, None, -3, "10", False),
        ("b", "Salt & Pepper", ["Food", "Spice"], 2.5, "B & C", 7, "007", True),
        ("c", None, None, None, None, None, None, None),
        ("d", "Pepper mill", ["Tools"], 10.0, "A", None, None, None),
    ]
    assert known.titles == ["", "Salt & Pepper", "", "Pepper mill"]
    assert known.mask("price > 2 and stock is null").tolist() == [False, False, False, True]


def test_json_lines_and_parquet_hold_the_same(log: Interactions, tmp_path: Path) -> None:
    frame = Catalogue.of(log).frame.drop_nulls("title").rename({"item": "item_id"})
    frame.write_ndjson(tmp_path / "items.jsonl")
    frame.write_parquet(tmp_path / "items.parquet")
    for name in ("items.jsonl", "items.parquet"):
        again = Interactions.read(tmp_path / "log.csv", items=tmp_path / name)
        assert Catalogue.of(again).frame.equals(Catalogue.of(log).frame), name
        assert again.checksum() == log.checksum()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", None, " 2 "], [1, None, 2]),
        (["1", "x"], ["1", "x"]),
        (["1.5", "1e3", ""], [1.5, 1000.0, None]),
        (["nan", "1"], ["nan", "1"]),
        (["01", "2"], ["01", "2"]),
        (["0", "0.5"], [0.0, 0.5]),
        (['["a", "b"]', "[]", None], [["a", "b"], [], []]),
        (['["a", "b"]', "[3]"], [["a", "b"], ["3"]]),
        (["[[1]]"], ["[[1]]"]),
        (["[1", "2]"], ["[1", "2]"]),
        ([float("nan"), 1.0], [None, 1.0]),
        ([date(2024, 5, 31), None], ["2024-05-31", None]),
        ([["a ", "", None], None], [["a"], []]),
        ([True, None], [True, None]),
    ],
)
def test_types(values: list[object], expected: list[object]) -> None:
    column = attribute(pl.Series("x", values))
    assert column is not None
    assert column.to_list() == expected


@pytest.mark.parametrize("values", [[{"a": 1}], [b"x"], [None], [float("nan")], ["", " "], [[], []], [[[1]]]])
def test_columns_that_say_nothing_are_left_out(values: list[object]) -> None:
    assert attribute(pl.Series("x", values)) is None


def test_saved_and_loaded(log: Interactions, tmp_path: Path) -> None:
    known = Catalogue.of(log)
    known.save(tmp_path / "items")
    loaded = Catalogue.load(tmp_path / "items", log.items)
    assert loaded.frame.equals(known.frame)
    assert loaded.columns == known.columns
    with pytest.raises(ArtifactError, match="other items"):
        Catalogue.load(tmp_path / "items", IdMap(["a"], "item"))
    data = tmp_path / "items" / "items.parquet"
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"items\.parquet: altered"):
        Catalogue.load(tmp_path / "items", log.items)


def test_without_an_item_table(log: Interactions) -> None:
    from dataclasses import replace

    bare = replace(log, item_table=None)
    assert Catalogue.of(bare).columns == {"item": "text"}
    assert Catalogue.of(bare).titles == ["", "", "", ""]
    assert Catalogue.of(bare, ["w", "x", "y", "z"]).titles == ["w", "x", "y", "z"]
    assert Catalogue.of(bare).mask('item > "b"').tolist() == [False, False, True, True]


def test_masks_are_remembered_and_cannot_be_changed(log: Interactions) -> None:
    known = Catalogue.of(log)
    first = known.mask("price > 2")
    assert known.mask("price > 2") is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = True
    for n in range(100):
        known.mask(f"price > {n}")
    assert len(known._masks) <= 32
    np.testing.assert_array_equal(known.mask("price > 2"), first)


def test_search() -> None:
    titles = ["Red lipstick", "Lipstick red", "Soap for red hands", "redeem", "Blue", "", "RED"]
    known = Catalogue(IdMap(["r1", "r2", "x3", "x4", "red", "x6", "x7"], "item"), pl.DataFrame({"title": titles}))

    def found(text: str, limit: int = 20) -> list[str]:
        return [titles[row] or known.items.raw[row] for row in known.search(text, limit)]

    assert found("red") == ["RED", "Blue", "redeem", "Red lipstick", "Lipstick red", "Soap for red hands"]
    assert found("lip red") == ["Red lipstick", "Lipstick red"]
    assert found("r2") == ["Lipstick red"]
    assert found("red", 2) == ["RED", "Blue"]
    assert found("nothing of it") == []
    assert len(found("")) == 7
    assert found("", 0) == []
