"""Counts invalid ids among millions decoded with random models: `python benchmarks/decoding_validity.py`.

Each round draws a catalogue (two or three levels, or ragged), an untrained model (causal or encoder-decoder, either
normaliser, leaf vectors on or off), histories, allow lists and a catalogue mask, and decodes k items for each of 256
prompts. An id is invalid if no item has it, if a filter forbids it, or if it stands twice in a list; a list is short if
it holds fewer than k although k are allowed. The check knows only the filters as NumPy sets, nothing of the search.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoding_world import make_network, make_prompts, random_codes

from metatoken.decode.beam import DiverseBeams, beam_search

USERS = 256


def check(items: np.ndarray, allowed: np.ndarray, k: int) -> tuple[int, int, int]:
    """Ids, invalid ones, short lists of `items [B, k]`; `allowed` is bool `[B, n_items]`."""
    n = allowed.shape[1]
    ids = invalid = short = 0
    for row, ok in zip(items, allowed, strict=True):
        found = row[row != -1]
        inside = (found >= 0) & (found < n)
        good = len(np.unique(found[inside & ok[np.clip(found, 0, n - 1)]]))
        ids += len(found)
        invalid += len(found) - good
        short += len(found) < min(k, int(ok.sum()))
    return ids, invalid, short


def one_round(rng: np.random.Generator, k: int) -> tuple[tuple[int, int, int], str]:
    levels = [[64, 64], [16, 16, 16], [16, 16, 16]][shape := int(rng.integers(3))]
    n = int(rng.integers(500, 3000))
    codes = random_codes(n, levels, int(rng.integers(1 << 30)), ragged=shape == 2)
    backbone = ["gpt2-preset", "t5-preset"][int(rng.random() < 0.25)]
    normaliser, leaf = ["trie", "full"][int(rng.integers(2))], bool(rng.integers(2))
    network = make_network(
        codes, levels, backbone=backbone, dim=16, layers=1, heads=2, seed=int(rng.integers(1 << 30)),
        normaliser=normaliser, leaf=leaf,
    )  # fmt: skip
    batch, seen = make_prompts(network, USERS, 10, int(rng.integers(1 << 30)))
    mask = rng.random(n) < rng.uniform(0.2, 1.0)
    lists: list[Any] = [rng.integers(0, n, int(rng.integers(n))) if rng.random() < 0.3 else None for _ in seen]
    width = int(rng.integers(1, 30))
    diversity = DiverseBeams(4, 1.0) if rng.random() < 0.2 else None
    found = beam_search(
        network, batch, seen, allowed=lists, catalogue=mask, k=k, width=width, diversity=diversity
    )  # fmt: skip
    allowed = np.tile(mask, (USERS, 1))
    for row, (history, only) in enumerate(zip(seen, lists, strict=True)):
        allowed[row, history] = False
        if only is not None:
            allowed[row] &= np.isin(np.arange(n), only)
    kind = (
        f"{['two levels', 'three levels', 'ragged'][shape]}, {backbone}, {normaliser}, leaf {'on' if leaf else 'off'}"
    )
    return check(found.items.numpy(), allowed, k), kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=10_000_000)
    parser.add_argument("-k", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the counts to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    total, kinds, rounds, begin = np.zeros(3, dtype=np.int64), set(), 0, time.perf_counter()
    while total[0] < options.ids:
        counts, kind = one_round(rng, options.k)
        total += counts
        kinds.add(kind)
        rounds += 1
        print(f"\r{total[0]:,} ids, {total[1]} invalid, {total[2]} short lists", end="", flush=True)
    report = {
        "ids": int(total[0]), "invalid": int(total[1]), "short_lists": int(total[2]), "rounds": rounds,
        "kinds": sorted(kinds), "seconds": round(time.perf_counter() - begin), "seed": options.seed,
    }  # fmt: skip
    print("\n" + json.dumps(report))
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    if total[1] or total[2]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
