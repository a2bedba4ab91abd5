import numpy as np
from numpy.typing import NDArray

__all__ = ["add_below", "below", "catalogue"]

def catalogue(
    states: NDArray[np.float32],
    vectors: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    weights: NDArray[np.float32] | None,
    *,
    threads: int,
    kernel: str | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """`log sum_j exp(s_r . v_j + b_j)` `[P]` of states `[P, d]`, vectors `[n, d]` and biases `[n]`; with weights `[P]`
    the gradients of their weighted sum in states, vectors and biases, else None."""

def below(
    states: NDArray[np.float32],
    vectors: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    *,
    threads: int,
    kernel: str | None = None,
) -> NDArray[np.float32]:
    """The same over the items `begin[r] <= j < end[r]`; minus infinity where there are none."""

def add_below(
    states: NDArray[np.float32],
    vectors: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    below: NDArray[np.float32],
    weights: NDArray[np.float32],
    to_states: NDArray[np.float32],
    to_vectors: NDArray[np.float32],
    to_bias: NDArray[np.float32] | None,
    *,
    threads: int,
    kernel: str | None = None,
) -> None:
    """Adds the gradients of the weighted sum of what `below` found to the last three arrays."""
