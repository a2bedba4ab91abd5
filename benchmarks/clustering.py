r"""Clustering against faiss, scikit-learn and superkmeans: same data, updates and threads, in the same run.

    python benchmarks/clustering.py --output records.jsonl
    python benchmarks/clustering.py --tasks flat assign-256 --output records.jsonl   # a part; records are appended
    python benchmarks/clustering.py --once scikit-learn --output records.jsonl       # it takes half of the time
    python benchmarks/clustering.py --report records.jsonl                           # the tables alone

All of it, five seeds, takes about half an hour on two idle cores. A processor with a matrix unit or with AVX-512 shows
what one without would do; no variable reaches the AVX-512 code that superkmeans has of its own:

    METATOKEN_KERNEL=avx512 python benchmarks/clustering.py --output records.jsonl
    METATOKEN_KERNEL=avx2 OPENBLAS_CORETYPE=Haswell FAISS_SIMD_LEVEL=AVX2 \
      python benchmarks/clustering.py --output records.jsonl

Every measurement is one JSON line, written when it is made. There is a table for each kernel, with medians of the
seconds over the seeds; a ratio is the peer's time over ours of the same seed (above 1: we are faster), and so is
inertia (above 1: ours is lower), as mean and standard deviation over the seeds.
CPU seconds are those of all threads; they say more than wall time where other work shares the machine, as long as
nothing spins (OMP_WAIT_POLICY=passive).
At most 20 updates, tolerance 0, each peer's default seeding: scikit-learn greedy k-means++ on all rows, faiss and
superkmeans random rows, ours greedy k-means++ on some rows. *Of peak* counts the products of rows and centroids, as if
all were multiplied, a CPU second, as a share of the f32 peak.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peers import clusterers as peers
from peers.clusterers import Clock, Rows, inertia

Record = dict[str, Any]


def make_rows(n: int, dim: int, seed: int = 0) -> Rows:
    """Nested clusters with noise, so that every level of a tree has something to find."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim), dtype=np.float32)
    for size, scale in ((64, 2.0), (4096, 1.0)):
        centres = (rng.normal(size=(size, dim)) * scale).astype(np.float32)
        x += centres[rng.integers(size, size=n)]
    return x


def vars_of(clock: Clock) -> Record:
    return {"seconds": clock.seconds, "cpu": clock.cpu}


def ours_flat(x: Rows, k: int, args: argparse.Namespace, seed: int, sample: int | None = None) -> Record:
    from metatoken.tokens.codes.clustering import fit

    with Clock() as clock:
        book = fit(x, [k], max_iterations=args.iterations, threads=args.threads, seed=seed, sample=sample)
    record = vars_of(clock) | {"inertia": book.report.inertia[0], "updates": book.report.iterations[0]}
    if sample is None:
        record["operations"] = 2 * x.size * k * (book.report.iterations[0] + 1)
    return record


def peer_flat(kmeans: Callable[..., peers.Clustered], x: Rows, k: int, args: argparse.Namespace, seed: int) -> Record:
    with Clock() as clock:
        centroids, labels = kmeans(x, k, args.iterations, seed)
    if len(labels) == 0:
        labels = peers.faiss_predictor(centroids, "euclidean")(x)
    return vars_of(clock) | {"inertia": inertia(x, centroids, labels)}


def flat(x: Rows, args: argparse.Namespace, names: tuple[str, ...] = ("scikit-learn", "faiss", "superkmeans")) -> Runs:
    """k-means on all rows."""
    threads = args.threads
    known: dict[str, Callable[..., peers.Clustered]] = {
        "scikit-learn": peers.sklearn_kmeans,
        "faiss": peers.faiss_kmeans,
        "superkmeans": lambda x, k, iterations, seed: peers.superkmeans_kmeans(x, k, iterations, seed, threads),
    }
    yield "metatoken", lambda seed: ours_flat(x, args.k, args, seed)
    for name in names:
        yield name, lambda seed, name=name: peer_flat(known[name], x, args.k, args, seed)


def sampled(x: Rows, args: argparse.Namespace) -> Runs:
    """k-means with subsampling: faiss's default against ours on `--sample` rows, with one update on all rows."""
    yield "metatoken", lambda seed: ours_flat(x, args.k, args, seed, args.sample)
    yield "faiss, no labels", lambda seed: peer_flat(peers.faiss_sampled, x, args.k, args, seed)
    yield "faiss", lambda seed: peer_flat(peers.faiss_sampled_labels, x, args.k, args, seed)


