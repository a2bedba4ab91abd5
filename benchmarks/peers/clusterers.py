"""k-means and nearest centroids by other libraries, each asked for the same work: same data, updates and threads.

Every routine takes what it needs and returns centroids or labels; nothing here is timed or compared.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Labels = NDArray[Any]
Clustered = tuple[Rows, Labels]


class Clock:
    """Wall and processor seconds of the blocks that it encloses."""

    def __init__(self) -> None:
        self.seconds, self.cpu = 0.0, 0.0

    def __enter__(self) -> Self:
        self.began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self.began[0]
        self.cpu += time.process_time() - self.began[1]


def versions() -> dict[str, str]:
    """Installed versions of the peers."""
    return {name: version(name) for name in ("faiss-cpu", "scikit-learn", "superkmeans", "numpy")}


def limit_threads(threads: int) -> None:
    """Sets the threads of faiss and of every BLAS and OpenMP pool in the process, for good."""
    import faiss
    import sklearn.cluster  # noqa: F401 - loads the pools that are limited
    from threadpoolctl import threadpool_limits

    faiss.omp_set_num_threads(threads)
    threadpool_limits(threads)


def sklearn_kmeans(x: Rows, k: int, iterations: int, seed: int) -> Clustered:
    """Lloyd from greedy k-means++ (its default) on all rows, tolerance 0."""
    from sklearn.cluster import KMeans

    model = KMeans(k, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd", random_state=seed).fit(x)
    return model.cluster_centers_, model.labels_


def faiss_kmeans(x: Rows, k: int, iterations: int, seed: int) -> Clustered:
    """Its loop from random rows (its default) on all rows, then the labels by the index that it trained."""
    return _faiss(x, k, iterations, seed, max(256, math.ceil(len(x) / k)))


def faiss_sampled(x: Rows, k: int, iterations: int, seed: int) -> Clustered:
    """Its default mode, which trains on 256 rows per centroid; no labels."""
    centroids, _ = _faiss(x, k, iterations, seed, 256, labels=False)
    return centroids, np.empty(0, np.int64)


def faiss_sampled_labels(x: Rows, k: int, iterations: int, seed: int) -> Clustered:
    """Its default mode, then the labels of all rows, which is what a fit of ours returns."""
    return _faiss(x, k, iterations, seed, 256)


def _faiss(x: Rows, k: int, iterations: int, seed: int, most: int, *, labels: bool = True) -> Clustered:
    import faiss

    model = faiss.Kmeans(
        x.shape[1], k, niter=iterations, seed=seed + 1, max_points_per_centroid=most, min_points_per_centroid=1
    )
    model.train(x)
    found = model.index.search(x, 1)[1][:, 0] if labels else np.empty(0, np.int64)
    return model.centroids, found


def superkmeans_kmeans(x: Rows, k: int, iterations: int, seed: int, threads: int) -> Clustered:
    """Its flat mode on all rows without early termination, then its exact labels."""
    from superkmeans import SuperKMeans

    model = SuperKMeans(
        k,
        x.shape[1],
        hierarchical=False,
        iters=iterations,
        sampling_fraction=1.0,
        max_points_per_cluster=len(x),
        n_threads=threads,
        seed=seed,
        tol=0.0,
        early_termination=False,
    )
    centroids = model.train(x)
    return centroids, model.assign(x, centroids)


def tree(
    kmeans: Callable[..., Clustered], x: Rows, levels: list[int], iterations: int, seed: int
) -> tuple[Clock, float]:
    """Each node clustered by the peer, its rows copied together; time, and the inertia of the leaves.

    A node with no more rows than tokens is left as it is: each row is its own centroid. The inertia is added up in
    exact differences and outside of the time.
    """
    clock, total, nodes = Clock(), 0.0, [x]
    for level, k in enumerate(levels):
        last, children = level + 1 == len(levels), []
        for node in nodes:
            if len(node) <= k:
                continue
            with clock:
                centroids, labels = kmeans(node, k, iterations, seed)
                if not last:
                    bounds = np.searchsorted(np.sort(labels), np.arange(k + 1))
                    ordered = node[np.argsort(labels, kind="stable")]
                    children += [ordered[a:b] for a, b in itertools.pairwise(bounds) if a < b]
            if last:
                total += inertia(node, centroids, labels)
        nodes = children
    return clock, total


def inertia(x: Rows, centroids: Rows, labels: Labels) -> float:
    """Sum of squared distances to the centroid of the label."""
    total = 0.0
    for begin in range(0, len(x), 50_000):
        part = slice(begin, begin + 50_000)
        total += float(((x[part] - centroids[labels[part]]) ** 2).sum(dtype=np.float64))
    return total


def sklearn_predictor(centroids: Rows) -> Callable[[Rows], Labels]:
    """`KMeans.predict` of a model with these centroids."""
    from sklearn.cluster import KMeans

    model = KMeans(len(centroids), init=centroids, n_init=1, max_iter=1).fit(centroids)
    model.cluster_centers_ = centroids
    return model.predict


def faiss_predictor(centroids: Rows, metric: str) -> Callable[[Rows], Labels]:
    """The nearest one in an `IndexFlatL2` or `IndexFlatIP`."""
    import faiss

    index = faiss.IndexFlatIP(centroids.shape[1]) if metric == "cosine" else faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    return lambda x: index.search(x, 1)[1][:, 0]


def superkmeans_predictor(centroids: Rows, threads: int) -> Callable[[Rows], Labels]:
    """Its exact assignment."""
    from superkmeans import SuperKMeans

    model = SuperKMeans(len(centroids), centroids.shape[1], hierarchical=False, n_threads=threads)
    return lambda x: model.assign(x, centroids)
