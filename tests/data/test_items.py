import re

import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.data.ids import IdMap
from metatoken.data.links import Links
from metatoken.errors import DataError, MetatokenWarning

LOG = pl.DataFrame({"user": ["u", "u", "v"], "item": ["b", "a", "c"]})


def read(tmp_path, text, name="items.csv", **arguments):
    LOG.write_csv(tmp_path / "log.csv")
    (tmp_path / name).write_text(text, encoding="utf-8")
    return Interactions.read(tmp_path / "log.csv", items=tmp_path / name, **arguments)


def test_titles_and_categories(tmp_path):
    text = "item_id,title,categories\nz,not in the log,\nb,Salt &amp; Pepper,Food|Spice | \na,,\n"
    log = read(tmp_path, text)
    assert log.titles() == ["", "Salt & Pepper", ""]
    assert log.item_table.rows() == [(0, "", []), (1, "Salt & Pepper", ["Food", "Spice"])]
    assert log.item_table.schema == {"item": pl.Int32, "title": pl.String, "categories": pl.List(pl.String)}


def test_own_names(tmp_path):
    log = read(tmp_path, "asin\tname\tkind\na\tAye\tX\n", "i.tsv", item_id="asin", title="name", categories="kind")
    assert log.item_table.rows() == [(0, "Aye", ["X"])]
    assert log.titles() == ["Aye", "", ""]


def test_id_column_of_the_log_is_found(tmp_path):
    assert read(tmp_path, '{"item": "a", "title": "Aye"}\n', "i.jsonl").titles() == ["Aye", "", ""]


def test_lists_stay_lists():
    items = pl.DataFrame({"item_id": ["a", "b"], "categories": [["x|y", ""], None]})
    log = Interactions.from_frame(LOG, items=items)
    assert log.item_table.rows() == [(0, ["x|y"]), (1, [])]
    assert log.titles() is None
    assert Interactions.from_frame(LOG).titles() is None


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("item_id,title\na,x\nb,y\na,z\n", {}, r"items\.csv:4: item 'a' appears for the second time"),
        ("item_id,title\n1,x\n", {}, "none of its 1 ids in column 'item_id' is an item of the log"),
        ("item_id,name\na,x\n", {}, "neither a title nor a categories column; the columns are 'item_id', 'name'"),
        ("asin,title\na,x\n", {}, "no column 'item_id' for item_id"),
        ("item_id,title\na,x\n", {"categories": "genres"}, "no column 'genres' for categories"),
        ("item_id,title\n", {}, "columns but no rows"),
        ("item_id,title\na,x\n,y\n", {}, r"items\.csv:3: empty item_id id"),
    ],
)
def test_errors(tmp_path, text, arguments, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, **arguments)


def test_a_line_that_stands_twice_is_one(tmp_path):
    log = read(tmp_path, "item_id,title,year\na,x,1\nb,y,2\na,x,1\nc,z,3\n")
    assert log.item_table.rows() == [(0, "x", 1), (1, "y", 2), (2, "z", 3)]
    with pytest.raises(
        DataError,
        match=r"items\.csv:5: item 'b' appears for the second time, with other values; keep one line per item",
    ):
        read(tmp_path, "item_id,title\na,x\na,x\nb,y\nb,z\n")


def test_equal_lines_of_a_frame_are_one_with_lists_and_odd_names():
    items = pl.DataFrame({"item_id": ["a", "a", "b"], "categories": [["x"], ["x"], None], "row of it": [1, 1, 2]})
    assert Interactions.from_frame(LOG, items=items).item_table.rows() == [(0, ["x"], 1), (1, [], 2)]


def test_items_that_a_table_lacks_are_told(tmp_path):
    with pytest.warns(MetatokenWarning, match=r"2 of 3 items are not in .*items\.csv, e\.g\. 'b'$"):
        read(tmp_path, "item_id,title\na,A\nz,Z\n")


@pytest.mark.parametrize(
    ("known", "given", "said"),
    [
        (["0012", "7", "8"], ["12", "7", "8"], "1 of 3 items are not in .*, e.g. '0012'; it has '12', which may be"),
        (["Ab c", "x"], ["abc", "x"], "it has 'abc', which may be 'Ab c': were zeros, blanks or capitals lost"),
        (["a", "b"], ["a", "b", "c"], None),
    ],
)
def test_ids_that_were_changed_on_the_way_are_named(tmp_path, recwarn, known, given, said):
    pl.DataFrame({"id": given, "brand": "B"}).write_csv(tmp_path / "brands.csv")
    links = Links.read(tmp_path / "brands.csv", IdMap(sorted(known), "item"))
    assert len(links) == len(set(known) & set(given))
    warned = [str(one.message) for one in recwarn if issubclass(one.category, MetatokenWarning)]
    if said is None:
        assert warned == []
    else:
        assert len(warned) == 1
        assert re.search(said, warned[0])
