"""Hierarchical clustering of embeddings into token codes that are unique within a kind.

`fit` learns a `Codebook`. Its `assign` (`assign_batches` for streams of Arrow batches) gives rows their nearest codes,
`encode` gives every row codes that no other row of its kind has; `make_unique` does so beside codes that are taken.
All of it works on any matrix of numbers, also in a file; `assign_files` codes files that are larger than the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from metatoken._core import cluster as _cluster
from metatoken.bounds import check_integer, check_memory, check_words
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.assign import Encoding, assign_batches, encode, make_unique
from metatoken.tokens.codes.codebook import ClusterReport, Codebook, Progress, Vectors
from metatoken.tokens.codes.sharded import Assigned, assign_dataset, assign_files
from metatoken.tokens.codes.source import VectorSource
from metatoken.tokens.settings import CLUSTERS, TokenSettings, parse_levels
from metatoken.tokens.vectors.matrix import read_matrix

__all__ = [
    "Assigned",
    "ClusterReport",
    "Codebook",
    "Encoding",
    "Progress",
    "VectorSource",
    "Vectors",
    "assign_batches",
    "assign_dataset",
    "assign_files",
    "auto_levels",
    "encode",
    "fit",
    "make_unique",
]

MANY = 1 << 20  # rows beyond which k-means is trained on a sample, unless it is told how large
A_TOKEN = 256  # rows of that sample for each token of the largest level
BITS = 11  # of a level that is chosen for a person, at most: two levels reach to two million ids, of 2,048 tokens each


def fit(
    x: Vectors,
    levels: Sequence[int],
    settings: TokenSettings | None = None,
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> Codebook:
    """Learns a codebook with `levels[l]` tokens at level l.

    docs/clustering.md describes the methods and settings. The result is the same, byte for byte, for any number of
    threads.

    Args:
        x: Rows `[n, d]` in any form that `read_matrix` takes, also a path to a .npy or .parquet file; copied to float32
            as a whole unless it is C-contiguous float32 (in memory or mapped).
        levels: Tokens per level; for `flat+rank` exactly `[K, R]`.
        settings: Ready settings, of which those of clustering count.
        seed: Seed of every random choice, at least 0.
        threads: Number of threads (`None`: all cores).
        progress: Called with (rows done, rows in all), summed over levels and passes.
        **fields: Single settings over the ready ones: `method`, `metric`, `init`, `max_iterations`, `sample` (not with
            a cap), `max_cluster_size`.

    Raises:
        ArgumentError: An argument has a wrong shape or value, `x` holds NaN or infinity, the first level has more
            tokens than there are rows, a `flat+rank` cluster has more members than R, or the cap leaves too little
            room or goes with a sample.
        DataError: A file cannot be read.
    """
    rows = read_matrix(x).whole()
    if len(rows) == 0:
        raise ArgumentError("x", "expected at least one row, got none")
    sizes = _sizes(levels)
    check_integer("seed", seed, 0)
    check_words(threads=threads)
    chosen = TokenSettings.of(settings, fields, CLUSTERS)
    check_memory("levels", sum(sizes) * rows.shape[1] * rows.itemsize)
    sample = chosen.sample
    if sample is None and chosen.max_cluster_size is None and len(rows) > MANY:  # a cap needs all rows
        sample = A_TOKEN * max(sizes)
    centroids, codes, inertia, iterations, distinct, small_nodes, capped, kernel = _cluster.fit(
        rows, sizes, chosen.method, chosen.metric, chosen.init, seed, chosen.max_iterations, sample,
        chosen.max_cluster_size, threads, None, progress,
    )  # fmt: skip
    moved, exact = capped or (0, None)
    report = ClusterReport(
        rows=len(rows),
        sample=sample if sample is not None and sample < len(rows) else None,
        inertia=tuple(inertia),
        iterations=tuple(iterations),
        distinct=tuple(distinct),
        small_nodes=small_nodes,
        sizes=tuple(np.bincount(codes[:, 0], minlength=sizes[0]).tolist()),
        max_cluster_size=chosen.max_cluster_size,
        moved=moved,
        balance=None if exact is None else "exact" if exact else "greedy",
        kernel=kernel,
    )
    return Codebook(chosen.method, chosen.metric, tuple(centroids), report)


def auto_levels(counts_by_kind: Sequence[int]) -> tuple[int, ...]:
    """Level sizes that give each kind at least twice its number of ids.

    Powers of two, at most `BITS` bits per level, at least two levels, larger levels last; the first level has at most
    half as many tokens as the largest kind has ids, so that its clusters have members. Few levels, since each one more
    is one more token to write and one more choice to learn.

    Args:
        counts_by_kind: Number of ids of each kind, e.g. `(n_users, n_items)`.

    Raises:
        ArgumentError: There is no kind, or a count is not at least 1.
    """
    if not counts_by_kind:
        raise ArgumentError("counts_by_kind", "expected at least one count")
    for count in counts_by_kind:
        check_integer("counts_by_kind", count, 1)
    largest = int(max(counts_by_kind))
    bits = math.ceil(math.log2(2 * largest))
    depth = max(2, math.ceil(bits / BITS))
    first = min(bits // depth, max(1, largest // 2).bit_length() - 1)
    rest, depth_left = bits - first, depth - 1
    shares = [(rest + place) // depth_left for place in range(depth_left)]
    return tuple(1 << share for share in (first, *shares))


def _sizes(levels: Any) -> list[int]:
    try:
        sizes = parse_levels(levels)
    except ValueError as error:
        raise ArgumentError("levels", str(error).replace('"auto" or ', "")) from error
    if sizes == "auto":
        said = "expected sizes such as [256, 64], got 'auto', which a vocabulary takes"
        raise ArgumentError("levels", f"{said}; auto_levels([len(x)]) has sizes for x")
    return list(sizes)
