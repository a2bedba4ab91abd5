import numpy as np
from numpy.typing import NDArray

__all__ = ["best"]

def best(
    scores: NDArray[np.float32],
    offsets: NDArray[np.int64],
    removed: NDArray[np.int32],
    k: int,
    *,
    tolerance: float | None = None,
    share: float | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Items `[rows, width]` of scores `[rows, n]` that reach the k-th best of their row, best first, and their scores.

    Behind the end of a row stand -1 and minus infinity. Scores that are lower than the k-th best by no more than
    `tolerance`, or that share of it, are there, too; with neither, a row has k items, the lowest first among equals.
    Items of `removed` between the row's two `offsets`, and scores of minus infinity, are left out.
    """
