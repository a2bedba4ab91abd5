"""Skip-gram against gensim: speed, quality and memory.

    python benchmarks/skipgram.py planted --threads 2
    python benchmarks/skipgram.py beauty --data ../shared/data/beauty --seeds 3
    python benchmarks/skipgram.py gowalla --data ../shared/data/gowalla --output gowalla.json
    python benchmarks/skipgram.py memory

gensim reads a ready corpus (our walks, shuffled, in a temporary file) with as many workers as we have threads, and is
timed on training alone; ours makes its walks inside the timed call. Both: vectors of 64, window 5, 5 negatives, one
pass over as many walks of the same length. Every seed is one run of each trainer, in turns. Learning rates are the
same, too: gensim is asked for its default, 0.025 falling to 0.0001, but with `corpus_file` each of its workers lets
the rate fall by the share of the corpus that it has read itself, so that W workers end at 0.025 - 0.0249 / W. That is
where we let ours end.

Speed is pairs per second. Ours are counted. Both draw the reach of each position from 1..5, so gensim's number for the
corpus is taken at its expectation: position i of a walk of n has sum over r = 1..5 of (min(i, r) + min(n-1-i, r)) / 5.

Quality is same-group@10 on the planted graph, and on logs the AUC of held-out links (`metatoken.tokens.quality.links`).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metatoken.tokens.graph.walks import Graph, walks
from metatoken.tokens.quality.links import link_auc, same_group_at
from metatoken.tokens.settings import TokenSettings
from metatoken.tokens.vectors import skipgram
from metatoken.tokens.vectors.skipgram import Embeddings

DIM, WINDOW, NEGATIVES, LENGTH = 64, 5, 5, 40
RATE, LAST_RATE = 0.025, 0.0001
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """A graph and what its vectors should be good for."""

    graph: Graph
    measure: str
    quality: Callable[[Vectors], float]


def planted(n: int, group: int, edges: int, inside: float) -> Task:
    """As many users as items in groups; an edge stays inside its group with the given probability."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n), edges)
    at = np.where(rng.random(users.size) < inside, users // group, rng.integers(0, n // group, users.size))
    items = at * group + rng.integers(0, group, users.size)
    groups = np.concatenate([np.arange(n) // group] * 2)
    return Task(Graph.from_edges(users, items, n, n), "same-group@10", lambda v: same_group_at(v, groups))


def log(train: list[list[str]], test: list[list[str]]) -> Task:
    """Held-out links of a log of one list of items per user."""
    row = {raw: k for k, raw in enumerate(sorted({item for history in train + test for item in history}))}

    def edges(histories: list[list[str]]) -> tuple[list[int], list[int]]:
        users = [user for user, history in enumerate(histories) for _ in history]
        return users, [row[item] for history in histories for item in history]

    graph, held_out = Graph.from_edges(*edges(train), len(train), len(row)), edges(test)

    def quality(vectors: Vectors) -> float:
        trained = np.ones(len(vectors), dtype=np.bool_)
        return link_auc(Embeddings(vectors, graph.n_users, graph.n_items, trained), *held_out)

    return Task(graph, "link AUC", quality)


def histories(path: Path) -> list[list[str]]:
    """Items of each line, which begins with the user."""
    return [line.split()[1:] for line in path.read_text(encoding="utf-8").splitlines()]


def load(options: argparse.Namespace) -> Task:
    """The graph that the command line asks for."""
    if options.task == "planted":
        return planted(options.nodes // 2, 50, 8, options.inside)
    if options.data is None:
        raise SystemExit("--data DIR is needed: the folder of the log")
    if options.task == "beauty":  # oldest first: the last two items of each user are held out, the first of them asked
        every = histories(options.data / "user_sequence.txt")
        return log([items[:-2] for items in every], [items[-2:-1] for items in every])
    return log(histories(options.data / "train.txt"), histories(options.data / "test.txt"))


def corpus_of(graph: Graph, per_node: int, seed: int, path: Path) -> tuple[int, float]:
    """Writes all walks, shuffled; their tokens and the pairs to expect of them."""
    rows = np.concatenate(
        [
            walks(graph, p, walks_per_node=per_node, walk_length=LENGTH, seed=seed).nodes
            for p in TokenSettings.meta_paths
        ]
    )
    np.random.default_rng(seed).shuffle(rows)
    with path.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(" ".join(map(str, row[row >= 0])) + "\n")
    lengths = (rows >= 0).sum(axis=1)
    return int(lengths.sum()), sum(count * expected_pairs(n) for n, count in enumerate(np.bincount(lengths)))


def expected_pairs(length: int) -> float:
    """Pairs of a walk under a window that each position draws from 1..WINDOW."""
    at = np.arange(length)
    reaches = range(1, WINDOW + 1)
    return float(sum((np.minimum(at, r) + np.minimum(length - 1 - at, r)).sum() for r in reaches)) / WINDOW


def run_gensim(
    corpus: Path, tokens: int, n_nodes: int, seed: int, options: argparse.Namespace
) -> tuple[float, Vectors]:
    """Seconds of training, and the vectors in node order."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        sg=1, hs=0, vector_size=DIM, window=WINDOW, negative=NEGATIVES, workers=options.threads, sample=0, min_count=1,
        alpha=RATE, min_alpha=LAST_RATE, seed=seed,
    )  # fmt: skip
    model.build_vocab(corpus_file=str(corpus))
    begin = time.perf_counter()
    model.train(corpus_file=str(corpus), total_words=tokens, total_examples=model.corpus_count, epochs=1)
    seconds = time.perf_counter() - begin
    vectors = np.zeros((n_nodes, DIM), dtype=np.float32)
    vectors[[int(word) for word in model.wv.index_to_key]] = model.wv.vectors
    return seconds, vectors


def run_ours(graph: Graph, seed: int, hogwild: bool, options: argparse.Namespace) -> tuple[float, Embeddings]:
    """Seconds of walking and training, and the vectors."""
    begin = time.perf_counter()
    fitted = skipgram.fit(
        graph, dim=DIM, window=WINDOW, negatives=NEGATIVES, walks_per_node=options.walks_per_node, walk_length=LENGTH,
        threads=options.threads, hogwild=hogwild, seed=seed, learning_rate=RATE,
        min_learning_rate=RATE - (RATE - LAST_RATE) / options.threads,
    )  # fmt: skip
    return time.perf_counter() - begin, fitted


def compare(task: Task, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each trainer and seed."""
    rows = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder) / "walks.txt"
            tokens, pairs = corpus_of(task.graph, options.walks_per_node, seed, corpus)
            seconds, vectors = run_gensim(corpus, tokens, task.graph.n_nodes, seed, options)
            rows.append(row_of("gensim", seed, seconds, tokens, pairs, task.quality(vectors)))
        for name, hogwild in (("reproducible", False), ("hogwild", True)):
            seconds, fitted = run_ours(task.graph, seed, hogwild, options)
            rows.append(row_of(name, seed, seconds, tokens, fitted.pairs, task.quality(fitted.vectors)))
    return rows


def row_of(name: str, seed: int, seconds: float, tokens: int, pairs: float, quality: float) -> dict[str, Any]:
    """The figures of a run."""
    row = {"trainer": name, "seed": seed, "seconds": seconds, "tokens": tokens, "pairs": pairs}
    return row | {"pairs_per_second": pairs / seconds, "quality": quality}


def summary(rows: list[dict[str, Any]], measure: str) -> str:
    """A table of means and standard deviations over seeds."""
    lines = [f"| trainer | pairs/s | ratio to gensim | {measure}, mean (std) | above gensim |", "|---|---|---|---|---|"]

    def column(name: str, key: str) -> NDArray[np.float64]:
        return np.array([row[key] for row in rows if row["trainer"] == name])

    speed, level = (column("gensim", key).mean() for key in ("pairs_per_second", "quality"))
    for name in dict.fromkeys(row["trainer"] for row in rows):
        fast, good = column(name, "pairs_per_second"), column(name, "quality")
        figures = f"{good.mean():.4f} ({good.std():.4f}) | {good.mean() - level:+.4f}"
        lines.append(f"| {name} | {fast.mean():,.0f} | {fast.mean() / speed:.2f} | {figures} |")
    return "\n".join(lines)


def memory_child(options: argparse.Namespace) -> None:
    """Trains in this process and prints the peak above what was there before the graph."""
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    task_edges = np.random.default_rng(0).integers(0, options.nodes // 2, (2, options.nodes * 4))
    before = peak()
    graph = Graph.from_edges(*task_edges, options.nodes // 2, options.nodes // 2)
    with_graph = peak()
    per_node = -(-options.steps // (LENGTH * options.nodes))
    fitted = skipgram.fit(graph, dim=DIM, walks_per_node=per_node, walk_length=LENGTH, threads=options.threads,
                          hogwild=options.hogwild)  # fmt: skip
    report = {
        "steps": per_node * LENGTH * options.nodes, "hogwild": options.hogwild, "pairs": fitted.pairs,
        "graph_peak": with_graph - before, "training_peak": peak() - with_graph, "embeddings": fitted.vectors.nbytes,
    }  # fmt: skip
    print(json.dumps(report))


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak of resident memory, each mode in a process of its own."""
    rows = []
    for hogwild in (False, True):
        command = [sys.executable, __file__, "memory", "--child", "--nodes", str(options.nodes)]
        command += ["--steps", str(options.steps), "--threads", str(options.threads)] + ["--hogwild"] * hogwild
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
    return rows


def machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    versions = {name: importlib.metadata.version(name) for name in ("metatoken", "gensim", "numpy")}
    load_average = round(os.getloadavg()[0], 1)
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": threads, "load": load_average, "versions": versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["planted", "beauty", "gowalla", "memory"])
    parser.add_argument("--data", type=Path, help="folder of the log")
    parser.add_argument("--nodes", type=int, default=20_000, help="users and items of a generated graph")
    parser.add_argument("--inside", type=float, default=0.7, help="share of edges inside a planted group")
    parser.add_argument("--walks-per-node", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10_000_000, help="walk steps of the memory measurement")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--hogwild", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    if options.child:
        memory_child(options)
        return
    about = machine(options.threads)
    print(json.dumps(about))
    if options.task == "memory":
        rows = memory(options)
        print("\n".join(json.dumps(row) for row in rows))
    else:
        task = load(options)
        rows = compare(task, options)
        print(f"{task.graph!r}, {rows[0]['tokens']:,} tokens\n{summary(rows, task.measure)}")
    if options.output:
        settings = {key: str(value) for key, value in vars(options).items() if key != "output"}
        options.output.write_text(json.dumps({"machine": about, "settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
