"""Twin of `rust/graph`: typed adjacency as dicts of lists, one walk at a time, and exact transition probabilities."""

from __future__ import annotations

import re
from math import floor

from tests.oracles.rng import MASK, Rng

Steps = dict[int, list[tuple[int, float]]]
Adjacency = dict[tuple[str, str, str], Steps]
PHASE = 0x9A5E
BACK = {"-": "-", ">": "<", "<": ">"}


class SlowGraph:
    """Node ids as in the fast graph: types one after the other in the order given.

    Edges are (row, row) or (row, row, weight); of a type to itself they are steps in time.
    """

    def __init__(self, counts: dict[str, int], edges: dict[tuple[str, str], list[tuple]]) -> None:
        self.counts = counts
        self.first: dict[str, int] = {}
        total = 0
        for name, count in counts.items():
            self.first[name] = total
            total += count
        self.n_nodes = total
        self.weighted: dict[tuple[str, str, str], bool] = {}
        self.adjacency: Adjacency = {}
        for (a, b), given in edges.items():
            link = ">" if a == b else "-"
            weighted = any(len(edge) == 3 for edge in given)
            pairs = [(x + self.first[a], y + self.first[b], *w) for x, y, *w in given]
            for key, turned in (((a, b, link), pairs), ((b, a, BACK[link]), [(y, x, *w) for x, y, *w in pairs])):
                self.adjacency[key] = self._neighbours(key[0], turned, weighted)
                self.weighted[key] = weighted

    def _neighbours(self, source: str, pairs: list[tuple], weighted: bool) -> Steps:
        first = self.first[source]
        found: Steps = {first + row: [] for row in range(self.counts[source])}
        for node, target, *weight in sorted(pairs):
            steps = found[node]
            if weighted and steps and steps[-1][0] == target:
                steps[-1] = (target, steps[-1][1] + weight[0])
            else:
                steps.append((target, weight[0] if weighted else 1.0))
        return found

    def hops(self, meta_path: str) -> list[tuple[str, str, str]]:
        """(type, next type, link) of each step."""
        path = meta_path.split(" ", maxsplit=1)[0]
        types, links = re.split("[-<>]", path), re.findall("[-<>]", path)
        return [(a, b, link) for a, b, link in zip(types, types[1:], links, strict=False)]

    def starts(self, meta_path: str) -> list[int]:
        return [node for node, targets in self.adjacency[self.hops(meta_path)[0]].items() if targets]

    def probabilities(self, hop: tuple[str, str, str], node: int) -> dict[int, float]:
        """Exact chance of each next node."""
        steps = self.adjacency[hop][node]
        total = sum(weight for _, weight in steps)
        chance: dict[int, float] = {}
        for target, weight in steps:
            chance[target] = chance.get(target, 0.0) + weight / total
        return chance


def option(meta_path: str, name: str, default: float) -> float:
    found = re.search(rf"{name}=(\S+)", meta_path)
    return float(found[1]) if found else default


def path_stream(meta_path: str) -> int:
    value = 0xCBF29CE484222325
    for byte in meta_path.split(" ", maxsplit=1)[0].encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def made(meta_path: str, seed: int, start: int, index: int) -> bool:
    """Whether the walk of this index is made at all."""
    share = option(meta_path, "share", 1.0)
    phase = Rng(seed, path_stream(meta_path) ^ PHASE, start).uniform()
    return share >= 1 or floor((index + 1) * share + phase) > floor(index * share + phase)


def walk(graph: SlowGraph, meta_path: str, start: int, index: int, *, length: int, seed: int) -> tuple[list[int], Rng]:
    """One walk, and its stream as it is afterwards."""
    hops, restart = graph.hops(meta_path), option(meta_path, "restart", 0.0)
    rng = Rng(seed, path_stream(meta_path), (start << 32) | index)
    if not made(meta_path, seed, start, index):
        return [], rng
    nodes, step, fresh = [start], 0, True
    while len(nodes) < length:
        back = restart > 0 and not fresh and rng.uniform() < restart
        hop = hops[step]
        targets = graph.adjacency[hop][nodes[-1]]
        if not back and targets:
            nodes.append(draw(targets, graph.weighted[hop], rng))
            step, fresh = (step + 1) % len(hops), False
        elif restart > 0 and not fresh:
            nodes.append(start)
            step, fresh = 0, True
        else:
            break
    return nodes, rng


def draw(targets: list[tuple[int, float]], weighted: bool, rng: Rng) -> int:
    if not weighted:
        return targets[rng.below(len(targets))][0]
    sums, total = [], 0.0
    for _, weight in targets:
        total += weight
        sums.append(total)
    x = rng.uniform() * total
    return targets[min(sum(s <= x for s in sums), len(sums) - 1)][0]


def expected_visits(graph: SlowGraph, meta_paths: list[str], length: int) -> list[float]:
    """Expected visits of each node by the walks of one index, summed over meta-paths without restarts.

    The sums have the order of the fast routine: the skip-gram deals nodes by visits, where ties must be ties.
    """
    visits = [0.0] * graph.n_nodes
    for meta_path in meta_paths:
        hops = graph.hops(meta_path)
        share = dict.fromkeys(graph.adjacency[hops[0]], 0.0) | dict.fromkeys(graph.starts(meta_path), 1.0)
        for position in range(length):
            a, b, link = hops[position % len(hops)]
            forward, back = graph.adjacency[a, b, link], graph.adjacency[b, a, BACK[link]]
            for node, p in share.items():
                visits[node] += option(meta_path, "share", 1.0) * p
            outflow = {node: p / (sum(w for _, w in forward[node]) or 1.0) for node, p in share.items()}
            share = {v: sum(outflow[u] * w for u, w in neighbours) for v, neighbours in back.items()}
    return visits


def exact_visits(graph: SlowGraph, meta_path: str, length: int) -> list[float]:
    """The same for any path, every start by itself.

    The state of a walk is (step of the path, whether it has just started, node), or that it has ended.
    """
    visits = [0.0] * graph.n_nodes
    for start in graph.starts(meta_path):
        for node, count in visits_from(graph, meta_path, start, length).items():
            visits[node] += option(meta_path, "share", 1.0) * count
    return visits


def visits_from(graph: SlowGraph, meta_path: str, start: int, length: int) -> dict[int, float]:
    """Expected visits by a walk from one start."""
    hops, restart = graph.hops(meta_path), option(meta_path, "restart", 0.0)
    state = {(0, True, start): 1.0}
    visits: dict[int, float] = {}
    for _ in range(length):
        after: dict[tuple[int, bool, int], float] = {}

        def add(key: tuple[int, bool, int], p: float, after: dict = after) -> None:
            after[key] = after.get(key, 0.0) + p

        for (step, fresh, node), p in state.items():
            visits[node] = visits.get(node, 0.0) + p
            chance = graph.probabilities(hops[step], node)
            coin = 0.0 if fresh else restart
            if not chance and restart > 0 and not fresh:
                coin = 1.0
            if coin:
                add((0, True, start), p * coin)
            for target, q in chance.items():
                add(((step + 1) % len(hops), False, target), p * (1 - coin) * q)
        state = after
    return visits
