"""Twin of `rust/graph`: typed adjacency as dicts of lists, one walk at a time."""

from __future__ import annotations

from tests.oracles.rng import MASK, Rng

Adjacency = dict[tuple[str, str], dict[int, list[int]]]


class SlowGraph:
    """Node ids as in the fast graph: types one after the other in the order given."""

    def __init__(self, counts: dict[str, int], edges: dict[tuple[str, str], list[tuple[int, int]]]) -> None:
        self.counts = counts
        self.first: dict[str, int] = {}
        total = 0
        for name, count in counts.items():
            self.first[name] = total
            total += count
        self.n_nodes = total
        self.adjacency: Adjacency = {}
        for (a, b), pairs in edges.items():
            self.adjacency[a, b] = self._neighbours(a, [(x, y + self.first[b]) for x, y in pairs])
            self.adjacency[b, a] = self._neighbours(b, [(y, x + self.first[a]) for x, y in pairs])

    def _neighbours(self, source: str, pairs: list[tuple[int, int]]) -> dict[int, list[int]]:
        first = self.first[source]
        found: dict[int, list[int]] = {first + row: [] for row in range(self.counts[source])}
        for row, target in pairs:
            found[first + row].append(target)
        return {node: sorted(targets) for node, targets in found.items()}

    def starts(self, meta_path: str) -> list[int]:
        types = meta_path.split("-")
        hop = self.adjacency[types[0], types[1]]
        return [node for node, targets in hop.items() if targets]


def path_stream(meta_path: str) -> int:
    value = 0xCBF29CE484222325
    for byte in meta_path.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def walk(graph: SlowGraph, meta_path: str, start: int, index: int, *, length: int, seed: int) -> tuple[list[int], Rng]:
    """One walk, and its stream as it is afterwards."""
    types = meta_path.split("-")
    period = len(types) - 1
    rng = Rng(seed, path_stream(meta_path), (start << 32) | index)
    nodes = [start]
    while len(nodes) < length:
        step = (len(nodes) - 1) % period
        targets = graph.adjacency[types[step], types[step + 1]][nodes[-1]]
        if not targets:
            break
        nodes.append(targets[rng.below(len(targets))])
    return nodes, rng


def expected_visits(graph: SlowGraph, meta_paths: list[str], length: int) -> list[float]:
    """Expected visits of each node by one walk from every start, summed over meta-paths."""
    visits = [0.0] * graph.n_nodes
    for meta_path in meta_paths:
        types = meta_path.split("-")
        share = dict.fromkeys(graph.adjacency[types[0], types[1]], 0.0) | dict.fromkeys(graph.starts(meta_path), 1.0)
        for position in range(length):
            step = position % (len(types) - 1)
            forward = graph.adjacency[types[step], types[step + 1]]
            back = graph.adjacency[types[step + 1], types[step]]
            for node, p in share.items():
                visits[node] += p
            outflow = {node: p / max(1, len(forward[node])) for node, p in share.items()}
            share = {v: sum(outflow[u] for u in neighbours) for v, neighbours in back.items()}
    return visits
