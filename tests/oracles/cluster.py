"""Slow, obvious twins of `rust/cluster` and `rust/codes`, in float64 NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tests.oracles.rng import Rng

SEEDING, SAMPLING = 1, 2


def squared_distances(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    return ((x[:, None, :] - c[None, :, :]) ** 2).sum(-1)


def seed_centres(x: np.ndarray, k: int, seed: int, unit: int, *, spherical: bool = False) -> np.ndarray:
    """Greedy k-means++ with the draws of the native routine; of a spherical run among the rows with a direction."""
    if spherical and x.any():
        x = x[x.any(axis=1)]
    rng = Rng(seed, SEEDING, unit)
    trials = 2 + int(math.log(k))
    chosen = [rng.below(len(x))]
    nearest = squared_distances(x, x[chosen])[:, 0]
    while len(chosen) < k and nearest.sum() > 0:
        sums = np.cumsum(nearest)
        draws = [int(np.searchsorted(sums, rng.uniform() * sums[-1], side="right")) for _ in range(trials)]
        draws = [min(d, len(x) - 1) for d in draws][: len(x)]
        lowered = [np.minimum(nearest, squared_distances(x, x[[d]])[:, 0]) for d in draws]
        best = int(np.argmin([low.sum() for low in lowered]))
        chosen.append(draws[best])
        nearest = lowered[best]
    return x[chosen].copy()


def sorted_sample(n: int, wanted: int, seed: int, unit: int) -> list[int]:
    rng = Rng(seed, SAMPLING, unit)
    picked: list[int] = []
    for i in range(n):
        missing = wanted - len(picked)
        if missing == n - i or rng.uniform() * (n - i) < missing:
            picked.append(i)
        if len(picked) == wanted:
            break
    return picked


def lloyd(x: np.ndarray, centres: np.ndarray, max_iterations: int, *, spherical: bool = False):
    """Returns centroids, labels, updates made."""
    centres = normalise(centres) if spherical else centres.copy()
    labels = np.full(len(x), -1)
    iterations = 0
    for step in range(max_iterations + 1):
        found = (-(x @ centres.T) if spherical else squared_distances(x, centres)).argmin(1)
        changed = (found != labels).any()
        labels = found
        if not changed or step == max_iterations:
            break
        repair(x, centres, labels, spherical=spherical)
        for k in range(len(centres)):
            members = x[labels == k]
            if len(members):
                total = members.sum(0)
                scale = np.linalg.norm(total) if spherical else len(members)
                if scale > 0:
                    centres[k] = total / scale
        iterations += 1
    if spherical:
        for k in range(len(centres)):
            members = x[labels == k]
            if len(members) and (members @ centres[k]).sum() > 0:
                centres[k] = centres[k] * (members @ centres[k]).mean()
    return centres, labels, iterations


def repair(x: np.ndarray, centres: np.ndarray, labels: np.ndarray, *, spherical: bool) -> None:
    counts = np.bincount(labels, minlength=len(centres))
    distance = ((x - centres[labels]) ** 2).sum(1)
    if spherical:
        distance[~x.any(axis=1)] = 0
    order = iter(sorted(np.flatnonzero(distance > 0), key=lambda i: (-distance[i], i)))
    for k in np.flatnonzero(counts == 0):
        row = next((i for i in order if counts[labels[i]] > 1), None)
        if row is None:
            return
        counts[labels[row]] -= 1
        counts[k] = 1
        labels[row] = k


def normalise(x: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def prepare(x: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    if metric == "cosine":
        return normalise(x), np.zeros(x.shape[1])
    return x - x.mean(0), x.mean(0)


def residual(x: np.ndarray, levels: list[int], metric: str, seed: int, max_iterations: int):
    """Returns centroids per level and codes."""
    left, origin = prepare(x, metric)
    centroids, codes = [], []
    for level, k in enumerate(levels):
        spherical = level == 0 and metric == "cosine"
        start = seed_centres(left, k, seed, level, spherical=spherical)
        centres, labels, _ = lloyd(left, start, max_iterations, spherical=spherical)
        left = left - centres[labels]
        pad = np.repeat(centres[:1], k - len(centres), axis=0)
        centroids.append(np.concatenate([centres, pad]))
        codes.append(labels)
    centroids[0] = centroids[0] + origin
    return centroids, np.stack(codes, 1)


def tree_partition(x: np.ndarray, levels: list[int], seed: int, max_iterations: int) -> list[tuple[int, ...]]:
    """Path of every row by each node's own labels (Euclidean)."""
    left, _ = prepare(x, "euclidean")
    order, nodes = np.arange(len(x)), [(0, len(x))]
    paths: list[tuple[int, ...]] = [()] * len(x)
    for level, k in enumerate(levels):
        children = []
        for begin, end in nodes:
            rows = order[begin:end]
            unit = (level << 40) | begin
            centres, labels, _ = lloyd(left[rows], seed_centres(left[rows], k, seed, unit), max_iterations)
            left[rows] -= centres[labels]
            for row, label in zip(rows, labels, strict=True):
                paths[row] = (*paths[row], int(label))
            order[begin:end] = rows[np.argsort(labels, kind="stable")]
            edges = begin + np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=len(centres)))])
            children += [(int(a), int(b)) for a, b in itertools.pairwise(edges) if a < b]
        nodes = children
    return paths


