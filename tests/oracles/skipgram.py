"""Twin of `rust/skipgram`: the same blocks, groups, negatives and order, with the step written out in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from tests.oracles.rng import Rng
from tests.oracles.walks import SlowGraph, expected_visits, walk

BLOCK_STREAM, ORDER_STREAM, INIT_STREAM, NEGATIVE_STREAM = 0xB10C, 0x0DE2, 0x1417, 0x4E46
MOST_PAIRS, SHARE = 10, 2
Pair = tuple[int, int]


def sgns_step(centre: NDArray, contexts: NDArray, found: list[int], negatives: list[int], k: int, rate: float) -> None:
    """Follow the gradient of one group in place: contexts that were found, and negatives that stand for k a pair."""
    targets = found + negatives
    labels = np.array([1.0] * len(found) + [0.0] * len(negatives))
    counts = [1.0] * len(found) + [k / len(negatives) * sum(n != context for context in found) for n in negatives]
    g = rate * np.array(counts) * (labels - 1 / (1 + np.exp(-contexts[targets] @ centre)))
    before = centre.copy()
    for weight, target in zip(g, targets, strict=True):
        centre += weight * contexts[target]
        contexts[target] += weight * before


def shuffle(values: list, rng: Rng) -> None:
    for last in range(len(values) - 1, 0, -1):
        other = rng.below(last + 1)
        values[last], values[other] = values[other], values[last]


class Alias:
    """Vose's method with the order of work of the fast table, so that both draw the same outcomes."""

    def __init__(self, weights: list[float]) -> None:
        n = len(weights)
        scale = n / sum(weights)
        scaled = [w * scale for w in weights]
        self.keep, self.other = [2**32 - 1] * n, list(range(n))
        small = [k for k in range(n) if scaled[k] < 1]
        large = [k for k in range(n) if scaled[k] >= 1]
        while small and large:
            few, many = small.pop(), large[-1]
            self.keep[few], self.other[few] = int(scaled[few] * 2**32), many
            scaled[many] -= 1 - scaled[few]
            if scaled[many] < 1:
                small.append(large.pop())

    def draw(self, rng: Rng) -> int:
        product = rng.next_u64() * len(self.keep)
        place, fraction = product >> 64, (product >> 32) & (2**32 - 1)
        return place if fraction < self.keep[place] else self.other[place]


@dataclass(frozen=True)
class Settings:
    dim: int
    window: int
    negatives: int
    walks_per_node: int
    walk_length: int
    epochs: int
    seed: int
    learning_rate: float
    min_learning_rate: float
    blocks: int
    dynamic_window: bool = True
    subsample: float = 0.0


def kept(nodes: list[int], visits: list[float], threshold: float, rng: Rng) -> list[int]:
    """The walk after subsampling by word2vec's rule."""
    ratios = [threshold * sum(visits) / visits[node] for node in nodes]
    chances = [sqrt(ratio) + ratio for ratio in ratios]
    return [node for node, chance in zip(nodes, chances, strict=True) if chance >= 1 or rng.uniform() < chance]


def pairs_of(nodes: list[int], window: int, dynamic: bool, rng: Rng) -> list[Pair]:
    pairs = []
    for centre, node in enumerate(nodes):
        reach = 1 + rng.below(window) if dynamic else window
        around = [k for k in range(max(0, centre - reach), min(len(nodes), centre + reach + 1)) if k != centre]
        pairs += [(node, nodes[k]) for k in around]
    return pairs


def groups_of(pairs: list[Pair], rate: float, negatives: int, rows: int) -> list[list[Pair]]:
    """Runs of one centre, short where rates are high or rows few."""
    most = max(1, min(MOST_PAIRS, rows // 8, int(3 / (rate * (1 + negatives)))))
    groups: list[list[Pair]] = []
    for pair in pairs:
        if not groups or groups[-1][0][0] != pair[0] or len(groups[-1]) == most:
            groups.append([])
        groups[-1].append(pair)
    return groups


def split(visits: list[float], count: int, seed: int) -> list[list[int]]:
    order = [node for node, v in enumerate(visits) if v > 0]
    shuffle(order, Rng(seed, BLOCK_STREAM, 0))
    order.sort(key=lambda node: -visits[node])
    blocks: list[list[int]] = [[] for _ in range(min(count, max(1, len(order))))]
    for rank, node in enumerate(order):
        row, column = divmod(rank, len(blocks))
        blocks[column if row % 2 == 0 else len(blocks) - 1 - column].append(node)
    return blocks


def fit(graph: SlowGraph, meta_paths: list[str], s: Settings) -> NDArray[np.float64]:
    """Vectors `[n_nodes, dim]`, group by group."""
    visits = expected_visits(graph, meta_paths, s.walk_length)
    blocks = split(visits, s.blocks, s.seed)
    tables = [Alias([sqrt(visits[k]) * sqrt(sqrt(visits[k])) for k in block]) for block in blocks]
    block_of = {node: b for b, block in enumerate(blocks) for node in block}
    centres, contexts = np.zeros((2, graph.n_nodes, s.dim))
    for node in block_of:
        rng = Rng(s.seed, INIT_STREAM, node)
        centres[node] = [(rng.uniform() - 0.5) / s.dim for _ in range(s.dim)]
    starts = [(path, node) for path in meta_paths for node in graph.starts(path)]
    passes = s.epochs * s.walks_per_node
    row_of = {node: row for block in blocks for row, node in enumerate(block)}
    wanted = min(max(32 * len(block_of), 1 << 14), 1 << 21)
    share = max(1, wanted // (s.walk_length * (s.window + 1)))
    done = episode = 0
    for turn in range(passes):
        shuffle(starts, Rng(s.seed, ORDER_STREAM, turn))
        for part in range(ceil(len(starts) / share)):
            episode_starts = starts[part * share : (part + 1) * share]
            rate = s.learning_rate - (s.learning_rate - s.min_learning_rate) * done / (len(starts) * passes)
            pairs = []
            for path, start in episode_starts:
                nodes, rng = walk(graph, path, start, turn, length=s.walk_length, seed=s.seed)
                if s.subsample > 0:
                    nodes = kept(nodes, visits, s.subsample, rng)
                pairs += pairs_of(nodes, s.window, s.dynamic_window, rng)
            for diagonal in range(len(blocks)):
                for row in range(len(blocks)):
                    column = (row + diagonal) % len(blocks)
                    cell = [pair for pair in pairs if (block_of[pair[0]], block_of[pair[1]]) == (row, column)]
                    cell.sort(key=lambda pair: row_of[pair[0]])
                    rng = Rng(s.seed, NEGATIVE_STREAM, episode * len(blocks) ** 2 + row * len(blocks) + column)
                    for group in groups_of(cell, rate, s.negatives, len(blocks[column])):
                        draws = s.negatives * min(len(group), SHARE)
                        drawn = [blocks[column][tables[column].draw(rng)] for _ in range(draws)]
                        found = [context for _, context in group]
                        sgns_step(centres[group[0][0]], contexts, found, drawn, s.negatives, rate)
            done += len(episode_starts)
            episode += 1
    return centres
