"""Clustering against scikit-learn and faiss: same data, same updates, same threads, in the same run.

    python benchmarks/clustering.py --rows 1000000 --threads 2 --output clustering.json

Prints a Markdown table. A ratio is the peer's time over ours (above 1: we are faster); inertia is relative to ours
(below 1: the peer's is lower). Every routine sees every row (no subsampling: faiss is told not to).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def make_rows(n: int, dim: int, seed: int = 0) -> Rows:
    """Nested clusters with noise, so that every level of a tree has something to find."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    for size, scale in ((64, 2.0), (4096, 1.0)):
        centres = (rng.normal(size=(size, dim)) * scale).astype(np.float32)
        x += centres[rng.integers(size, size=n)]
    return x


def inertia(x: Rows, centroids: Rows) -> float:
    """Sum of squared distances to the nearest centroid."""
    from sklearn.metrics import pairwise_distances_argmin

    labels = pairwise_distances_argmin(x, centroids)
    return float(((x - centroids[labels]) ** 2).sum(dtype=np.float64))


def ours_flat(x: Rows, k: int, iterations: int, threads: int) -> Rows:
    from metatoken.tokens.clustering import fit

    return fit(x, [k], max_iterations=iterations, threads=threads).centroids[0]


def sklearn_flat(x: Rows, k: int, iterations: int, threads: int) -> Rows:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        model = KMeans(k, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd", random_state=0).fit(x)
    return np.asarray(model.cluster_centers_, dtype=np.float32)


def faiss_flat(x: Rows, k: int, iterations: int, threads: int) -> Rows:
    import faiss

    faiss.omp_set_num_threads(threads)
    most = max(256, -(-len(x) // k))
    model = faiss.Kmeans(
        x.shape[1], k, niter=iterations, seed=1, max_points_per_centroid=most, min_points_per_centroid=1
    )
    model.train(x)
    return np.asarray(model.centroids)


def peer_tree(flat: Callable[..., Rows], x: Rows, levels: list[int], iterations: int, threads: int) -> float:
    """Each node clustered by the peer, rows gathered per node; returns the inertia of the last level."""
    from sklearn.metrics import pairwise_distances_argmin

    nodes, total = [x], 0.0
    for level, k in enumerate(levels):
        children = []
        for node in nodes:
            if len(node) <= k:  # every row is its own centroid
                continue
            centroids = flat(node, k, iterations, threads)
            labels = pairwise_distances_argmin(node, centroids)
            if level + 1 == len(levels):
                total += float(((node - centroids[labels]) ** 2).sum(dtype=np.float64))
            else:
                children += [node[labels == c] for c in range(k)]
        nodes = [child for child in children if len(child)]
    return total


def ours_tree(x: Rows, levels: list[int], iterations: int, threads: int) -> float:
    from metatoken.tokens.clustering import fit

    return fit(x, levels, method="tree", max_iterations=iterations, threads=threads).report.inertia[-1]


def ours_assign(x: Rows, centroids: Rows, threads: int) -> NDArray[np.int32]:
    from metatoken._core import codes

    return codes.assign(x, [centroids], "euclidean", threads, None, None)[:, 0]


def sklearn_assign(x: Rows, centroids: Rows, threads: int) -> NDArray[np.int32]:
    from sklearn.metrics import pairwise_distances_argmin
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        return np.asarray(pairwise_distances_argmin(x, centroids))


def faiss_assign(x: Rows, centroids: Rows, threads: int) -> NDArray[np.int32]:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(centroids)
    return np.asarray(index.search(x, 1)[1][:, 0])


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least wall time of `repeats` runs, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    x = make_rows(args.rows, args.dim)
    rows: list[dict[str, Any]] = []
    flat = {"metatoken": ours_flat, "scikit-learn": sklearn_flat, "faiss": faiss_flat}
    for name, run in flat.items():
        run(x[: 4 * args.k], args.k, 1, args.threads)  # imports and thread pools
        seconds, centroids = timed(lambda run=run: run(x, args.k, args.iterations, args.threads), args.repeats)
        rows.append({"task": f"flat K={args.k}", "who": name, "seconds": seconds, "inertia": inertia(x, centroids)})
    reference = centroids
    assigners = {"metatoken": ours_assign, "scikit-learn": sklearn_assign, "faiss": faiss_assign}
    for name, assign in assigners.items():
        seconds, labels = timed(lambda assign=assign: assign(x, reference, args.threads), args.repeats)
        error = float(((x - reference[labels]) ** 2).sum(dtype=np.float64))
        rows.append({"task": f"assign K={args.k}", "who": name, "seconds": seconds, "inertia": error})
    if args.tree:
        seconds, error = timed(lambda: ours_tree(x, args.tree, args.iterations, args.threads), args.repeats)
        rows.append({"task": f"tree {args.tree}", "who": "metatoken", "seconds": seconds, "inertia": error})
        for name in ("scikit-learn", "faiss"):
            run = flat[name]
            seconds, error = timed(
                lambda run=run: peer_tree(run, x, args.tree, args.iterations, args.threads), args.repeats
            )
            rows.append({"task": f"tree {args.tree}", "who": name, "seconds": seconds, "inertia": error})
    base = {row["task"]: row for row in rows if row["who"] == "metatoken"}
    for row in rows:
        row["ratio"] = row["seconds"] / base[row["task"]]["seconds"]
        row["relative_inertia"] = row["inertia"] / base[row["task"]]["inertia"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--k", type=int, default=256)
    parser.add_argument("--tree", type=int, nargs="*", default=[64, 64, 64])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows = measure(args)
    from metatoken._core import cluster

    kernel = os.environ.get("METATOKEN_KERNEL") or cluster.kernels()[-1]
    print(f"{args.rows} x {args.dim}, {args.iterations} updates, {args.threads} threads, kernel {kernel}\n")
    print("| task | who | seconds | ratio to ours | inertia / ours |\n|---|---|---|---|---|")
    for row in rows:
        cells = f"{row['seconds']:.2f} | {row['ratio']:.2f} | {row['relative_inertia']:.4f}"
        print(f"| {row['task']} | {row['who']} | {cells} |")
    if args.output:
        settings = {k: v for k, v in vars(args).items() if k != "output"}
        report = {"settings": settings, "kernel": kernel, "machine": platform.processor(), "rows": rows}
        args.output.write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