def greedy_codes(x: np.ndarray, centroids: list[np.ndarray], metric: str) -> np.ndarray:
    left = normalise(x.astype(np.float64)) if metric == "cosine" else x.astype(np.float64)
    codes = []
    for level, centres in enumerate(centroids):
        if level == 0 and metric == "cosine":
            labels = (-(left @ normalise(centres.astype(np.float64)).T)).argmin(1)
        else:
            labels = squared_distances(left, centres).argmin(1)
        left = left - centres[labels]
        codes.append(labels)
    return np.stack(codes, 1)


def limit(x: np.ndarray, words: np.ndarray, capacity: int) -> np.ndarray:
    """Nearest codewords, then one move at a time, the cheapest that leaves an overfull codeword for one with room."""
    distance = squared_distances(x, words)
    labels = distance.argmin(1)
    while True:
        count = np.bincount(labels, minlength=len(words))
        if count.max() <= capacity:
            return labels
        cost = distance - distance[np.arange(len(x)), labels][:, None]
        cost[count[labels] <= capacity] = np.inf
        cost[:, count >= capacity] = np.inf
        row, to = np.unravel_index(cost.argmin(), cost.shape)
        labels[row] = to


def nearest_free_codes(x: np.ndarray, centroids: list[np.ndarray]) -> np.ndarray:
    """Unique codes of rows of one kind, by `limit` below every prefix; deeper levels give the capacity."""
    codes = np.zeros((len(x), len(centroids)), dtype=np.int64)
    left = x.astype(np.float64)
    for level, words in enumerate(centroids):
        capacity = int(np.prod([len(deeper) for deeper in centroids[level + 1 :]]))
        for prefix in {tuple(row) for row in codes[:, :level].tolist()}:
            members = np.flatnonzero((codes[:, :level] == prefix).all(1))
            codes[members, level] = limit(left[members], words, capacity)
        left -= words[codes[:, level]]
    return codes


class DictTrie:
    """Prefix tree of nested dicts; the item that ends at a node is under the key None."""

    def __init__(self, codes: np.ndarray) -> None:
        self.root: dict = {}
        for row, tuple_ in enumerate(codes.tolist()):
            node = self.root
            for code in tuple_:
                if code >= 0:
                    node = node.setdefault(code, {})
            node[None] = row

    def walk(self):
        """Breadth-first (prefix, node) with children in ascending code."""
        queue = [((), self.root)]
        for prefix, node in queue:
            yield prefix, node
            queue += [((*prefix, code), node[code]) for code in sorted(k for k in node if k is not None)]

    def items(self, node: dict) -> list[int]:
        own = [node[None]] if None in node else []
        return own + [i for code in sorted(k for k in node if k is not None) for i in self.items(node[code])]
