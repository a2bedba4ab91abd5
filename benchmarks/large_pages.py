"""Rows taken out of an item table on pages of 4 KB and of 2 MB, in turns, each after other memory was written.

`python benchmarks/large_pages.py --items 40000 300000 1000000`
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

from metatoken.model.pages import on_large_pages

DIM, ROWS, REPEATS = 64, 14_000, 30


def milliseconds(table: Tensor, rows: Tensor, other: Tensor) -> float:
    """One reading of the rows, after other memory has been written."""
    other.mul_(1.0001)
    begun = time.perf_counter()
    table.index_select(0, rows)
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    """Prints a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[40_000, 300_000, 1_000_000])
    torch.set_num_threads(1)
    other, draws = torch.ones(8_000_000), torch.Generator().manual_seed(0)
    for n in parser.parse_args().items:
        plain, large = torch.randn(n, DIM), torch.randn(n, DIM)
        moved = on_large_pages([large])
        pairs = []
        for _ in range(REPEATS):
            rows = torch.randperm(n, generator=draws)[:ROWS].sort().values
            pairs.append((milliseconds(plain, rows, other), milliseconds(large, rows, other)))
        ratio = statistics.median(a / b for a, b in pairs)
        times = ", ".join(f"{statistics.median(column):.2f} ms" for column in zip(*pairs, strict=True))
        print(f"{n:,} items, {moved / 1e6:.0f} MB on large pages: {times}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
