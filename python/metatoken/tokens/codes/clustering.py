"""Hierarchical clustering of embeddings into token codes that are unique within a kind.

`fit` learns a `Codebook`, `assign` (and `assign_batches`, for streams of Arrow batches) gives rows their nearest codes,
and `encode` gives every row codes that no other row of its kind has; `make_unique` does so beside codes that are taken.
All of it works on any matrix of numbers, also in a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from metatoken._core import cluster as _cluster
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.assign import Encoding, Unique, assign, assign_batches, check_integer, encode, make_unique
from metatoken.tokens.codes.codebook import ClusterReport, Codebook, Method, Metric, Progress, Vectors
from metatoken.tokens.vectors.matrix import read_matrix

__all__ = [
    "ClusterReport",
    "Codebook",
    "Encoding",
    "Init",
    "Method",
    "Metric",
    "Progress",
    "Unique",
    "Vectors",
    "assign",
    "assign_batches",
    "auto_levels",
    "encode",
    "fit",
    "make_unique",
]

Init = Literal["k-means++", "random"]


def fit(
    x: Vectors,
    levels: Sequence[int],
    *,
    method: Method = "residual",
    metric: Metric = "euclidean",
    init: Init = "k-means++",
    seed: int = 0,
    threads: int | None = None,
    max_iterations: int = 20,
    sample: int | None = None,
    max_cluster_size: int | None = None,
    progress: Progress | None = None,
) -> Codebook:
    """Learns a codebook with `levels[l]` tokens at level l.

    Every k-means run is seeded as `init` says, then runs Lloyd's algorithm until no label changes. Results are the same
    bytes for any number of threads.

    Args:
        x: Rows `[n, d]` in any form that `matrix` reads, also a path to a .npy or .parquet file; copied to float32 as a
            whole unless it is C-contiguous float32 (in memory or mapped).
        levels: Tokens per level; for `flat+rank` exactly `[K, R]`.
        method: `residual`: k-means on what the levels before left. `tree`: k-means in every node, the children of all
            parents matched to one codebook of offsets. `flat+rank`: k-means, then rank by distance to the centroid.
        metric: `euclidean`, or `cosine`: rows scaled to length 1, spherical first level, Euclidean below.
        init: `k-means++`: greedily, on at most max(4096, 64 K) of the rows (all, if those hold too few distinct ones);
            with 1024 K rows and more, the best of eight such starts after five updates on 256 K rows. `random`:
            distinct rows at random.
        seed: Seed of every random choice, at least 0.
        threads: Threads to use; all cores if None.
        max_iterations: Most Lloyd updates per run.
        sample: Train each run that has more rows than this on that many of them (at least K), drawn without
            replacement; then one pass over all its rows moves each centroid to their mean, and another labels them.
            `residual` and `tree` then read `x` block by block and keep no copy of it.
        max_cluster_size: Most rows with one first-level token. After the first level's k-means, rows are labelled
            within the cap and centroids moved to their means in turn, at most ten times; labels are the cheapest within
            the cap where the case is small (about 2^31 steps), else found greedily, and the report says which.
        progress: Called with (rows done, rows in all), summed over levels and passes.

    Returns:
        The codebook.

    Raises:
        ArgumentError: An argument has a wrong shape or value, `x` holds NaN or infinity, the first level has more
            tokens than there are rows, a `flat+rank` cluster has more members than R, or the cap leaves too little
            room or goes with a sample.
        DataError: A file cannot be read.
    """
    rows = read_matrix(x).whole()
    if len(rows) == 0:
        raise ArgumentError("x", "expected at least one row, got none")
    check_integer("seed", seed, 0)
    check_integer("max_iterations", max_iterations, 0)
    for argument, value in (("sample", sample), ("max_cluster_size", max_cluster_size)):
        if value is not None:
            check_integer(argument, value, 1)
    centroids, codes, inertia, iterations, distinct, small_nodes, capped, kernel = _cluster.fit(
        rows, levels, method, metric, init, seed, max_iterations, sample, max_cluster_size, threads, None, progress
    )
    moved, exact = (0, None) if capped is None else capped
    report = ClusterReport(
        rows=len(rows),
        sample=sample if sample is not None and sample < len(rows) else None,
        inertia=tuple(inertia),
        iterations=tuple(iterations),
        distinct=tuple(distinct),
        small_nodes=small_nodes,
        sizes=tuple(np.bincount(codes[:, 0], minlength=int(levels[0])).tolist()),
        max_cluster_size=max_cluster_size,
        moved=moved,
        balance=None if exact is None else "exact" if exact else "greedy",
        kernel=kernel,
    )
    return Codebook(method, metric, tuple(centroids), report)


def auto_levels(counts_by_kind: Sequence[int]) -> tuple[int, ...]:
    """Level sizes that give each kind at least twice its number of ids.

    Powers of two, about eight bits a level, at least two levels, larger levels last; the first level has at most half
    as many tokens as the largest kind has ids, so that its clusters have members.

    Args:
        counts_by_kind: Number of ids of each kind, e.g. `(n_users, n_items)`.

    Returns:
        Tokens of each level.

    Raises:
        ArgumentError: There is no kind, or a count is not at least 1.
    """
    if not counts_by_kind:
        raise ArgumentError("counts_by_kind", "expected at least one count")
    for count in counts_by_kind:
        check_integer("counts_by_kind", count, 1)
    largest = int(max(counts_by_kind))
    bits = math.ceil(math.log2(2 * largest))
    depth = max(2, math.ceil(bits / 8))
    first = min(bits // depth, max(1, largest // 2).bit_length() - 1)
    rest, depth_left = bits - first, depth - 1
    shares = [(rest + place) // depth_left for place in range(depth_left)]
    return tuple(1 << share for share in (first, *shares))
