"""The item table in a step: gradient, clipping and AdamW of all rows, and of those alone that the step has.

    python benchmarks/item_updates.py     # 50,000 to a million items x 64, 15,000 of them in a step

**all**: `index_select`, whose gradient is as large as the table, and torch's fused AdamW. **rows**: the sparse gradient
of `Rows`, and `RowAdamW`. **sparse adam**: the same gradient, and `torch.optim.SparseAdam`. Milliseconds of the
processor, the median of the rounds, so that other work on the machine shows little; memory keeps what steps free, as in
`metatoken train`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from metatoken.model.heads.rows import Rows, clippable
from metatoken.model.row_adamw import RowAdamW
from metatoken.run.memory import keep_memory

WAYS = ("all", "rows", "sparse adam")


def optimizer_of(way: str, table: nn.Parameter) -> Any:
    """What moves the table."""
    if way == "sparse adam":
        return torch.optim.SparseAdam([table], lr=1e-3)
    kind = RowAdamW if way == "rows" else torch.optim.AdamW
    return kind([{"params": [table], "weight_decay": 0.0}], lr=1e-3, fused=True)


def step(way: str, table: nn.Parameter, optimizer: Any, rows: Tensor, gradient: Tensor) -> None:
    """What a step of training does with a table, apart from the vectors that are made of it."""
    optimizer.zero_grad()
    part = table.index_select(0, rows) if way == "all" else Rows.apply(table, rows)
    part.backward(gradient)
    given = clippable(optimizer)
    nn.utils.clip_grad_norm_([weight for group in given.param_groups for weight in group["params"]], 10.0)
    optimizer.step()


def measure(items: int, dim: int, touched: int, rounds: int) -> dict[str, Any]:
    """Processor milliseconds of each way."""
    rng, found = torch.Generator().manual_seed(0), {}
    rows = torch.randperm(items, generator=rng)[:touched].sort().values
    gradient = torch.randn(len(rows), dim, generator=rng)
    for way in WAYS:
        table = nn.Parameter(torch.randn(items, dim, generator=rng))
        optimizer, took = optimizer_of(way, table), []
        for _ in range(rounds + 1):  # the first makes the moments
            began = time.process_time()
            step(way, table, optimizer, rows, gradient)
            took.append(1e3 * (time.process_time() - began))
        found[way] = round(statistics.median(took[1:]), 1)
    return found | {"all / rows": round(found["all"] / found["rows"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[50_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--touched", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    for items in given.items:
        print(json.dumps({"items": items} | measure(items, given.dim, given.touched, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
