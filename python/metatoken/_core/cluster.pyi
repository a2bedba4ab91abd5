from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit", "kernels", "linear_assignment", "peak_gflops"]

def fit(
    x: NDArray[np.float32],
    levels: list[int],
    method_name: str,
    metric_name: str,
    init_name: str,
    seed: int,
    max_iterations: int,
    sample: int | None,
    max_cluster_size: int | None,
    threads: int | None,
    kernel: str | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[
    list[NDArray[np.float32]],
    NDArray[np.int32],
    list[float],
    list[int],
    list[int],
    int,
    tuple[int, bool] | None,
    str,
]: ...
def linear_assignment(cost: NDArray[np.float64]) -> NDArray[np.int32]: ...
def kernels() -> list[str]: ...
def peak_gflops(threads: int, kernel: str | None) -> float: ...