def tree(x: Rows, args: argparse.Namespace) -> Runs:
    """Hierarchical k-means; the inertia is that of the leaves around their own centroids."""
    from metatoken.tokens.codes.clustering import fit

    def ours(seed: int, sample: int | None) -> Record:
        settings: Record = {"max_iterations": args.iterations, "threads": args.threads, "seed": seed, "sample": sample}
        with Clock() as clock:
            book = fit(x, args.tree, method="tree", **settings)
        return vars_of(clock) | {"inertia": book.report.inertia[-1]}

    def peer(kmeans: Callable[..., peers.Clustered], seed: int) -> Record:
        clock, total = peers.tree(kmeans, x, args.tree, args.iterations, seed)
        return vars_of(clock) | {"inertia": total}

    yield "metatoken", lambda seed: ours(seed, None)
    yield "metatoken, sampled top", lambda seed: ours(seed, 1024 * args.tree[0])
    yield "scikit-learn", lambda seed: peer(peers.sklearn_kmeans, seed)
    yield "faiss", lambda seed: peer(peers.faiss_kmeans, seed)


def assign(x: Rows, k: int, metric: str, args: argparse.Namespace) -> Runs:
    """Nearest of `k` centroids, which are rows of the data moved by noise."""
    from metatoken.tokens.codes.clustering import ClusterReport, Codebook

    rng = np.random.default_rng(1)
    picked = x[np.sort(rng.choice(len(x), k, replace=False))]
    centroids = picked + rng.standard_normal(picked.shape, dtype=np.float32)
    if metric == "cosine":
        x, centroids = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, centroids))
    book = Codebook("residual", metric, (centroids,), ClusterReport(len(x), None, (), (), (), 0))  # type: ignore[arg-type]
    runs = {
        "metatoken": lambda x: book.assign(x, threads=args.threads)[:, 0],
        "faiss": peers.faiss_predictor(centroids, metric),
    }
    if metric == "euclidean":
        runs["scikit-learn"] = peers.sklearn_predictor(centroids)
        runs["superkmeans"] = peers.superkmeans_predictor(centroids, args.threads)

    def one(predict: Callable[[Rows], peers.Labels]) -> Record:
        with Clock() as clock:
            labels = predict(x)
        return vars_of(clock) | {"inertia": inertia(x, centroids, labels), "operations": 2 * x.size * k}

    for name, predict in runs.items():
        yield name, lambda _, predict=predict: one(predict)


Runs = Iterator[tuple[str, Callable[[int], Record]]]
TASKS: dict[str, Callable[[argparse.Namespace], tuple[str, Runs]]] = {
    "tree": lambda a: (f"tree {a.tree}", tree(make_rows(a.rows, a.dim), a)),
    "flat": lambda a: (f"flat K={a.k}", flat(make_rows(a.rows, a.dim), a)),
    "sampled": lambda a: (f"flat K={a.k}, sampled", sampled(make_rows(a.rows, a.dim), a)),
    "assign-256": lambda a: ("assign to 256", assign(make_rows(a.rows, a.dim), 256, "euclidean", a)),
    "assign-4096": lambda a: ("assign to 4096", assign(make_rows(a.rows, a.dim), 4096, "euclidean", a)),
    "cosine-256": lambda a: ("assign to 256, cosine", assign(make_rows(a.rows, a.dim), 256, "cosine", a)),
    "cosine-4096": lambda a: ("assign to 4096, cosine", assign(make_rows(a.rows, a.dim), 4096, "cosine", a)),
    "text-flat": lambda a: (f"flat K={a.k}, d=768", flat(make_rows(rows_of("text", a), 768), a)),
    "text-256": lambda a: ("assign to 256, d=768", assign(make_rows(rows_of("text", a), 768), 256, "euclidean", a)),
    "text-4096": lambda a: ("assign to 4096, d=768", assign(make_rows(rows_of("text", a), 768), 4096, "euclidean", a)),
}


