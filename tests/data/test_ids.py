import numpy as np
import pytest

from metatoken.data import IdMap
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
