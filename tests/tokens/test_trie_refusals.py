"""What the item trie refuses: a place that is none is an error, never another item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metatoken.errors import ArgumentError
from metatoken.tokens.trie import Trie

TRIE = Trie.from_codes([[0, 0], [0, 1], [1, 0]])


def test_what_is_not_found_has_no_items() -> None:
    nothing = TRIE.find([5])
    assert nothing == -1
    for ask in (TRIE.items, TRIE.children):
        with pytest.raises(ArgumentError, match=r"node: expected a node from 0 to 5, got -1"):
            ask(nothing)
        with pytest.raises(ArgumentError, match="node"):
            ask(6)
        with pytest.raises(TypeError):
            ask(0.0)  # type: ignore[arg-type]
    assert TRIE.items(0).tolist() == [0, 1, 2]


BROKEN = [[0.5], ["a"], b"bytes", [True], [[0], [1, 2]], [2**70], np.array([2**63], np.uint64)]


@pytest.mark.parametrize("values", BROKEN)
def test_rows_that_are_no_numbers(values: Any) -> None:
    for ask in (TRIE.leaf_of, TRIE.item_of, TRIE.subset, TRIE.find):
        with pytest.raises(ArgumentError, match="expected whole numbers"):
            ask(values)


def test_leaves_that_are_none() -> None:
    assert TRIE.item_of([0, -1]).tolist() == [0, -1]
    for leaf in (-2, 3):
        with pytest.raises(ArgumentError, match="leaves of the 3 items"):
            TRIE.item_of([leaf])
    assert TRIE.leaf_of([]).tolist() == []
