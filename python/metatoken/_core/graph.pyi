from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph", "expected_visits", "walks"]

@final
class Graph:
    """Typed nodes and edges; see `metatoken.tokens.graph.walks.Graph`. Immutable.

    Node ids count all nodes, type after type; rows count those of one type.
    """

    def __new__(
        cls,
        types: Sequence[tuple[str, int]],
        edges: Sequence[tuple[str, str, NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None]],
    ) -> Graph:
        """Takes the nodes and edges.

        Args:
            types: Name and number of nodes of each type.
            edges: Two types, the rows of each edge in them int32 `[edges]`, and weights float64 `[edges]` above 0 or
                None. From a type to itself: steps in time from the first row to the second.
        """

    def n_edges(self, source: str, target: str) -> int:
        """Edges from one type to another (from a type to itself: steps in time), 0 where they are not linked."""

    def n_bytes(self) -> int:
        """Bytes that the adjacency takes."""

    def check(self, meta_path: str) -> str:
        """The meta-path as the core understands it; `ArgumentError` where the graph cannot walk it."""

def walks(
    graph: Graph,
    meta_path: str,
    walks_per_node: int,
    walk_length: int,
    seed: int,
    threads: int | None,
    callback: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Walks int32 `[n, walk_length]` in node ids, padded with -1, and the start nodes without edges int32 `[any]`."""

def expected_visits(graph: Graph, meta_path: str, walk_length: int) -> NDArray[np.float64]:
    """How often walks of one index are expected at each node, float64 `[n_nodes]`."""
