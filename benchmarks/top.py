"""The best ten of dense scores by metatoken, torch and NumPy: seconds of one thread in the same run, and ratios.

    python benchmarks/top.py --out records.jsonl

256 users, catalogues of 12,101 to 1,000,000 items, twenty seen items each. metatoken leaves seen items out, settles
ties within 1e-5 in the order of items and refuses NaN; torch.topk and numpy.argpartition are given scores from which
seen items were removed already, and settle nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from turns import medians

from metatoken.data import Sequences
from metatoken.model.heads.top import TOLERANCE, top_k

USERS, SEEN, K, ROUNDS = 256, 20, 10, 5


def by_torch(scores: torch.Tensor) -> np.ndarray:
    return torch.topk(scores, K, dim=1).indices.numpy()


def by_numpy(scores: np.ndarray) -> np.ndarray:
    best = np.argpartition(scores, -K, axis=1)[:, -K:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def measured(n_items: int) -> dict[str, Any]:
    """Medians over rounds in which the three take turns."""
    rng = np.random.default_rng(0)
    scores = torch.log_softmax(torch.from_numpy(rng.normal(size=(USERS, n_items)).astype(np.float32)), dim=1).numpy()
    seen = Sequences.of(rng.integers(0, n_items, (USERS, SEEN)).astype(np.int32))
    left = scores.copy()
    left[seen.owners, seen.items] = -np.inf
    tensor = torch.from_numpy(left)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "metatoken": lambda: top_k(scores, seen, K, tolerance=TOLERANCE, log=True)[0],
        "torch": lambda: by_torch(tensor),
        "numpy": lambda: by_numpy(left),
    }
    seconds = medians(ways, ROUNDS, time.perf_counter)
    if not np.array_equal(np.sort(ways["torch"](), axis=1), np.sort(ways["metatoken"](), axis=1)):
        raise SystemExit("metatoken and torch found other items, although nothing ties here")
    ratios = {f"{name} / metatoken": round(seconds[name] / seconds["metatoken"], 1) for name in ("torch", "numpy")}
    return {"items": n_items} | {name: round(one, 4) for name, one in seconds.items()} | ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[12_101, 100_000, 300_000, 1_000_000])
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for n_items in given.items:
        record = measured(n_items)
        print(record, flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as file:
                print(json.dumps(record), file=file)


if __name__ == "__main__":
    main()
