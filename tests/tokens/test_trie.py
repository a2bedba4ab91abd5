"""The flat trie equals a trie of dicts."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.errors import ArgumentError, ArtifactError
from metatoken.tokens.trie import NAMES, Trie
from tests.oracles.cluster import DictTrie


def check_against_dicts(codes: np.ndarray, trie: Trie) -> None:
    oracle = DictTrie(codes)
    nodes = list(oracle.walk())
    assert trie.n_nodes == len(nodes)
    for number, (prefix, node) in enumerate(nodes):
        assert trie.find(list(prefix)) == number
        assert trie.code[number] == (prefix[-1] if prefix else -1)
        assert trie.children(number).tolist() == sorted(k for k in node if k is not None)
        assert trie.items(number).tolist() == oracle.items(node)
        ends = trie.terminal[number]
        assert (None if ends < 0 else trie.leaf_items[ends]) == node.get(None)
    assert trie.first_child[-1] == trie.n_nodes


@given(
    rows=st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), max_size=40),
    wide=st.booleans(),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_equals_dicts(rows, wide, shuffle):
    ordered = sorted(rows)
    shuffle.shuffle(ordered)
    codes = np.full((len(ordered), 4), -1, dtype=np.int64)
    for row, tuple_ in enumerate(ordered):
        codes[row, : len(tuple_)] = tuple_
    if wide:  # codes so large that a tuple does not fit 64 bits: the other sort
        codes = np.where(codes >= 0, codes + (1 << 30), codes)
    check_against_dicts(codes, Trie.from_codes(codes))


def test_threads_give_the_same_bytes():
    rng = np.random.default_rng(0)
    codes = np.stack(np.unravel_index(rng.permutation(32**3)[:9000], (32, 32, 32)), 1)
    built = [Trie.from_codes(codes, threads=threads).tensors() for threads in (1, 2, 3)]
    for other in built[1:]:
        assert {k: v.tobytes() for k, v in built[0].items()} == {k: v.tobytes() for k, v in other.items()}


@pytest.mark.parametrize("convert", [np.asfortranarray, lambda c: c.astype(np.uint8), lambda c: c[::-1][::-1]])
def test_takes_any_integer_array(convert):
    codes = np.array([[1, 2], [0, 3], [1, 0]])
    given_codes = convert(codes)
    given_codes.setflags(write=False)
    check_against_dicts(codes, Trie.from_codes(given_codes))


def test_no_items():
    trie = Trie.from_codes(np.empty((0, 3), dtype=np.int32))
    assert (trie.n_nodes, trie.n_items, trie.children(0).tolist()) == (1, 0, [])


def test_unknown_prefixes():
    trie = Trie.from_codes(np.array([[1, 2], [3, 4]]))
    assert trie.find([2]) == trie.find([1, 4]) == trie.find([1, 2, 0]) == -1
    assert trie.find([]) == 0
    assert trie.find([1, -1]) == trie.find([1])


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([[1, 2], [0, 1], [1, 2]], "rows 0 and 2"),
        ([[1, 2], [-1, 1]], "row 1"),
        ([[-1, -1]], "row 0"),
        ([[0, -2]], "-1 as padding"),
        ([[1 << 31]], "below"),
        ([[0.5]], "integers"),
        ([1, 2], "shape"),
    ],
)
def test_refuses(codes, words):
    with pytest.raises(ArgumentError, match=words) as caught:
        Trie.from_codes(np.array(codes))
    assert caught.value.argument == "codes"


def test_saves_and_loads():
    trie = Trie.from_codes(np.array([[1, 2], [1, -1], [0, 7]]))
    tensors = trie.tensors()
    again = Trie.from_tensors(tensors)
    assert all(np.array_equal(v, again.tensors()[k]) for k, v in tensors.items())
    assert again.depth == 2
    with pytest.raises(ArtifactError):
        Trie.from_tensors({k: v for k, v in tensors.items() if k != "terminal"})
    assert copy.deepcopy(trie).items(0).tolist() == trie.items(0).tolist()


TREE = Trie.from_codes(np.array([[1, 2], [1, -1], [0, 7], [0, 3]])).tensors()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("first_child", TREE["first_child"][:-1]),
        ("first_child", [0, 1, 2, 3, 4, 5, 6]),  # a root that is its own child
        ("first_child", [1, 3, 2, 5, 6, 6, 6]),
        ("first_child", [1, 3, 5, 6, 6, 6, 7]),
        ("first_child", [1, -3, 5, 6, 6, 6, 6]),
        ("code", [-1, 1, 0, 3, 7, 2]),
        ("code", [-1, 0, 1, 7, 7, 2]),
        ("code", [0, 0, 1, 3, 7, 2]),
        ("leaf_begin", [0, 0, 2, 0, 1, 2]),
        ("leaf_end", [4, 2, 5, 1, 2, 4]),
        ("leaf_end", [2**31 - 1, 2, 4, 1, 2, 4]),
        ("terminal", [-1, -1, -1, 0, 1, 3]),
        ("terminal", [-1, -1, 2**31 - 1, 0, 1, 3]),
        ("terminal", [-1, -1, 2, -2, 1, 3]),
        ("leaf_items", [3, 2, 1]),
        ("leaf_items", [3, 2, 1, 3]),
        ("leaf_items", [3, 2, 1, -1]),
        ("depth", [1]),
        ("depth", [0]),
        ("depth", [-1]),
        ("depth", [2**31 - 1]),
        ("depth", []),
        ("code", np.zeros((6, 1), np.int32)),
        ("code", np.zeros(6)),
    ],
)
def test_arrays_that_are_no_trie_are_refused(name, array):
    wrong = array if isinstance(array, np.ndarray) else np.array(array, np.int32)
    with pytest.raises(ArtifactError, match="trie"):
        Trie.from_tensors({**TREE, name: wrong})


@given(
    rows=st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple), min_size=1, max_size=12),
    name=st.sampled_from(NAMES),
    place=st.integers(0, 10**6),
    value=st.integers(-2, 12) | st.sampled_from([2**31 - 1, -(2**31)]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_arrays_are_taken_are_those_of_their_codes(rows, name, place, value):
    codes = np.array([(*row, *[-1] * (3 - len(row))) for row in rows])
    tensors = {key: array.copy() for key, array in Trie.from_codes(codes).tensors().items()}
    tensors[name][place % len(tensors[name])] = value
    try:
        taken = Trie.from_tensors(tensors)
    except ArtifactError:
        return
    again = Trie.from_codes(taken.codes()).tensors()
    again["leaf_items"] = taken.leaf_items[again["leaf_items"]]
    for key, array in tensors.items():
        np.testing.assert_array_equal(array, again[key])


def test_arrays_cannot_be_changed():
    trie = Trie.from_codes([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="read-only"):
        trie.code[0] = 5
    with pytest.raises(ValueError, match="WRITEABLE"):
        trie.code.flags.writeable = True


def test_leaves_and_items_name_each_other():
    part = Trie.from_codes([[2, 0], [0, 1], [1, 0], [0, 0]]).subset([3, 0, 1])
    assert part.leaf_of([[0, 1], [3, 0]]).tolist() == [[2, 1], [0, 2]]
    assert part.item_of([2, -1, 0]).tolist() == [0, -1, 3]
    for unknown in (2, -1, 4):
        with pytest.raises(ArgumentError, match="rows of the 3 items"):
            part.leaf_of([0, unknown])


@given(
    rows=st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=40),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_codes_come_back_and_a_subset_is_the_trie_of_its_rows(rows, data):
    codes = np.array([(*row, *[-1] * (4 - len(row))) for row in sorted(rows, key=lambda row: row[::-1])])
    trie = Trie.from_codes(codes)
    np.testing.assert_array_equal(trie.codes(), codes[trie.leaf_items])
    chosen = data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=10))
    part = trie.subset(chosen)
    assert sorted(part.leaf_items.tolist()) == sorted(set(chosen))
    for item, row in enumerate(codes):
        node = part.find(row)
        found = -1 if node < 0 or part.terminal[node] < 0 else part.leaf_items[part.terminal[node]]
        assert found == (item if item in chosen else -1)


def test_a_subset_needs_known_rows():
    with pytest.raises(ArgumentError, match="rows"):
        Trie.from_codes([[0, 1], [1, 0]]).subset([2])