def measure(args: argparse.Namespace) -> list[Record]:
    """Runs the tasks, seed by seed so that what else happens on the machine meets all alike."""
    from metatoken._core import cluster

    peers.limit_threads(args.threads)
    kernel = os.environ.get("METATOKEN_KERNEL") or cluster.kernels()[-1]
    peak = cluster.peak_gflops(args.threads, kernel)
    common = {"threads": args.threads, "kernel": kernel, "peak": peak, "machine": machine(), **peers.versions()}
    records = []
    for task in args.tasks:
        title, runs = TASKS[task](args)
        work = [(who, run) for who, run in runs if args.who is None or who in args.who]
        for _, run in work:
            if task.startswith(("assign", "cosine", "text-2", "text-4")):
                run(0)  # imports, thread pools, and the pages of the rows
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for who, run in work:
                if who in args.once and seed > args.first_seed:
                    continue
                record = {"task": task, "title": title, "who": who, "seed": seed, "rows": rows_of(task, args)}
                record |= run(seed) | common
                records.append(record)
                print(f"{title}, {who}, seed {seed}: {record['seconds']:.3f} s, {record['inertia']:.6g}", flush=True)
                if args.output:
                    with args.output.open("a", encoding="utf-8") as file:
                        print(json.dumps(record), file=file)
    return records


def rows_of(task: str, args: argparse.Namespace) -> int:
    """Rows of a task; those of text are wide and fewer."""
    return args.rows // 10 if task.startswith("text") else args.rows


def machine() -> str:
    """Processor and system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def report(records: list[Record]) -> None:
    """Prints a table of the records for each instruction set."""
    for kernel in dict.fromkeys(r["kernel"] for r in records):
        of_kernel = [r for r in records if r["kernel"] == kernel]
        first = of_kernel[0]
        names = ", ".join(f"{name} {first[name]}" for name in ("faiss-cpu", "scikit-learn", "superkmeans", "numpy"))
        print(f"\n{first['machine']}; {names}; {first['threads']} threads, kernel {kernel}")
        print(f"peak {np.median([r['peak'] for r in of_kernel]):.0f} GFLOP/s, measured in every run\n")
        print("| task | who | seeds | s | ratio to ours | CPU s | ratio to ours | inertia / ours | of peak |")
        print("|---|---|---|---|---|---|---|---|---|")
        for task in dict.fromkeys((r["task"], r["rows"]) for r in of_kernel):
            of_task = [r for r in of_kernel if (r["task"], r["rows"]) == task]
            ours = {r["seed"]: r for r in of_task if r["who"] == "metatoken"}
            for who in dict.fromkeys(r["who"] for r in of_task):
                print_row([r for r in of_task if r["who"] == who], ours)


def print_row(rows: list[Record], ours: dict[int, Record]) -> None:
    """Medians of one routine, and its ratios to ours of the same seed, which ran just before or after."""
    pairs = [(r, ours[r["seed"]]) for r in rows if r["seed"] in ours]
    cells = [f"{rows[0]['title']}, {rows[0]['rows']} rows", rows[0]["who"], str(len(rows))]
    for key in ("seconds", "cpu"):
        cells += [f"{np.median([r[key] for r in rows]):.3f}", spread([r[key] / own[key] for r, own in pairs], 2)]
    cells.append(spread([r["inertia"] / own["inertia"] for r, own in pairs], 4))
    shares = [1e-9 * r["operations"] / r["cpu"] * r["threads"] / r["peak"] for r in rows if "operations" in r]
    cells.append(f"{100 * np.median(shares):.0f} %" if shares else "")
    print("| " + " | ".join(cells) + " |")


def spread(values: list[float], digits: int) -> str:
    """Mean, and with more than one value the standard deviation."""
    if len(values) < 2:
        return "".join(f"{value:.{digits}f}" for value in values)
    return f"{np.mean(values):.{digits}f} ({np.std(values, ddof=1):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--who", nargs="+", help="only these, such as metatoken faiss")
    parser.add_argument("--once", nargs="+", default=[], help="these with the first seed alone")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--k", type=int, default=256)
    parser.add_argument("--sample", type=int, default=65_536)
    parser.add_argument("--tree", type=int, nargs="+", default=[64, 64, 64])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON lines to append to")
    parser.add_argument("--report", type=Path, help="print the table of these records and measure nothing")
    args = parser.parse_args()
    if args.report:
        report([json.loads(line) for line in args.report.read_text(encoding="utf-8").splitlines()])
    else:
        report(measure(args))


if __name__ == "__main__":
    main()
