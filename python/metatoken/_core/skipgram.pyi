from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from metatoken._core.graph import Graph

__all__ = ["alias_frequencies", "fit"]

def fit(
    graph: Graph,
    meta_paths: Sequence[str],
    *,
    dim: int,
    window: int,
    negatives: int,
    walks_per_node: int,
    walk_length: int,
    epochs: int,
    seed: int,
    learning_rate: float,
    min_learning_rate: float,
    dynamic_window: bool,
    subsample: float,
    hogwild: bool,
    blocks: int | None,
    vectors: NDArray[np.float32] | None,
    contexts: NDArray[np.float32] | None,
    threads: int | None,
    callback: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], int]:
    """Trains a vector for each node; arguments as of `metatoken.tokens.vectors.skipgram.fit`.

    `vectors` and `contexts` are float32 `[n_nodes, dim]` in node ids to begin with, or None; in a row whose first value
    is NaN, the vector begins at random and the context at zero.

    Returns:
        Vectors and contexts float32 `[n_nodes, dim]`, whether a walk visits each node bool `[n_nodes]`, and the number
        of pairs trained on. The same bytes for any number of threads unless `hogwild`.
    """

def alias_frequencies(weights: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.uint64]:
    """How often each of the outcomes is drawn from the alias table of weights float64 `[n]`: uint64 `[n]`."""
