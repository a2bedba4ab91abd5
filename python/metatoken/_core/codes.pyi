from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign", "contested", "make_unique", "settle_first"]

def assign(
    x: NDArray[np.float32],
    centroids: list[NDArray[np.float32]],
    metric: str,
    threads: int | None,
    kernel: str | None,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int32]:
    """Nearest tokens of x float32 `[n, d]`, finite, level by level: int32 `[n, levels]`.

    `centroids` are float32 `[K, d]` for each level, `metric` is euclidean or cosine, as `cluster.fit` had them.
    """

def make_unique(
    x: NDArray[np.float32],
    centroids: list[NDArray[np.float32]],
    metric: str,
    nearest: NDArray[np.int32],
    first: NDArray[np.int32] | None,
    kinds: NDArray[np.int64],
    occupied: NDArray[np.int32],
    occupied_kinds: NDArray[np.int64],
    unique: str,
    max_cluster_size: int | None,
    threads: int | None,
    kernel: str | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int32], float, float, float]:
    """Codes that no two rows of a kind share; see `metatoken.tokens.codes.assign.make_unique`.

    Args:
        x: float32 `[n, d]`, finite.
        centroids: float32 `[K, d]` for each level.
        metric: euclidean or cosine.
        nearest: int32 `[n, levels]` from `assign`.
        first: int32 `[n]`, first codes that rows have by `settle_first`; None settles them here.
        kinds: int64 `[n]`.
        occupied: int32 `[m, depth]`, codes that are taken; none twice for one kind.
        occupied_kinds: int64 `[m]`.
        unique: assignment, nearest, counter, none or rank.
        max_cluster_size: Most rows of a kind with one first-level token.
        threads: See the module.
        kernel: See the module.
        progress: Called with (rows done, rows in all), over levels.

    Returns:
        Codes int32 `[n, depth]` (depth is one more than the levels with counter), the share of rows that kept their
        nearest codes, and the relative quantisation errors of the nearest codes and of these.
    """

def contested(
    counts: NDArray[np.int64],
    levels: list[int],
    unique: str,
    max_cluster_size: int | None,
) -> NDArray[np.int32]:
    """First codes whose rows have to come together so that no first code has more rows than it may.

    Args:
        counts: int64 `[K]`, how many rows are nearest to each codeword of the first level.
        levels: Codewords of each level.
        unique: assignment, nearest, counter, none or rank.
        max_cluster_size: Most rows with one first-level token.

    Returns:
        int32, ascending: none where all fit, all that have rows where the case is small, else those with too many.
    """

def settle_first(
    x: NDArray[np.float32],
    centroids: list[NDArray[np.float32]],
    metric: str,
    nearest: NDArray[np.int32],
    counts: NDArray[np.int64],
    unique: str,
    max_cluster_size: int | None,
    threads: int | None,
    kernel: str | None,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int32]:
    """First codes of the rows of contested codes, as `make_unique` would give them among all rows.

    Args:
        x: float32 `[n, d]`, the rows whose nearest first code is one that `contested` names, in their order.
        centroids: float32 `[K, d]` for each level.
        metric: euclidean or cosine.
        nearest: int32 `[n]`, their nearest first codes.
        counts: As `contested` has them, of all rows.
        unique: assignment, nearest or rank.
        max_cluster_size: Most rows with one first-level token.
        threads: See the module.
        kernel: See the module.
        progress: Called with (rows done, rows in all).

    Returns:
        int32 `[n]`.
    """
