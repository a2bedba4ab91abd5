"""A log with others behind it: rows, order, times, item tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken import Interactions
from metatoken.data import Targets, leave_last_out
from metatoken.data.growth import Files, append, check_ids, keep_learned, nothing, read_addition, unlisted
from metatoken.data.settings import LogSettings
from metatoken.errors import DataError
from tests.growing import cut, rows_of

ROWS = rows_of()


@given(st.lists(st.floats(0.3, 0.95), min_size=1, max_size=5, unique=True))
def test_parts_one_after_the_other_are_the_whole(shares: list[float]) -> None:
    first, *rest = cut(ROWS, *sorted(shares))
    (_, at_once) = cut(ROWS, min(shares))
    grown = first
    for part in rest:
        grown = grown.append(part)
    whole = first.append(at_once)
    assert grown.users == whole.users
    assert grown.items == whole.items
    assert grown.frame.equals(whole.frame)
    assert grown.users.raw[: first.n_users] == first.users.raw
    assert grown.items.raw[: first.n_items] == first.items.raw


def test_histories_are_those_of_the_log_read_at_once() -> None:
    old, new = cut(ROWS, 0.5)
    grown = old.append(new)
    (whole,) = cut(ROWS)
    assert (len(grown), grown.n_users, grown.n_items) == (len(whole), whole.n_users, whole.n_items)
    for user, raw in enumerate(grown.users):
        own = [grown.items.raw[item] for item in grown.sequences()[user]]
        assert own == [whole.items.raw[item] for item in whole.sequences()[whole.users.row(raw)]]
    assert (
        grown.frame["order"].to_list()
        == whole.frame.with_columns(user=pl.Series(grown.users.rows(whole.users.raw)).gather(whole.frame["user"]))
        .sort("user", "order")["order"]
        .to_list()
    )


def test_new_ids_come_in_the_order_of_their_first_times_then_of_their_names() -> None:
    old = Interactions.from_arrays(["a"], ["x"], times=[1])
    new = Interactions.from_arrays(["d", "c", "b", "a"], ["n", "m", "o", "x"], times=[5, 5, 4, 9])
    grown = old.append(new)
    assert grown.users.raw == ("a", "b", "c", "d")
    assert grown.items.raw == ("x", "o", "m", "n")


def test_what_was_learned_from_is_never_held_out() -> None:
    # Both rows of `two` train, since there are too few; `one` and `three` have as many as they need.
    users, items = ["two", "two", "one", *["three"] * 3], ["a", "b", "a", "a", "b", "c"]
    old = Interactions.from_arrays(users, items, times=range(6))
    train = leave_last_out(old).train
    grown = old.append(Interactions.from_arrays(["two", "one", "one"], ["c", "b", "c"], times=[7, 8, 9]))
    split = leave_last_out(keep_learned(grown, train))

    def of(part: Targets) -> dict[str, str]:
        return {grown.users.raw[user]: grown.items.raw[item] for user, item in zip(part.users, part.items, strict=True)}

    assert of(split.test) == {"two": "c", "one": "c", "three": "c"}
    assert of(split.validation) == {"one": "b", "three": "b"}
    assert split.history("test").lengths.sum() == len(grown) - 3
    # Once there are two new rows, both are held out, and the mark is gone.
    further = split.log.append(Interactions.from_arrays(["two"], ["a"], times=[10]))
    later = leave_last_out(keep_learned(further, split.train))
    assert "learned" not in later.log.frame.columns
    assert of(later.validation) == {"one": "b", "two": "c", "three": "b"}
    assert keep_learned(old, train).frame.equals(old.frame)


def test_nothing_changes_nothing() -> None:
    (log,) = cut(ROWS)
    grown = log.append(nothing())
    assert grown.checksum() == log.checksum()


def test_older_rows_are_refused() -> None:
    old, new = cut(ROWS, 0.5)
    with pytest.raises(DataError, match=rf"{len(old) - 1:,} of {len(old):,} new rows are older than the newest row"):
        old.append(old)
    with pytest.raises(DataError, match="time does not run backwards"):
        new.append(old)
    assert len(old.append(new)) == len(old) + len(new)


def test_a_log_without_times_is_refused_beside_one_with_times() -> None:
    old, new = Interactions.from_arrays(["a"], ["x"], times=[1]), Interactions.from_arrays(["a"], ["y"])
    with pytest.raises(DataError, match="the new log has no times"):
        old.append(new)
    assert new.append(old).frame.columns == ["user", "item", "order"]


@pytest.mark.parametrize("factor", [1000, 10**6, 10**9])
def test_times_of_another_unit_are_refused(factor: int) -> None:
    old = Interactions.from_arrays(["a"], ["x"], times=[1_600_000_000])
    new = Interactions.from_arrays(["a"], ["y"], times=[1_700_000_000 * factor])
    with pytest.raises(DataError, match=r"are (milli|micro|nano)seconds since 1970, those of the log .* seconds"):
        old.append(new)
    counted = Interactions.from_arrays(["a"], ["x"], times=[3])  # no times since 1970, so of no unit
    assert len(counted.append(new)) == 2


def test_columns_are_those_of_the_log() -> None:
    old = Interactions.from_arrays(["a"], ["x"], ratings=[3])
    new = Interactions.from_arrays(["a", "b"], ["y", "x"], times=[1, 2])
    grown = old.append(new)
    assert grown.frame.columns == ["user", "item", "order", "rating"]
    assert grown.frame["rating"].to_list() == [3.0, None, None]
    assert grown.frame["item"].dtype == pl.Int32


def table(log: Interactions) -> dict[str, tuple[object, ...]]:
    assert log.item_table is not None
    return {log.items.raw[item]: tuple(rest) for item, *rest in log.item_table.iter_rows()}


def test_a_new_table_goes_over_what_was_known() -> None:
    old = Interactions.from_frame(
        {"user": ["u", "u"], "item": ["b", "c"]},
        items={"item": ["b", "c"], "title": ["B", "C"], "price": [1, 2], "shelf": ["left", "right"]},
    )
    new = Interactions.from_frame(
        {"user": ["u", "u"], "item": ["b", "a"]},
        items={"item": ["b", "a"], "title": ["", "A"], "price": [1.5, 9.0], "brand": ["x", None]},
    )
    grown = old.append(new)
    assert grown.item_table is not None
    assert grown.item_table.columns == ["item", "title", "price", "shelf", "brand"]
    assert table(grown) == {
        "b": ("B", 1.5, "left", "x"), "c": ("C", 2.0, "right", None), "a": ("A", 9.0, None, None)
    }  # fmt: skip
    assert grown.titles() == ["B", "C", "A"]


def test_columns_that_do_not_go_together_are_refused() -> None:
    old = Interactions.from_frame({"user": ["u"], "item": ["b"]}, items={"item": ["b"], "title": [""], "price": [1]})
    new = Interactions.from_frame(
        {"user": ["u"], "item": ["b"]}, items={"item": ["b"], "title": [""], "price": [["one"]]}
    )
    said = r"new\.csv: column 'price' of the item table holds Int64 in what is known and List\(String\)"
    with pytest.raises(DataError, match=said):
        append(old, new, Files(items=Path("new.csv")))


def of_items(**columns: list[object]) -> Interactions:
    n = len(next(iter(columns.values())))
    names = [f"i{place}" for place in range(n)]
    return Interactions.from_frame({"user": ["u"] * n, "item": names}, items={"item": names, "title": names, **columns})


@pytest.mark.parametrize(
    ("known", "new", "wanted"),
    [
        ([1, 2], ["XL", None], ["XL", "2"]),
        (["XL", "2"], [7, None], ["7", "2"]),
        ([True, False], ["maybe", None], ["maybe", "false"]),
        ([1, 2], [1.5, None], [1.5, 2.0]),
    ],
)
def test_numbers_and_texts_of_two_tables_become_text(
    known: list[object], new: list[object], wanted: list[object]
) -> None:
    grown = of_items(size=known).append(of_items(size=new))
    assert grown.item_table is not None
    assert grown.item_table["size"].to_list() == wanted


def test_an_empty_category_keeps_what_was_known() -> None:
    old, new = of_items(categories=[["a"], ["b"]]), of_items(categories=[[], ["c"]])
    grown = old.append(new)
    assert grown.item_table is not None
    assert grown.item_table["categories"].to_list() == [["a"], ["c"]]


def test_new_ids_that_look_like_known_ones() -> None:
    def log(*items: str) -> Interactions:
        return Interactions.from_arrays(["u"] * len(items), list(items))

    old, files = log("001", "002", "003", "010", "Ab C"), Files(Path("log.csv"), Path("items.csv"))
    (said,) = check_ids(old, log("1", "2", "x", "y"), files)
    assert said.startswith("2 of 4 new items may be known ones that lost zeros")
    assert "'1' for '001', '2' for '002'; each counts as another item" in said
    assert [*check_ids(old, log("1", "001", "new"), files)] == []  # which has both, so means both
    (single,) = check_ids(old, log("abc"), files)
    assert "'abc' for 'Ab C'" in single
    with pytest.raises(DataError, match=r"items\.csv: 3 of 3 new items may be .*: '1' for '001', '10'"):
        [*check_ids(old, log("1", "2", "10"), files)]


def test_items_that_nobody_has_taken_are_read_from_a_table(tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text("user,item\nu,m\nu,k\n")
    items.write_text("item,title\nz,Z\nk,K\na,A\n")
    about = LogSettings(path=log, items=items)
    found = read_addition(about)  # the table need not have the known ones
    old = Interactions.from_arrays(["u"], ["k"])
    files = Files(log, items)
    assert [*unlisted(old, found, files)] == [f"1 new items are not in {items}, e.g. 'm'"]
    assert [*unlisted(Interactions.from_arrays(["u", "u"], ["k", "m"]), found, files)] == []
    assert found.items.raw == ("a", "k", "m", "z")
    assert [found.items.raw[item] for item in found.sequences()[0]] == ["m", "k"]
    assert found.titles() == ["A", "K", "", "Z"]
    alone = read_addition(about, log=False)
    assert (len(alone), alone.items.raw) == (0, ("a", "k", "z"))
    assert old.append(found).items.raw == ("k", "m", "a", "z")  # those that nobody has taken come last
    assert np.array_equal(old.append(found).sequences().items, [0, 1, 0])


def test_new_rows_need_no_ratings(tmp_path: Path) -> None:
    about = LogSettings(path=tmp_path / "new.csv", user="user", item="item", rating="stars")
    about.path.write_text("user,item,stars\na,y,\nb,x,\n")
    grown = Interactions.from_arrays(["a"], ["x"], ratings=[3]).append(read_addition(about))
    assert grown.frame["rating"].to_list() == [3, None, None]
    about.path.write_text("user,item,stars\na,y,good\n")
    with pytest.raises(DataError, match="rating 'good' in column 'stars' is not a finite number"):
        read_addition(about)
