"""Linear assignment by the native core and by SciPy: the same total cost.

    python benchmarks/linear_assignment.py

Costs are squared distances of rows to codewords, both normally distributed in 16 dimensions, as where the last tokens
of a prefix are given away; processor seconds of rounds in which both take turns.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import linear_sum_assignment
from turns import medians

from metatoken._core import cluster

SHAPES = [(384, 512), (512, 512), (1536, 2048), (2048, 2048)]
DIM, ROUNDS = 16, 5


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rng = np.random.default_rng(0)
    print("| rows | codewords | metatoken, ms | SciPy, ms | SciPy / metatoken |\n|---|---|---|---|---|")
    for rows, codewords in SHAPES:
        x, y = rng.normal(size=(rows, DIM)), rng.normal(size=(codewords, DIM))
        cost = (x**2).sum(1)[:, None] - 2 * x @ y.T + (y**2).sum(1)
        ways = {"ours": lambda cost=cost: cluster.linear_assignment(cost), "scipy": lambda cost=cost: _scipy(cost)}
        totals = [cost[np.arange(rows), way()].sum() for way in ways.values()]
        np.testing.assert_allclose(totals, totals[0])
        ours, theirs = (seconds * 1e3 for seconds in medians(ways, ROUNDS).values())
        print(f"| {rows:,} | {codewords:,} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |", flush=True)


def _scipy(cost: np.ndarray) -> np.ndarray:
    return linear_sum_assignment(cost)[1]


if __name__ == "__main__":
    main()
