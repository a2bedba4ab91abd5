from pathlib import Path

import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.data.text_table import read_texts
from metatoken.errors import ArgumentError, DataError

LOG = pl.DataFrame({"user": ["a", "a", "b", "a", "b"], "item": ["x", "y", "x", "x", "z"]})


def log() -> Interactions:
    return Interactions.from_frame(LOG)


def write(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "texts.jsonl"
    pl.DataFrame(rows).write_ndjson(path)
    return path


def test_texts_join_the_first_row_of_a_pair_and_new_pairs_come_last(tmp_path: Path) -> None:
    path = write(tmp_path, [{"u": "a", "i": "x", "why": "good"}, {"u": "b", "i": "y", "why": "new &amp; fine"}])
    found = read_texts(log(), path, user="u", item="i", explanation="why", add_pairs=True)
    frame = found.frame.with_columns(
        user=pl.Series([found.users.raw[row] for row in found.frame["user"]]),
        item=pl.Series([found.items.raw[row] for row in found.frame["item"]]),
    )
    assert frame.rows() == [
        ("a", "x", 0, "good"),
        ("a", "y", 1, ""),
        ("a", "x", 2, ""),
        ("b", "x", 0, ""),
        ("b", "z", 1, ""),
        ("b", "y", 2, "new & fine"),
    ]


def test_pairs_that_the_log_lacks_are_refused_unless_they_may_be_added(tmp_path: Path) -> None:
    path = write(tmp_path, [{"u": "a", "i": "x", "why": "good"}, {"u": "b", "i": "y", "why": "new"}])
    with pytest.raises(DataError, match=r"1 pairs are not in the log, e.g. user 'b' and item 'y'; .*add_pairs"):
        read_texts(log(), path, user="u", item="i", explanation="why")
    rated = Interactions.from_frame(LOG.with_columns(rating=pl.Series([1.0, 2.0, 3.0, 4.0, 5.0])), rating="rating")
    with pytest.raises(DataError, match="they would have none"):
        read_texts(rated, path, user="u", item="i", explanation="why", add_pairs=True)


def test_a_text_of_the_log_stays_where_the_table_has_none(tmp_path: Path) -> None:
    own = LOG.with_columns(why=pl.Series(["one", "two", "three", "four", "five"]))
    path = write(tmp_path, [{"u": "a", "i": "x", "why": "good"}, {"u": "b", "i": "x", "why": ""}])
    found = read_texts(Interactions.from_frame(own, explanation="why"), path, user="u", item="i", explanation="why")
    texts = {(u, i, o): w for u, i, o, w in found.frame.select("user", "item", "order", "explanation").iter_rows()}
    assert sorted(texts.values()) == ["five", "four", "good", "three", "two"]


def test_titles_come_along(tmp_path: Path) -> None:
    path = write(tmp_path, [{"u": "a", "i": "y", "why": "w", "name": "Yard"}])
    found = read_texts(log(), path, user="u", item="i", explanation="why", title="name")
    assert found.titles() == ["", "Yard", ""]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"u": "q", "i": "x", "why": "w"}], "1 user ids are not in the log, e.g. 'q'"),
        ([{"u": "a", "i": "x", "why": "w"}, {"u": "a", "i": "x", "why": "v"}], "stand in several rows"),
        ([{"u": "a", "i": "x", "reason": "w"}], "why"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_texts(log(), write(tmp_path, rows), user="u", item="i", explanation="why")


def test_a_text_column_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="texts: expected the name of a column"):
        read_texts(log(), write(tmp_path, [{"u": "a", "i": "x"}]), user="u", item="i")


def test_features_may_stand_in_the_table_or_in_the_log(tmp_path: Path) -> None:
    path = write(tmp_path, [{"u": "a", "i": "y", "why": "w", "about": "a quiet &amp; green yard"}])
    found = read_texts(log(), path, user="u", item="i", explanation="why", feature="about")
    assert found.frame["feature"].to_list() == ["", "a quiet & green yard", "", "", ""]
    own = Interactions.from_frame(LOG.with_columns(about=pl.Series(["one", None, "", "four", "five"])), feature="about")
    assert own.frame["feature"].to_list() == ["one", "", "four", "", "five"]
