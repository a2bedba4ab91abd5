"""The item softmax: values and both gradients, by the native core, by blocks of torch, and over the full matrix.

    python benchmarks/item_softmax.py                     # 800 x 12,101 x 64 and 800 x 100,000 x 64
    python benchmarks/item_softmax.py --sampled           # a million items: a sample against all of them

**native**: `ItemScores` as a training step on a processor calls it, with the normaliser over all items and over slices
of 128. **blocks**: the same node over blocks of torch (`softmax_blocks`), which made our steps before the native core
did. **full**: `torch.nn.functional.cross_entropy` over the matrix of logits, which has no slices. All run in turns in
this process, on the same threads; the median counts, and the spread is given. Errors are against float64. Waiting
threads of torch sleep soon, as they do in our commands: by default they spin, and the native core then shares the
processors with threads that do nothing.

**sampled**: `sampled_columns` with 8,192 draws, the vectors of the sample gathered and their gradients scattered.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metatoken.cli.waiting import wait_policy, wait_politely

wait_politely()  # read when torch is loaded, hence before it is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from metatoken._core import cluster  # noqa: E402
from metatoken.model.heads import item_scores, softmax_blocks, softmax_native  # noqa: E402
from metatoken.model.heads.columns import all_columns, sampled_columns  # noqa: E402
from metatoken.model.heads.item_scores import ItemScores  # noqa: E402
from metatoken.model.heads.trie_index import TrieIndex  # noqa: E402
from metatoken.tokens.trie import Trie  # noqa: E402

TEMPERATURE, SLICE = 0.07, 128
Step = Callable[[], Any]


def inputs(targets: int, items: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit states, unit vectors over the temperature, targets."""
    rng = torch.Generator().manual_seed(0)
    states, vectors = (F.normalize(torch.randn(n, dim, generator=rng), dim=1) for n in (targets, items))
    chosen = torch.randint(items, (targets,), generator=rng)
    return states.requires_grad_(), (vectors / TEMPERATURE).requires_grad_(), chosen


def by_node(work: Any, states: Tensor, vectors: Tensor, targets: Tensor) -> Step:
    """A step of the item head and of the choice below a node."""
    begin = targets // SLICE * SLICE
    end = (begin + SLICE).clamp_max(len(vectors))

    def step() -> Any:
        item_scores.implementation = lambda _: work
        own, total, below = ItemScores.apply(states, vectors, targets, begin, end)
        return total, *torch.autograd.grad(-(own - total).sum() - 0.5 * (own - below).sum(), (states, vectors))

    return step


def by_matrix(states: Tensor, vectors: Tensor, targets: Tensor) -> Step:
    """A step of the item head alone."""

    def step() -> Any:
        return torch.autograd.grad(F.cross_entropy(states @ vectors.T, targets, reduction="sum"), (states, vectors))

    return step


def in_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians in milliseconds with their spread, and the ratios to the first."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    first = next(iter(medians))
    spread = {name: [round(1e3 * v, 1) for v in (min(values), max(values))] for name, values in seconds.items()}
    return {
        "ms": {name: round(1e3 * value, 1) for name, value in medians.items()}, "from_to": spread,
        f"times {first}": {name: round(value / medians[first], 2) for name, value in medians.items() if name != first},
    }  # fmt: skip


def errors(step: Step, states: Tensor, vectors: Tensor, targets: Tensor) -> dict[str, float]:
    """Largest differences to float64, of gradients over their largest value."""
    double = [x.detach().double().requires_grad_() for x in (states, vectors)]
    exact = by_node(softmax_blocks, double[0], double[1], targets)()
    found = step()
    names = ("log-normaliser", "states", "vectors")
    scales = (1.0, *(float(x.abs().max()) for x in exact[1:]))
    return {
        name: float((ours.detach().double() - truth.detach()).abs().max() / scale)
        for name, ours, truth, scale in zip(names, found, exact, scales, strict=True)
    }


def whole(targets: int, items: int, dim: int, rounds: int) -> dict[str, Any]:
    """All three ways at one size."""
    given = inputs(targets, items, dim)
    native = by_node(softmax_native, *given)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    native()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    found = errors(native, *given)
    seconds = in_turns({"native": native, "blocks": by_node(softmax_blocks, *given), "full": by_matrix(*given)}, rounds)
    multiply_adds = 3 * targets * items * dim
    rate = 2 * multiply_adds / statistics.median(seconds["native"]) / 1e9
    return {"errors": found, "native_memory_mib": round(grown), "gflops": round(rate)} | summary(seconds)


def sampled(targets: int, items: int, dim: int, rounds: int) -> dict[str, Any]:
    """A sample against all of a large catalogue."""
    codes = np.stack(np.unravel_index(np.arange(items), (100, 100, -(-items // 10_000))), 1).astype(np.int32)
    index = TrieIndex(Trie.from_codes(codes))
    states, vectors, chosen = inputs(targets, items, dim)
    item_scores.implementation = lambda _: softmax_native

    def step(part: bool) -> Any:
        columns = sampled_columns(index, chosen, 8192) if part else all_columns(index, chosen)
        used = vectors if columns.leaves is None else vectors.index_select(0, columns.leaves)
        places = columns.targets, columns.begin, columns.end, columns.bias
        own, total, below = ItemScores.apply(states, used, *places)
        return torch.autograd.grad(-(own - total).sum() - 0.5 * (own - below).sum(), (states, vectors))

    seconds = in_turns({"sampled": lambda: step(True), "all": lambda: step(False)}, rounds)
    leaves = sampled_columns(index, chosen, 8192).leaves
    return {"items_in_a_sample": None if leaves is None else len(leaves)} | summary(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=800)
    parser.add_argument("--items", type=int, nargs="+", help="sizes of the catalogue")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sampled", action="store_true", help="a sample against all items")
    parser.add_argument("--output", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work, sizes = (sampled, [1_000_000]) if options.sampled else (whole, [12_101, 100_000])
    found = {n: work(options.targets, n, options.dim, options.rounds) for n in options.items or sizes}
    report = {
        "targets": options.targets, "dim": options.dim, "threads": options.threads, "waiting": wait_policy(),
        "kernels": cluster.kernels(),
        "peak_gflops": round(cluster.peak_gflops(options.threads, cluster.kernels()[-1])), "torch": torch.__version__,
        "items": found,
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if options.output is not None:
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
