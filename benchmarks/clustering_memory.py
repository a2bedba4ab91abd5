"""Fit and assign from a memory-mapped file: time and anonymous memory for ten times the rows.

    python benchmarks/clustering_memory.py --rows 1000000 10000000 --threads 2

Writes clustered float32 rows to a temporary .npy file (2.56 GB for 10M x 64), deletes it in the end, and measures every
case in a process of its own: wall time, and the peak of RssAnon in /proc/self/status above its value before the call.
Mapped pages are not in it: the kernel takes them back when it needs the memory. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from clustering import make_rows
from peers.clusterers import Clock

CASES: dict[str, dict[str, Any]] = {
    "flat [256]": {"levels": [256]},
    "residual [256, 256]": {"levels": [256, 256]},
    "tree [64, 64, 64]": {"levels": [64, 64, 64], "method": "tree"},
}
BLOCK = 500_000


def anonymous() -> int:
    """RssAnon of this process, bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon; this needs Linux")


class Peak:
    """Largest `anonymous()` above its first value while the block runs, looked at every 5 ms."""

    def __enter__(self) -> Self:
        self.base, self.most, self.stop = anonymous(), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        """Looks until told to stop."""
        while not self.stop.wait(0.005):
            self.most = max(self.most, anonymous() - self.base)

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def write_rows(path: Path, n: int, dim: int) -> None:
    """The rows of `clustering.make_rows`, block by block."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (n, dim))
    for begin in range(0, n, BLOCK):
        size = min(BLOCK, n - begin)
        out[begin : begin + size] = make_rows(size, dim, seed=1)[np.random.default_rng(begin).permutation(size)]


def child(path: Path, n: int, case: str, sample: int, threads: int) -> dict[str, Any]:
    """One case: fit, then assign the same rows."""
    from metatoken.tokens.codes.clustering import fit

    x = np.load(path, mmap_mode="r")[:n]
    fit(np.asarray(x[:1000]), [4], threads=threads)  # imports and thread pools
    result: dict[str, Any] = {"case": case, "rows": n}
    with Peak() as peak, Clock() as clock:
        book = fit(x, sample=sample, threads=threads, **CASES[case])
    result["fit"], result["fit_cpu"] = clock.seconds, clock.cpu
    result["fit_bytes"] = peak.most
    with Peak() as peak, Clock() as clock:
        codes = book.assign(x, threads=threads)
    result["assign"], result["assign_cpu"] = clock.seconds, clock.cpu
    result["assign_bytes"] = peak.most
    return result | {
        "inertia": book.report.inertia[-1] / n,
        "tokens": int(codes.max()) + 1,
        "kernel": book.report.kernel,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000_000, 10_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--sample", type=int, default=65_536)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    if args.child:
        path, n, case = args.child
        print(json.dumps(child(Path(path), int(n), case, args.sample, args.threads)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, args.rows[1], args.dim)
        options = ["--sample", str(args.sample), "--threads", str(args.threads)]
        print("| case | rows | fit s | fit MB | assign s | assign MB | inertia a row |\n|---|---|---|---|---|---|---|")
        for case in CASES:
            for n in args.rows:
                command = [sys.executable, __file__, *options, "--child", str(path), str(n), case]
                row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                found.append(row)
                cells = f"{row['fit']:.2f} | {row['fit_bytes'] / 1e6:.0f} | {row['assign']:.2f}"
                print(
                    f"| {case} | {n} | {cells} | {row['assign_bytes'] / 1e6:.0f} | {row['inertia']:.4f} |", flush=True
                )
            small, large = found[-2:]
            for name, suffix in (("ratio", ""), ("ratio of CPU time", "_cpu")):
                fit_ratio, assign_ratio = (large[key + suffix] / small[key + suffix] for key in ("fit", "assign"))
                print(f"| {case} | {name} | {fit_ratio:.2f} | | {assign_ratio:.2f} | | |")
    if args.output:
        args.output.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
