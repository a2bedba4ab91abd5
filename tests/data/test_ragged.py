"""Rows of different lengths in one array, against lists of lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data.ragged import Ragged, Sequences
from metatoken.errors import ArgumentError

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6)


@given(LISTS, st.data())
def test_take_equals_indexing(lists, data):
    users = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    taken = Sequences.of(lists).take(np.array(users, dtype=np.int32))
    assert isinstance(taken, Sequences)
    assert [one.tolist() for one in taken] == [lists[user] for user in users]
    assert taken.offsets.dtype == np.int64
    assert taken.items.dtype == np.int32


@given(LISTS)
def test_rows_come_back(lists):
    rows = Ragged.of(lists)
    assert [row.tolist() for row in rows] == lists
    assert rows.lengths.tolist() == [len(one) for one in lists]
    assert rows.owners.tolist() == [row for row, one in enumerate(lists) for _ in one]
    assert rows.values.dtype == np.int64
    table = np.full((len(lists), 4), -1)
    for row, one in enumerate(lists):
        table[row, : len(one)] = one
    assert [row.tolist() for row in Ragged.padded(table, base=100)] == [[v + 100 for v in one] for one in lists]


def test_rows_that_do_not_exist_are_refused():
    rows = Sequences.of([[1], [2]])
    for users in (np.array([0, 2]), np.array([-1]), np.array([0.5]), np.array([[0]])):
        with pytest.raises(ArgumentError, match="users"):
            rows.take(users)
    for row in (-1, 2):
        with pytest.raises(IndexError, match="row"):
            rows[row]


def test_nothing_is_a_ragged_array_too():
    assert len(Ragged.of([])) == 0
    assert Sequences.of([]).items.dtype == np.int32
    assert Sequences.of([[], []]).take([1, 0]).lengths.tolist() == [0, 0]
