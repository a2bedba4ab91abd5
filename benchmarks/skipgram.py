"""Skip-gram against gensim on a planted graph: `python benchmarks/skipgram.py --nodes 20000`.

gensim reads a ready corpus (our walks, shuffled, in a temporary file) and is timed on training alone; ours makes its
walks inside the timed call. Both: vectors of 64, window 5, 5 negatives, one pass, the same number of walk tokens, the
same learning rates, the same threads. Each runs `--repeat` times, in turns; the best time counts.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gensim.models import Word2Vec
from numpy.typing import NDArray

from metatoken.tokens import skipgram
from metatoken.tokens.quality import same_group_at
from metatoken.tokens.walks import Graph, walks

DIM, WINDOW, NEGATIVES, LENGTH, RATES = 64, 5, 5, 40, (0.025, 0.0001)


def planted(n: int, group: int, edges: int, inside: float, seed: int) -> tuple[Graph, NDArray[np.int64]]:
    """As many users as items in groups; an edge stays inside its group with the given probability."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(n), edges)
    home = users // group
    at = np.where(rng.random(users.size) < inside, home, rng.integers(0, n // group, users.size))
    items = at * group + rng.integers(0, group, users.size)
    return Graph.from_edges(users, items, n, n), np.concatenate([np.arange(n) // group] * 2)


def write_corpus(graph: Graph, per_node: int, path: Path) -> int:
    rows = np.concatenate(
        [walks(graph, p, walks_per_node=per_node, walk_length=LENGTH).nodes for p in skipgram.META_PATHS]
    )
    np.random.default_rng(0).shuffle(rows)
    with path.open("w") as corpus:
        for row in rows:
            corpus.write(" ".join(map(str, row)) + "\n")
    return int(rows.size)


def gensim_vectors(model: Word2Vec, n_nodes: int) -> NDArray[np.float32]:
    vectors = np.zeros((n_nodes, DIM), dtype=np.float32)
    vectors[[int(word) for word in model.wv.index_to_key]] = model.wv.vectors
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=20_000, help="users and items in all")
    parser.add_argument("--walks-per-node", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    graph, groups = planted(options.nodes // 2, 50, 8, 0.8, seed=0)

    def ours(hogwild: bool) -> NDArray[np.float32]:
        fitted = skipgram.fit(
            graph, dim=DIM, window=WINDOW, negatives=NEGATIVES, walks_per_node=options.walks_per_node,
            walk_length=LENGTH, threads=options.threads, hogwild=hogwild,
            learning_rate=RATES[0], min_learning_rate=RATES[1],
        )  # fmt: skip
        return fitted.vectors

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "walks.txt"
        tokens = write_corpus(graph, options.walks_per_node, corpus)
        model = Word2Vec(
            sg=1, hs=0, vector_size=DIM, window=WINDOW, negative=NEGATIVES, workers=options.threads, sample=0,
            min_count=1, alpha=RATES[0], min_alpha=RATES[1], seed=0,
        )  # fmt: skip
        model.build_vocab(corpus_file=str(corpus))
        fresh = model.wv.vectors.copy()

        def gensim() -> NDArray[np.float32]:
            model.wv.vectors[:] = fresh
            model.syn1neg[:] = 0
            model.train(corpus_file=str(corpus), total_words=tokens, total_examples=model.corpus_count, epochs=1)
            return gensim_vectors(model, graph.n_nodes)

        runs: dict[str, Callable[[], NDArray[np.float32]]] = {
            "gensim": gensim,
            "metatoken": lambda: ours(hogwild=False),
            "metatoken hogwild": lambda: ours(hogwild=True),
        }
        seconds = dict.fromkeys(runs, float("inf"))
        quality = {}
        for _ in range(options.repeat):
            for name, run in runs.items():
                begin = time.perf_counter()
                vectors = run()
                seconds[name] = min(seconds[name], time.perf_counter() - begin)
                quality[name] = same_group_at(vectors, groups)

    rows = [
        {
            "trainer": name,
            "tokens_per_second": round(tokens / seconds[name]),
            "ratio_to_gensim": round(seconds["gensim"] / seconds[name], 2),
            "same_group_at_10": round(quality[name], 3),
        }
        for name in runs
    ]
    load = round(os.getloadavg()[0], 1)
    print(f"{options.nodes} nodes, {tokens} walk tokens, {options.threads} threads, load {load}\n")
    print("| trainer | tokens/s | ratio | same group@10 |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    report = {"nodes": options.nodes, "tokens": tokens, "threads": options.threads, "load": load, "rows": rows}
    print("\n" + json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
