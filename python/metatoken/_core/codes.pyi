from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign", "make_unique"]

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
