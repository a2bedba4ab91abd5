from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign", "make_unique"]

def assign(
    x: NDArray[np.float32],
    centroids: list[NDArray[np.float32]],
    metric_name: str,
    threads: int | None,
    kernel: str | None,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int32]: ...
def make_unique(
    x: NDArray[np.float32],
    centroids: list[NDArray[np.float32]],
    metric_name: str,
    nearest: NDArray[np.int32],
    kinds: NDArray[np.int64],
    occupied: NDArray[np.int32],
    occupied_kinds: NDArray[np.int64],
    unique_name: str,
    max_cluster_size: int | None,
    threads: int | None,
    kernel: str | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int32], float, float, float]: ...
