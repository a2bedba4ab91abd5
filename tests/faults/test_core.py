"""The border of the native core: a panic is an exception of ours, and sizes are bounded before they are allocated."""

from __future__ import annotations

import numpy as np
import pytest

from metatoken import _core
from metatoken.errors import ArgumentError, CoreError


def fit(x: np.ndarray, levels: list[int], method: str = "residual", threads: int | None = 1) -> object:
    return _core.cluster.fit(x, levels, method, "euclidean", "k-means++", 0, 20, None, None, threads, None, None)  # type: ignore[arg-type]


def test_a_panic_is_an_exception_of_ours() -> None:
    """Values that `tokens.codes.clustering` refuses, given to the core behind its back."""
    x = (np.random.default_rng(0).normal(size=(300, 8)) * 1e20).astype(np.float32)
    with pytest.raises(CoreError, match=r"the native core failed \(.+\); .* please report it"):
        fit(x, [8, 80], "tree")


@pytest.mark.parametrize("threads", [0, -1, 1025, 1 << 40])
def test_threads_are_bounded(threads: int) -> None:
    with pytest.raises(ArgumentError, match="threads: expected 1 to 1024 or None"):
        fit(np.ones((10, 2), dtype=np.float32), [2], threads=threads)


def graph() -> _core.graph.Graph:
    users, items = np.repeat(np.arange(50, dtype=np.int32), 2), np.tile(np.arange(2, dtype=np.int32), 50)
    return _core.graph.Graph([("user", 50), ("item", 2)], [("user", "item", users, items, None)])


BEYOND = [(1, 2_000_000_000, "walk_length"), (2**31 - 1, 2, "walks_per_node")]


@pytest.mark.parametrize(("walks", "length", "named"), BEYOND)
def test_walks_beyond_the_bound(walks: int, length: int, named: str) -> None:
    with pytest.raises(ArgumentError, match=f"{named}: expected an integer of at least . and at most 1048576"):
        _core.graph.walks(graph(), "user-item-user", walks, length, 0, 1, None)


def test_walks_within_the_bounds_that_no_memory_holds() -> None:
    with pytest.raises(ArgumentError, match="needs more memory than there is"):
        _core.graph.walks(graph(), "user-item-user", 1 << 20, 1 << 20, 0, 1, None)
