from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph", "expected_visits", "walks"]

@final
class Graph:
    def __new__(
        cls,
        types: Sequence[tuple[str, int]],
        edges: Sequence[tuple[str, str, NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None]],
    ) -> Graph: ...
    def n_edges(self, source: str, target: str) -> int: ...
    def n_bytes(self) -> int: ...
    def check(self, meta_path: str) -> str: ...

def walks(
    graph: Graph,
    meta_path: str,
    walks_per_node: int,
    walk_length: int,
    seed: int,
    threads: int | None,
    callback: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]: ...
def expected_visits(graph: Graph, meta_path: str, walk_length: int) -> NDArray[np.float64]: ...
