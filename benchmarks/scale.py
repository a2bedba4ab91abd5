"""Processor seconds and peak memory of every stage at sizes a factor of 4 apart, and the cost model fitted to them.

`python benchmarks/scale.py measure --out FOLDER` generates worlds with users and items in proportion, runs each stage
in a process of its own with one thread, and appends a line to FOLDER/measured.jsonl for each; what is there already is
not measured again. `python benchmarks/scale.py fit --out FOLDER` fits `seconds = fixed + rate work^exponent` and
`bytes = base + each size` to the lines and writes python/metatoken/run/costs.json, which `metatoken plan` reads. Times
are processor seconds, so that other work on the machine does not show.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

SIZES = (15_625, 62_500, 250_000, 1_000_000)
USERS, ITEMS = 30, 100  # interactions for each
WIDE = {"users": 10_000, "items": 100_000, "interactions": 300_000}  # tells what items cost from what rows cost
ASKED = 512  # users who are scored, and who get lists
READING = ("tokenize", "train")  # stages that begin by reading the raw log
STAGES = ("generate", "read", "tokenize", "train", "evaluate", "recommend")
ONE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "RAYON")} | {"POLARS_MAX_THREADS": "1"}
CONFIG = """
data: {{path: {world}/interactions, user: user_id, item: item_id, time: timestamp}}
model: {{backbone: gpt2-preset}}
trainer: {{max_epochs: 1, validation_users: {asked}}}
evaluate: {{fusion_users: {asked}, users: {asked}}}
threads: 1
"""


def counts(size: int) -> dict[str, int]:
    """Users, items and interactions of a world with so many interactions."""
    proportional = {"users": size // USERS, "items": size // ITEMS, "interactions": size}
    return WIDE if size == WIDE["interactions"] else proportional


def commands(folder: Path, size: int) -> dict[str, list[object]]:
    """What each stage runs, in the order in which they need each other."""
    world, tokens, run = (folder / f"{name}-{size}" for name in ("world", "tokens", "run"))
    named = ("--user", "user_id", "--item", "item_id", "--time", "timestamp")
    sizes = [part for name, count in counts(size).items() for part in (f"--{name}", count)]
    users = folder / f"users-{size}.txt"
    return {
        "generate": ["generate", *sizes, "-o", world, "--overwrite"],
        "read": ["inspect", world / "interactions", *named],
        "tokenize": ["tokenize", world / "interactions", *named, "--threads", 1, "-o", tokens, "--overwrite"],
        "train": ["train", folder / f"run-{size}.yaml", "--vocabulary", tokens, "-o", run, "--overwrite"],
        "evaluate": ["evaluate", run, "--no-unseen"],
        "recommend": ["recommend", run, "--users", users, "-o", folder / f"lists-{size}.parquet"],
    }


def items_of(folder: Path, size: int) -> int:
    """Items that the log of a world has, counted in a process of its own, which leaves this one as small as it is."""
    log = folder / f"world-{size}" / "interactions" / "*.parquet"
    count = f"import polars; print(polars.scan_parquet({str(log)!r}).select('item_id').collect()['item_id'].n_unique())"
    return int(subprocess.run([sys.executable, "-c", count], check=True, capture_output=True).stdout)


def measured(arguments: list[object]) -> dict[str, float]:
    """Runs a command of metatoken; its processor seconds, seconds and peak bytes."""
    return run([sys.executable, "-m", "metatoken", *map(str, arguments)])


def run(argv: list[str]) -> dict[str, float]:
    """The same of any program."""
    began = time.monotonic()
    child = subprocess.Popen(argv, env=os.environ | ONE, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(argv)}: exit code {child.returncode}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": used.ru_utime + used.ru_stime, "wall": time.monotonic() - began, "peak": peak}


def measure(folder: Path, sizes: list[int], stages: list[str]) -> None:
    """Appends what is not there yet to `measured.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "measured.jsonl"
    done = {(line["stage"], line["interactions"]) for line in lines(table)}
    for size in sizes:
        users = counts(size)["users"]
        names = (f"u{user:0{max(4, len(str(users)))}d}" for user in range(1, min(ASKED, users) + 1))
        (folder / f"users-{size}.txt").write_text("\n".join(names) + "\n")
        (folder / f"run-{size}.yaml").write_text(CONFIG.format(world=folder / f"world-{size}", asked=ASKED))
        for stage, argv in commands(folder, size).items():
            if stage not in stages or (stage, size) in done:
                continue
            few = min(ASKED, counts(size)["users"])
            found = measured(argv)
            line = {"stage": stage, **counts(size), "items": items_of(folder, size), "scored": few, "asked": few}
            line |= found
            with table.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


def fit(folder: Path) -> None:
    """Writes the costs of all stages."""
    # Not at the top: what this process holds counts as the peak of a child that it starts.
    from metatoken.run.plan import BYTES, COSTS, SECONDS, Size

    found = lines(folder / "measured.jsonl")
    stages: dict[str, Any] = {}
    for stage in SECONDS:
        own = [line for line in found if line["stage"] == stage]
        # The large run scored other numbers of users, which times and memory of these two stages grow with.
        alike = (line for line in own if stage not in ("evaluate", "recommend") or line["scored"] == line["asked"])
        grown = sorted((line for line in alike if line["interactions"] != WIDE["interactions"]), key=by_rows)
        scored = [Size(**{one.name: line[one.name] for one in fields(Size)}) for line in own]
        # Tokenize and train read the log; what AdamW takes shows only beside millions of items.
        held, took = (stages["read"][kind]["rates"] if stage in READING else {} for kind in ("bytes", "seconds"))
        took = took | ({"updated": update()} if stage == "train" else {})
        stages[stage] = {
            "seconds": cost(scored, [line["seconds"] for line in own], SECONDS[stage], took),
            "bytes": cost(scored, [line["peak"] for line in own], BYTES[stage], held),
        }
        for kind, name in (("seconds", "seconds"), ("bytes", "peak")):
            stages[stage][kind]["exponent"] = exponent(grown, name)
    measured = {"interactions": sorted({line["interactions"] for line in found}), "wide": WIDE, "lines": found}
    COSTS.write_text(json.dumps({"measured": measured, "stages": stages}, indent=1) + "\n", encoding="utf-8")
    for stage, about in stages.items():
        print(stage, {kind: (one["exponent"], one["worst"]) for kind, one in about.items()})


def by_rows(line: dict[str, Any]) -> int:
    return int(line["interactions"])


def update(items: int = 100_000, dim: int = 64, steps: int = 10) -> float:
    """Processor seconds of AdamW for a weight in a step."""
    import torch

    torch.set_num_threads(1)
    table = torch.nn.Parameter(torch.randn(items, dim))
    optimizer = torch.optim.AdamW([table], lr=1e-3)
    table.grad = torch.randn(items, dim)
    optimizer.step()
    began = time.process_time()
    for _ in range(steps):
        optimizer.step()
    return (time.process_time() - began) / (steps * table.numel())


def cost(sizes: list[Any], values: list[float], drivers: tuple[str, ...], given: dict[str, float]) -> dict[str, Any]:
    """Rates of no less than 0 beside those that are given, with the least relative errors, and the largest of these.

    A line counts as the root of its rows: small ones tell what starting a program takes, and plans are of large ones.
    """
    import numpy as np
    from scipy.optimize import nnls

    free = [name for name in drivers if name not in given]
    table = np.array([[1.0, *(float(getattr(size, name)) for name in free)] for size in sizes])
    known = np.array([sum(given[name] * getattr(size, name) for name in given) for size in sizes])
    scale, target = np.maximum(table.max(axis=0), 1.0), np.array(values)
    weight = np.sqrt([size.interactions for size in sizes]) / target
    found = nnls(table / scale * weight[:, None], (target - known) * weight)[0] / scale
    worst = float(np.abs((table @ found + known) / target - 1).max())
    rates = given | dict(zip(free, found[1:].tolist(), strict=True))
    return {"fixed": found[0], "rates": {name: rates[name] for name in drivers}, "worst": round(worst, 3)}


def exponent(lines: list[dict[str, Any]], name: str) -> float | None:
    """The power e of the interactions in `fixed + rate n^e` with the least relative errors; None of what did not grow.

    It is looked for among all hundredths, since of so few sizes a slope between two of them would be mostly noise.
    """
    import numpy as np
    from scipy.optimize import nnls

    values, rows = (np.array([float(line[key]) for line in lines]) for key in (name, "interactions"))
    if len(values) < 4 or values[-1] < 1.1 * values[0]:
        return None

    def error(power: float) -> float:
        table = np.stack([np.ones_like(rows), (rows / rows[-1]) ** power], axis=1)
        return float(nnls(table / values[:, None], np.ones_like(values))[1])

    return min((hundredth / 100 for hundredth in range(50, 201)), key=error)


def lines(table: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "fit"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES, WIDE["interactions"]])
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.out, given.sizes, given.stages)
    else:
        fit(given.out)


if __name__ == "__main__":
    main()
