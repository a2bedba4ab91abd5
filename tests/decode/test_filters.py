"""Counts of allowed items in ranges of leaves equal a loop over sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.decode.filters import ItemFilter
from metatoken.errors import ArgumentError
from metatoken.model.heads.trie_index import TrieIndex
from metatoken.tokens.trie import Trie

N = 30
ROWS = st.lists(st.integers(0, N - 1), max_size=N).map(lambda rows: np.array(rows, dtype=np.int64))


def index() -> TrieIndex:
    order = np.random.default_rng(0).permutation(36)[:N]
    return TrieIndex(Trie.from_codes(np.stack(np.unravel_index(order, (6, 6)), 1)))


INDEX = index()


def allowed_rows(blocked, allowed, catalogue):
    rows = set(range(N)) if allowed is None else set(allowed.tolist())
    return {row for row in rows - set(blocked.tolist()) if catalogue is None or catalogue[row]}


@given(
    blocked=st.lists(ROWS, min_size=3, max_size=3),
    allowed=st.lists(st.none() | ROWS, min_size=3, max_size=3),
    mask=st.none() | st.lists(st.booleans(), min_size=N, max_size=N),
    begin=st.integers(0, N),
    length=st.integers(0, N),
)
@settings(max_examples=80, deadline=None)
def test_counts_equal_a_loop(blocked, allowed, mask, begin, length):
    catalogue = None if mask is None else np.array(mask)
    filters = ItemFilter(INDEX, 3, blocked=blocked, allowed=allowed, catalogue=catalogue)
    end = min(N, begin + length)
    items = INDEX.leaf_items[begin:end].tolist()
    expected = [len(allowed_rows(b, a, catalogue) & set(items)) for b, a in zip(blocked, allowed, strict=True)]
    prompts = torch.arange(3)
    assert filters.count(prompts, torch.full((3,), begin), torch.full((3,), end)).tolist() == expected
    everywhere = [len(allowed_rows(b, a, catalogue)) for b, a in zip(blocked, allowed, strict=True)]
    assert filters.count(prompts, torch.zeros(3, dtype=int), torch.full((3,), N)).tolist() == everywhere


def test_leaving_out_more():
    blocked = [np.array([1, 2]), np.array([], dtype=int), np.array([5])]
    allowed = [None, np.array([3, 4, 9]), None]
    catalogue = np.arange(N) != 7
    filters = ItemFilter(INDEX, 3, blocked=blocked, allowed=allowed, catalogue=catalogue)
    more = filters.without(np.array([0, 1, 1]), INDEX.leaf_of[[8, 4, 9]].numpy())
    again = ItemFilter(
        INDEX, 3, blocked=[np.array([1, 2, 8]), np.array([4, 9]), blocked[2]], allowed=allowed, catalogue=catalogue
    )
    for one, other in zip(more.native(), again.native(), strict=True):
        np.testing.assert_array_equal(one, other)
    leaves = torch.arange(N)
    for prompt in range(3):
        where = torch.full((N,), prompt)
        assert torch.equal(more.count(where, leaves, leaves + 1), again.count(where, leaves, leaves + 1))


def test_a_list_of_nothing_allows_nothing_and_none_allows_all():
    leaves = torch.arange(N)
    filters = ItemFilter(INDEX, 2, allowed=[np.array([], dtype=int), None])
    assert not filters.count(torch.zeros(N, dtype=int), leaves, leaves + 1).any()
    assert filters.count(torch.ones(N, dtype=int), leaves, leaves + 1).all()


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"blocked": [np.array([0])]}, "blocked: expected one array"),
        ({"blocked": [np.array([0]), np.array([N])]}, "blocked: expected rows"),
        ({"allowed": [np.array([-1]), None]}, "allowed: expected rows"),
        ({"catalogue": np.ones(N - 1, bool)}, "catalogue: expected bool"),
        ({"catalogue": np.ones(N)}, "catalogue: expected bool"),
    ],
)
def test_refuses(lists, words):
    with pytest.raises(ArgumentError, match=words):
        ItemFilter(INDEX, 2, **lists)
