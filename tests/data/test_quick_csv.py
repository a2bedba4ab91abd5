"""Numbers of a CSV are read as such only where that is the same as reading their text."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import Interactions
from metatoken.data.assembly import ascending
from metatoken.data.readers import read_table
from metatoken.errors import DataError

ODD = ["007", "+7", "-0", "-7", " 7", "  07", "7 ", "1e5", "7.0", "NA", "nan", "12345678901234567890", "٣", "7_0"]
IDS = st.lists(st.integers(0, 99).map(str), min_size=60, max_size=70)


@given(IDS, IDS, st.lists(st.sampled_from(ODD), max_size=1), st.sampled_from([",", ";", "|", "::"]), st.booleans())
def test_ids_are_those_of_the_text(tmp_path_factory, users, items, odd, separator, quoted):
    rows = list(zip([*users, *odd], [*odd, *items], strict=False))
    path = tmp_path_factory.mktemp("log") / "log.csv"
    mark = '"' if quoted else ""
    lines = [separator.join(f"{mark}{value}{mark}" for value in row) for row in [("user", "item"), *rows]]
    path.write_text("\n".join(lines))
    read = Interactions.read(path, separator=separator)
    held = Interactions.from_frame({"user": [row[0] for row in rows], "item": [row[1] for row in rows]})
    assert read.users.raw == tuple(sorted({row[0].strip() for row in rows}))
    assert read.checksum() == held.checksum()


@pytest.mark.parametrize("value", ["x", "nan", "inf", "1e39", "4,5"])
def test_a_rating_that_is_none_is_shown_as_it_stands(tmp_path, value):
    path = tmp_path / "log.csv"
    path.write_text("user;item;rating\n" + "1;2;3.5\n" * 60 + f"1;2;{value}\n1;2;4\n")
    with pytest.raises(DataError, match=f"log.csv:62: rating '{value}' in column 'rating' is not a finite number"):
        Interactions.read(path, separator=";", rating="rating")


def test_only_columns_that_are_asked_for_come_as_numbers(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,rating,time\n" + "1,0,3.5,10\n" * 60)
    kinds = {"user": pl.Int64, "item": None, "rating": pl.Float64, "time": pl.Int64}
    assert [column.dtype for column in read_table(path, kinds).frame] == [pl.Int64, pl.String, pl.Float64, pl.Int64]
    assert set(read_table(path, list(kinds)).frame.dtypes) == {pl.String}
    path.write_text("user,item,rating,time\n" + "1,0,3.5,10\n" * 60 + "1,0,3.5,010\n")  # late
    assert [column.dtype for column in read_table(path, kinds).frame] == [pl.String, pl.String, pl.Float64, pl.String]


@given(st.lists(st.integers(-5, 5) | st.sampled_from([2**62, -(2**62)])), st.sampled_from([np.int64, np.float64]))
def test_ascending_is_a_stable_argsort(values, kind):
    array = np.array(values, dtype=kind)
    assert ascending(array).tolist() == np.argsort(array, kind="stable").tolist()


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt32, pl.UInt64, pl.Int128, pl.String])
def test_ids_of_any_integer_are_their_text(kind):
    large = {pl.UInt64: 2**64 - 1, pl.Int128: 2**100}.get(kind, 100)
    users = pl.Series([large, 9, 20]).cast(kind) if large == 100 else pl.Series([large, 9, 20], dtype=kind)
    log = Interactions.from_frame({"user": users, "item": pl.Series([3, 1, 2], dtype=pl.Int16)})
    assert (log.users.raw, log.items.raw) == (tuple(sorted([str(large), "20", "9"])), ("1", "2", "3"))
