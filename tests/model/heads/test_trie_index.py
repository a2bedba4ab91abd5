"""The path of every item equals a walk over the tuples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.errors import ArgumentError
from metatoken.model.heads.trie_index import TrieIndex
from metatoken.tokens.trie import Trie


@given(
    rows=st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=40),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_paths(rows, shuffle):
    items = sorted(rows)
    shuffle.shuffle(items)
    trie = Trie.from_codes(np.array([(*row, *[-1] * (4 - len(row))) for row in items]))
    index = TrieIndex(trie)

    def continues(prefix):
        return any(row[: len(prefix)] == prefix and len(row) > len(prefix) for row in rows)

    def leafy(prefix):
        below = {row[: len(prefix) + 1] for row in rows if row[: len(prefix)] == prefix and len(row) > len(prefix)}
        return bool(below) and not any(continues(one) for one in below)

    for item, row in enumerate(items):
        leaf_level = -1
        for level in range(4):
            prefix = row[:level]
            if level < len(row):
                expected = trie.find(prefix), trie.find(row[: level + 1])
            elif level == len(row) and continues(row):
                expected = trie.find(row), trie.find(row)
            else:
                expected = -1, -1
            assert (int(index.path[item, level]), int(index.choice[item, level])) == expected
            if expected[0] >= 0 and leafy(prefix):
                leaf_level = level
        assert int(index.leaf_level[item]) == leaf_level
        assert bool(index.above[item]) == continues(row)
        assert int(index.leaf_items[index.leaf_of[item]]) == item
    assert index.has_end == any(continues(row) for row in rows)
    assert index.uniform == all(len(row) == 4 for row in rows)


def test_arrays_are_shared_with_torch():
    trie = Trie.from_codes([[0, 1], [1, 0]])
    index = TrieIndex(trie)
    assert index.first_child.data_ptr() == trie.first_child.ctypes.data
    assert index.code.dtype == torch.int32


def test_no_items():
    with pytest.raises(ArgumentError, match="codes"):
        TrieIndex(Trie.from_codes(np.empty((0, 2), dtype=np.int32)))
