"""Assignment and recommendation by the local engine and by Ray: the same bytes, and what Ray costs on top.

python benchmarks/ray_engine.py                                # 10,000,000 x 64 vectors, 20,000 users
python benchmarks/ray_engine.py --rows 100000 --users 500      # a quick look

Writes a line of JSON a measurement to --out, then prints a table: seconds from the call to the finished folder, as a
ratio to the local engine with one thread, and the largest resident memory of the command (with Ray that of the process
that waits, not of the workers). Each measurement is a process of its own. `--kill` also kills a worker in the middle,
by its id, and compares the bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

LEVELS = [256, 256, 512]  # room for 33 million rows
KINDS = {"local": [], "ray 1": ["ray", "1"], "ray 2": ["ray", "2"]}


def make_vectors(path: Path, rows: int, dim: int) -> None:
    """Rows around 1,000 centers, written a block at a time."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(1000, dim)).astype(np.float32)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))
    for begin in range(0, rows, 1 << 18):
        end = min(begin + (1 << 18), rows)
        noise = rng.normal(size=(end - begin, dim)).astype(np.float32)
        out[begin:end] = centers[rng.integers(1000, size=end - begin)] + np.float32(0.5) * noise
    out.flush()


def prepare(place: Path, rows: int, dim: int, users: int) -> None:
    """Vectors, a codebook of a sample of them, a run, a file of users."""
    from metatoken.tokens.codes import clustering

    if not (place / "x.npy").exists():
        make_vectors(place / "x.npy", rows, dim)
    if not (place / "book").exists():
        sample = np.load(place / "x.npy", mmap_mode="r")[: min(rows, 100_000)]
        levels = LEVELS if rows > 1_000_000 else [64, 64, 64]
        clustering.fit(np.ascontiguousarray(sample), levels, seed=0, max_iterations=5).save(place / "book")
    if users and not (place / "demo").exists():
        sizes = ("--users", str(max(users, 50)), "--items", "1000", "--epochs", "1")
        subprocess.run([sys.executable, "-m", "metatoken", "quickstart", *sizes, "-o", place / "demo"], check=True)
    if users:
        import polars as pl

        seen = pl.read_csv(place / "demo" / "world" / "interactions.csv")["user_id"].unique().sort()[:users]
        (place / "users.txt").write_text("\n".join(seen.to_list()) + "\n")


def job(what: str, place: Path, out: Path, engine: list[str]) -> list[str]:
    """The command of a measurement."""
    book, run = str(place / "book"), str(place / "demo" / "run")
    commands = {
        "assign": ["assign", str(place / "x.npy"), "--codebook", book, "--threads", "1", "--overwrite"],
        "recommend": ["recommend", run, "--users", str(place / "users.txt"), "--threads", "1", "--shard-users", "1024"],
    }
    more = ["--engine", engine[0], "--workers", engine[1]] if engine else []
    return [sys.executable, "-m", "metatoken", *commands[what], "-o", str(out), *more]


def measured(command: list[str], kill: bool = False) -> dict[str, Any]:
    """Runs a command; kills one of its workers some seconds after the first has begun, where that is asked for."""
    began, stop, killed = time.perf_counter(), threading.Event(), []
    watcher = threading.Thread(target=kill_worker, args=(stop, killed)) if kill else None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if watcher is not None:
        watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    stop.set()
    if watcher is not None:
        watcher.join()
    seconds, code = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}")
    return {"seconds": seconds, "killed": killed, "peak_gb": usage.ru_maxrss / 1e6}


def kill_worker(stop: threading.Event, killed: list[int]) -> None:
    """Kills one worker of Ray's that is at a shard, once."""
    while not stop.wait(0.2):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                name = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if name.startswith("ray::") and "MapBatches" in name and path.stat().st_uid == os.getuid():
                time.sleep(2)
                try:
                    os.kill(int(path.parent.name), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.append(int(path.parent.name))
                return


def content(folder: Path) -> dict[str, str]:
    """Checksums of the shards."""
    files: dict[str, str] = json.loads((folder / "manifest.json").read_text())["files"]
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=20_000, help="0 leaves recommend out")
    parser.add_argument("--place", type=Path, help="folder of the inputs; kept if given")
    parser.add_argument("--out", type=Path, default=Path("ray_engine.jsonl"))
    parser.add_argument("--kill", action="store_true")
    given = parser.parse_args()
    place = given.place or Path(tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    prepare(place, given.rows, given.dim, given.users)
    print("| job | engine | seconds | of local | memory | bytes |\n|---|---|---|---|---|---|")
    for what in ("assign", "recommend") if given.users else ("assign",):
        alone, first = 0.0, {}
        kinds = KINDS | ({"ray 2, a worker killed": ["ray", "2"]} if given.kill else {})
        for name, engine in kinds.items():
            out = place / f"{what}-{name.replace(' ', '-').replace(',', '')}"
            found = measured(job(what, place, out, engine), "killed" in name)
            alone = alone or found["seconds"]
            first = first or content(out)
            same = "the same" if content(out) == first else "DIFFERENT"
            killed = f" (killed {found['killed']})" if "killed" in name else ""
            with given.out.open("a") as file:
                file.write(json.dumps({"job": what, "engine": name, "same": same, **found}) + "\n")
            ratio, peak = found["seconds"] / alone, f"{found['peak_gb']:.1f} GB"
            print(f"| {what} | {name} | {found['seconds']:.0f} | {ratio:.2f} | {peak} | {same}{killed} |", flush=True)
    if given.place is None:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
