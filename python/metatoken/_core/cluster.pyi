from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit", "kernels", "linear_assignment", "peak_gflops"]

def fit(
    x: NDArray[np.float32],
    levels: Sequence[int],
    method: str,
    metric: str,
    init: str,
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
]:
    """Learns a codebook; see `metatoken.tokens.codes.clustering.fit`.

    Args:
        x: float32 `[n, d]`, finite.
        levels: Tokens of each level.
        method: residual, tree or flat+rank.
        metric: euclidean or cosine.
        init: k-means++ or random.
        seed: Seed of every random choice.
        max_iterations: Most Lloyd updates of a run.
        sample: Rows that a run is trained on where it has more.
        max_cluster_size: Most rows with one token of the first level.
        threads: See the module.
        kernel: See the module.
        progress: Called with (rows done, rows in all), over levels and passes.

    Returns:
        Centroids float32 `[levels[l], d]` of each level (deeper ones are offsets); tokens int32 `[n, levels]` of the
        rows; then for each level the sum of squared distances, the iterations, the tokens that were fitted to rows;
        nodes of a tree with fewer distinct rows than tokens; rows that the cap moved and whether that is exact, or None
        without a cap; the kernel.
    """

def linear_assignment(cost: NDArray[np.float64]) -> NDArray[np.int32]:
    """Column of each row, int32 `[n]`, at the least total of cost float64 `[n, m]`, finite, `n <= m`."""

def kernels() -> list[str]:
    """Instruction sets that this machine can run, slowest first."""

def peak_gflops(threads: int, kernel: str | None) -> float:
    """Billions of f32 operations in a second, all in registers."""
