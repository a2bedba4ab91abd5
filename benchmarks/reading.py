"""Reading a large CSV: our reader against bare polars, in the same process, in turns.

    python benchmarks/reading.py                 # 30 million rows of user, item, rating, time
    python benchmarks/reading.py --rows 3000000

**table**: `metatoken.data.readers.read_table`, the columns as text, each row's line known for errors, against
`polars.read_csv` of the same file, which infers types (**polars**) or reads text (**polars text**). **log**:
`Interactions.read`, checked, with ids sorted and rows by user and time, against the fastest program of polars that we
know for the same without checks (**polars log**), and against its reading alone. **inspect**: the same and the audit.
The median of the rounds counts, of the clock and of the processor: the clock alone says little on a machine that others
use, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metatoken.data import Interactions, audit
from metatoken.data.readers import read_table

NAMES = ["user", "item", "rating", "time"]


def write_log(path: Path, rows: int) -> None:
    """A log in no order: 30 rows of a user on average, popular items first, half stars, seconds of some years."""
    rng = np.random.default_rng(0)
    columns = {
        "user": rng.integers(0, max(1, rows // 30), rows),
        "item": rng.zipf(1.3, rows) % 100_000,
        "rating": rng.integers(1, 11, rows) / 2,
        "time": rng.integers(1_200_000_000, 1_700_000_000, rows),
    }
    pl.DataFrame(columns).write_csv(path)


def log_of_polars(path: Path) -> pl.DataFrame:
    """Rows by user and time, with dense ids sorted as text."""
    frame = pl.read_csv(path, schema_overrides={"user": pl.String, "item": pl.String})
    codes = [frame[name].cast(pl.Enum(frame[name].unique().sort())).to_physical() for name in ("user", "item")]
    return frame.with_columns(codes).sort("user", "time", maintain_order=True)


def _compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and our speed over that of polars."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "seconds": {name: round(value, 2) for name, value in median.items()},
        "table: speed over polars": round(median["polars"] / median["table"], 2),
        "table: speed over polars text": round(median["polars text"] / median["table"], 2),
        "log: speed over polars log": round(median["polars log"] / median["log"], 2),
        "log: speed over polars, which only reads": round(median["polars"] / median["log"], 2),
        "inspect: speed over polars log": round(median["polars log"] / median["inspect"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        write_log(path, options.rows)
        steps: dict[str, Callable[[], Any]] = {
            "polars": lambda: pl.read_csv(path),
            "polars text": lambda: pl.read_csv(path, infer_schema=False),
            "table": lambda: read_table(path, NAMES),
            "polars log": lambda: log_of_polars(path),
            "log": lambda: Interactions.read(path, time="time", rating="rating"),
            "inspect": lambda: audit(Interactions.read(path, time="time", rating="rating")),
        }
        clocks = {"clock": time.perf_counter, "processor": time.process_time}
        seconds: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in steps} for clock in clocks}
        for _ in range(options.rounds):
            for name, step in steps.items():
                began = {clock: now() for clock, now in clocks.items()}
                step()
                for clock, now in clocks.items():
                    seconds[clock][name].append(now() - began[clock])
    found = {
        "rows": options.rows,
        "threads": pl.thread_pool_size(),
        **{clock: _compared(values) for clock, values in seconds.items()},
        "peak memory, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
