from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["distributions"]

_Sparse: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]
"""Offsets `[rows + 1]`, columns and values of sparse rows."""

def distributions(
    steps: _Sparse, starts: _Sparse, popularity: NDArray[np.float32], second_hop: float, smoothing: float
) -> NDArray[np.float32]:
    """Where two steps lead from `starts` (`[b, n]`) along `steps` (`[n, n]`), float32 `[b, n]`.

    `g = v T + second_hop (v T) T`, and `p = (1 - smoothing) g / |g|_1 + smoothing popularity`; popularity alone where g
    is nothing.
    """
