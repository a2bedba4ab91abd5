import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import IdMap
from metatoken.data.ids import encode
from metatoken.errors import ArgumentError, UnknownIdError


def test_rows_both_ways():
    ids = IdMap(["a", "b", "c"], "item")
    assert (len(ids), list(ids), ids.row("b"), "c" in ids, "d" in ids) == (3, ["a", "b", "c"], 1, True, False)
    rows = ids.rows(["c", "a", "c"])
    assert rows.dtype == np.int32
    assert rows.tolist() == [2, 0, 2]
    assert ids.rows([]).shape == (0,)
    assert ids == IdMap(["a", "b", "c"])


def test_unknown_ids_are_named():
    ids = IdMap(["1", "2"], "user")
    with pytest.raises(UnknownIdError, match=r"user 'x' is not among the 2 known users"):
        ids.rows(["1", "x"])
    with pytest.raises(UnknownIdError, match="ids are strings, try '1'"):
        ids.row(1)


@pytest.mark.parametrize(("raw", "message"), [(["a", "a"], "'a' appears twice"), ([""], "row 0"), (["a", 3], "row 1")])
def test_ids_must_be_distinct_text(raw, message):
    with pytest.raises(ArgumentError, match=message):
        IdMap(raw)


NUMBERS = st.integers(-9, 300) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(NUMBERS.map(str), min_size=1), st.lists(st.sampled_from(["007", "+7", "-0", "1e5", "7.0", "x", "٣"])))
def test_encoding_is_that_of_a_dictionary(numbers, others):
    for raw in (numbers, numbers + others, others + numbers):
        ids, rows = encode(pl.Series(raw), "item")
        assert ids.raw == tuple(sorted(set(raw)))
        assert rows.dtype == np.int32
        assert [ids.raw[row] for row in rows] == raw
