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
from pathlib import Path
from typing import Any

SIZES = (15_625, 62_500, 250_000, 1_000_000)
USERS, ITEMS = 30, 100  # interactions for each
ASKED = 2000  # users of evaluate and recommend
STAGES = ("generate", "tokenize", "train", "evaluate", "recommend")
ONE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "RAYON")} | {"POLARS_MAX_THREADS": "1"}
CONFIG = """
data: {{path: {world}/interactions, user: user_id, item: item_id, time: timestamp}}
model: {{backbone: gpt2-preset}}
trainer: {{max_epochs: 1, validation_users: {asked}}}
evaluate: {{fusion_users: {asked}}}
threads: 1
"""


def commands(folder: Path, size: int) -> dict[str, list[object]]:
    """What each stage runs, in the order in which they need each other."""
    world, tokens, run = (folder / f"{name}-{size}" for name in ("world", "tokens", "run"))
    named = ("--user", "user_id", "--item", "item_id", "--time", "timestamp")
    sizes = ("--users", size // USERS, "--items", size // ITEMS, "--interactions", size)
    users = folder / f"users-{size}.txt"
    return {
        "generate": ["generate", *sizes, "-o", world, "--overwrite"],
        "tokenize": ["tokenize", world / "interactions", *named, "--threads", 1, "-o", tokens, "--overwrite"],
        "train": ["train", folder / f"run-{size}.yaml", "--vocabulary", tokens, "-o", run, "--overwrite"],
        "evaluate": ["evaluate", run, "--users", ASKED, "--no-unseen"],
        "recommend": ["recommend", run, "--users", users, "-o", folder / f"lists-{size}.parquet"],
    }


def measured(arguments: list[object]) -> dict[str, float]:
    """Runs a command; its processor seconds, seconds and peak bytes."""
    began = time.monotonic()
    argv = [sys.executable, "-m", "metatoken", *map(str, arguments)]
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
        width = max(4, len(str(size // USERS)))
        names = (f"u{user:0{width}d}" for user in range(1, min(ASKED, size // USERS) + 1))
        (folder / f"users-{size}.txt").write_text("\n".join(names) + "\n")
        (folder / f"run-{size}.yaml").write_text(CONFIG.format(world=folder / f"world-{size}", asked=ASKED))
        for stage, argv in commands(folder, size).items():
            if stage not in stages or (stage, size) in done:
                continue
            line = {"stage": stage, "users": size // USERS, "items": size // ITEMS, "interactions": size}
            line |= measured(argv)
            with table.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


def lines(table: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "fit"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.out, given.sizes, given.stages)


if __name__ == "__main__":
    main()
