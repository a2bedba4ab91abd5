"""Distributions of the transition graph by the native core and by sparse products of SciPy: the same numbers.

    python benchmarks/transitions.py LOG.csv --user user_id --item item_id --time timestamp

256 users of a log (any that `Interactions.read` reads, shards of Parquet, too), processor seconds of rounds in which
both take turns.
"""

from __future__ import annotations

import argparse

import numpy as np
from turns import medians

import metatoken as mt
from metatoken.data import Sequences
from metatoken.predict.transitions import TransitionGraph, start

USERS, ROUNDS = 256, 5


def by_products(graph: TransitionGraph, history: Sequences, users: np.ndarray) -> np.ndarray:
    """`v T + second_hop (v T) T`, made dense, and mixed with popularity."""
    step = start(history, users, graph.recency, graph.transitions.shape[0]) @ graph.transitions
    dense = (step + graph.second_hop * (step @ graph.transitions)).toarray()
    mass = dense.sum(axis=1, keepdims=True)
    dense *= np.divide(1.0 - graph.smoothing, mass, out=np.zeros_like(mass), where=mass > 0)
    dense += np.where(mass > 0, np.float32(graph.smoothing), np.float32(1.0)) * graph.popularity.share
    return dense


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    for name in ("user", "item", "time"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args()
    log = mt.Interactions.read(given.log, user=given.user, item=given.item, time=given.time)
    graph, history = TransitionGraph.fit(log), log.sequences()
    users = np.arange(min(USERS, len(history)))
    ways = {"metatoken": lambda: graph.scores(history, users), "scipy": lambda: by_products(graph, history, users)}
    np.testing.assert_allclose(ways["metatoken"](), ways["scipy"](), atol=1e-6)
    ours, theirs = medians(ways, ROUNDS).values()
    print(f"{log.n_items:,} items: metatoken {ours:.4f} s, scipy {theirs:.4f} s, scipy / metatoken {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
