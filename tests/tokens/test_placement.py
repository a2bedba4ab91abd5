"""Codes of ids that come later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.errors import ArgumentError
from metatoken.tokens.codes import clustering
from metatoken.tokens.codes.placement import Shelf, count_on

NONE = np.zeros((0, 3), np.float32)


def book_of(rng: np.random.Generator, levels: list[int], metric: str = "euclidean") -> clustering.Codebook:
    return clustering.fit(rng.normal(size=(40, 3)).astype(np.float32), levels, metric=metric, seed=1)


def slow(book: clustering.Codebook, taken: set[tuple[int, ...]], x: np.ndarray) -> tuple[int, ...]:
    """The codes of one id by trying every code that may follow, with what is taken below it counted anew."""
    left, path = x.astype(np.float64), ()
    if book.metric == "cosine":
        left = left / np.linalg.norm(left)
    for level, centroids in enumerate(book.centroids):
        below = int(np.prod(book.levels[level + 1 :]))
        free = [
            code for code in range(len(centroids))
            if sum(one[: level + 1] == (*path, code) for one in taken) < below
        ]  # fmt: skip
        sought = centroids.astype(np.float64)
        if level == 0 and book.metric == "cosine":
            sought = sought / np.linalg.norm(sought, axis=1, keepdims=True)
        code = min(free, key=lambda code: (((sought[code] - left) ** 2).sum(), code))
        path, left = (*path, code), left - centroids[code]
    return path


@given(st.integers(0, 1000), st.sampled_from([[3, 4], [2, 3, 3], [8]]), st.sampled_from(["euclidean", "cosine"]))
def test_each_gets_the_nearest_code_with_room(seed: int, levels: list[int], metric: str) -> None:
    rng = np.random.default_rng(seed)
    book = book_of(rng, levels, metric)
    room = int(np.prod(levels))
    everything = np.stack(np.unravel_index(rng.permutation(room), levels), axis=1).astype(np.int32)
    n = int(rng.integers(0, room))
    taken, x = everything[:n], rng.normal(size=(room - n, 3)).astype(np.float32)
    placed = Shelf(book, [0] * len(levels), levels, NONE, taken).place(x)
    known = set(map(tuple, taken.tolist()))
    for row, code in zip(x, placed.codes.tolist(), strict=True):
        assert tuple(code) == slow(book, known, row)
        known.add(tuple(code))
    assert len(known) == room
    assert len(placed.centroids) == 0
    assert np.array_equal(placed.nearest, (placed.codes == book.assign(x)).all(axis=1))


@given(st.integers(0, 1000), st.integers(0, 12))
def test_halves_are_placed_like_the_whole(seed: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    book = book_of(rng, [3, 3])
    x = rng.normal(size=(14, 3)).astype(np.float32)  # more than there are codes
    taken = np.zeros((0, 2), np.int32)
    whole = Shelf(book, [0, 0], [3, 3], NONE, taken).place(x)
    one = Shelf(book, [0, 0], [3, 3], NONE, taken).place(x[:first])
    levels = [3, 3 + len(one.centroids)]
    two = Shelf(book, [0, 0], levels, one.centroids, one.codes).place(x[first:])
    assert np.array_equal(np.concatenate([one.codes, two.codes]), whole.codes)
    assert np.array_equal(np.concatenate([one.centroids, two.centroids]), whole.centroids)


def test_a_token_is_appended_where_no_code_is_left() -> None:
    rng = np.random.default_rng(0)
    book = book_of(rng, [2, 2])
    taken = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    x = rng.normal(size=(3, 3)).astype(np.float32)
    placed = Shelf(book, [0, 0], [2, 2], NONE, taken).place(x)
    # One token gives every prefix room for one more; the third id needs another.
    assert placed.codes[:, 1].tolist() == [2, 2, 3]
    assert len(set(map(tuple, placed.codes.tolist()))) == 3
    assert len(placed.centroids) == 2
    nearest = int(book.assign(x[:1])[0, 0])
    assert placed.codes[0, 0] == nearest
    assert np.allclose(placed.centroids[0], x[0] - book.centroids[0][nearest], atol=1e-6)
    assert not placed.nearest.any()


def test_users_apart_have_their_own_codes_and_share_what_is_appended() -> None:
    rng = np.random.default_rng(0)
    book = book_of(rng, [2, 2])
    taken = np.array([[3, 5], [3, 6], [4, 5], [4, 6]], np.int32)  # behind three and five codes of items
    added = rng.normal(size=(1, 3)).astype(np.float32)
    placed = Shelf(book, [3, 5], [5, 8], added, taken).place(rng.normal(size=(2, 3)).astype(np.float32))
    assert placed.codes[:, 1].tolist() == [7, 7]
    assert sorted(placed.codes[:, 0].tolist()) == [3, 4]


def test_a_cap_holds_while_it_can() -> None:
    rng = np.random.default_rng(0)
    book = book_of(rng, [2, 4])
    x = np.tile(book.centroids[0][0] + book.centroids[1][0], (8, 1))
    placed = Shelf(book, [0, 0], [2, 4], NONE, np.zeros((0, 2), np.int32), 3).place(x)
    assert np.bincount(placed.codes[:6, 0]).tolist() == [3, 3]
    assert len(set(map(tuple, placed.codes.tolist()))) == 8


def test_unequal_depths_cannot_grow_beyond_their_room() -> None:
    book = book_of(np.random.default_rng(0), [2])
    shelf = Shelf(book, [0], [2, 2], NONE, np.array([[0], [1]], np.int32), whole=False)
    with pytest.raises(ArgumentError, match="unequally many tokens"):
        shelf.place(np.ones((1, 3), np.float32))


def test_counters_go_on() -> None:
    taken = np.array([[0, 0], [0, 1], [2, 0]], np.int32)
    assert count_on(np.array([[0], [1], [0], [2], [1]], np.int32), taken).tolist() == [2, 0, 3, 1, 1]
