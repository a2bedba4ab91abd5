"""A real `metatoken serve` under concurrent clients: `python benchmarks/serving.py --run run/`.

Without `--run` a small run is trained first. Every client asks over its own connection, one request after the other:
known users and histories, half of them with a filter, ranked by `fused` and by `generation` in turn. Every answer is
checked: status 200, k items, each once, none of the history, none that the filter forbids. Then the same load meets the
same server without batching (`--batch 1`), and the ratio is printed. Memory is read from /proc (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from metatoken.run import load_run

K = 10
WARM_S = 5.0


@dataclass
class Seen:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """A body and what its answer must be."""

    body: bytes
    allowed: frozenset[str]


def train(folder: Path, users: int, items: int) -> Path:
    """A run of one epoch on a generated world whose items have prices."""
    from metatoken.data import generate_world
    from metatoken.data.settings import LogSettings
    from metatoken.model.settings import ModelSettings
    from metatoken.run import train_run
    from metatoken.run.config import Config
    from metatoken.run.settings import TrainerSettings

    log, table = generate_world(n_users=users, n_items=items, seed=0).write(folder / "world")
    head, *lines = table.read_text().splitlines()
    prices = np.random.default_rng(0).integers(1, 100, len(lines))
    rows = [f"{line},{price}" for line, price in zip(lines, prices, strict=True)]
    table.write_text("\n".join([f"{head},price", *rows]) + "\n")
    data = LogSettings(
        path=log, user="user_id", item="item_id", time="timestamp", items=table, title="title", categories="categories"
    )
    model = ModelSettings(preset={"dim": 64, "layers": 2, "heads": 2}, max_history=20, warmup_steps=20)
    trainer = TrainerSettings(max_epochs=1, batch_size=64, accelerator="cpu")
    train_run(Config(data=data, model=model, trainer=trainer), folder / "run", overwrite=True)
    return folder / "run"


def questions(run: Path, count: int, where: str) -> list[Question]:
    """Different requests over a run, with what they may be answered."""
    loaded = load_run(run)
    log, catalogue = loaded.split.log, loaded.catalogue
    rng, made = np.random.default_rng(0), []
    passing = frozenset(np.array(catalogue.items.raw)[catalogue.mask(where)].tolist())
    for place in range(count):
        body: dict[str, Any] = {"k": K, "model": ("fused", "generation")[place % 2]}
        if place % 4 < 2:
            user = int(rng.integers(log.n_users))
            body["user"], seen = log.users.raw[user], [log.items.raw[row] for row in log.sequences()[user]]
        else:
            rows = rng.choice(log.n_items, int(rng.integers(1, 20)), replace=False)
            body["history"] = seen = [log.items.raw[row] for row in rows]
        allowed = frozenset(log.items.raw)
        if place % 8 >= 4:
            body["where"], allowed = where, passing
        made.append(Question(json.dumps(body).encode(), allowed - frozenset(seen)))
    must(min(len(one.allowed) for one in made) >= K, f"the filter leaves fewer than {K} items")
    return made


def must(holds: object, otherwise: str) -> None:
    if not holds:
        sys.exit(otherwise)


def number(pattern: str | bytes, text: Any, otherwise: str) -> int:
    """The number in the first group of a pattern, which must be found."""
    found = re.search(pattern, text)
    return int(found[1]) if found else sys.exit(otherwise)


@contextmanager
def server(run: Path, *options: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its process id and port."""
    # A background job of a shell ignores Ctrl-C, and so would a server that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "metatoken", "serve", str(run), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        try:
            yield process.pid, number(r":(\d+) \(stop", line, "the server did not start")
            process.send_signal(signal.SIGINT)
            must(process.wait(30) == 130, "the server did not stop by itself")
        finally:
            process.kill()


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return number(r"VmRSS:\s+(\d+)", status, "the system does not say how much memory the server has") / 1024


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> tuple[int, bytes]:
    """One request of HTTP/1.1 over an open connection; written by hand, so that the client takes little of the CPU."""
    about = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST /recommend HTTP/1.1\r\n{about}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = number(rb"(?i)content-length: (\d+)", answer, "an answer without a length")
    return int(answer.split(b" ", 2)[1]), await reader.readexactly(length)


async def client(port: int, asked: list[Question], first: int, end: float, seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    place = first
    while time.perf_counter() < end:
        one = asked[place % len(asked)]
        place += 1
        started = time.perf_counter()
        status, body = await post(reader, writer, one.body)
        seen.seconds.append(time.perf_counter() - started)
        items = [item["item"] for item in json.loads(body).get("items", ())]
        if status != 200 or len(items) != K or len(set(items)) != K or not set(items) <= one.allowed:
            seen.errors.append(f"{status} {body[:200]!r}")
    writer.close()


async def load(pid: int, port: int, asked: list[Question], clients: int, seconds: float) -> tuple[Seen, list[float]]:
    """Clients side by side for a while, and the server's memory over that time."""
    seen, memory = Seen(), []
    end = time.perf_counter() + seconds
    tasks = [asyncio.create_task(client(port, asked, n * 97, end, seen)) for n in range(clients)]
    while time.perf_counter() < end:
        memory.append(resident_mib(pid))
        await asyncio.sleep(min(5.0, max(0.01, end - time.perf_counter())))
    await asyncio.gather(*tasks)
    memory.append(resident_mib(pid))
    return seen, memory


def measure(run: Path, asked: list[Question], clients: int, seconds: float, *options: str) -> dict[str, Any]:
    with server(run, *options) as (pid, port):
        asyncio.run(load(pid, port, asked, clients, WARM_S))
        seen, memory = asyncio.run(load(pid, port, asked, clients, seconds))
    times = np.array(seen.seconds) * 1000
    return {
        "options": options, "requests": len(times), "errors": len(seen.errors), "first_errors": seen.errors[:3],
        "per_second": len(times) / seconds, "mean_ms": float(times.mean()), "max_ms": float(times.max()),
        **{f"p{p}_ms": float(np.percentile(times, p)) for p in (50, 95, 99)},
        "memory_mib": memory,
    }  # fmt: skip


def show(name: str, found: dict[str, Any]) -> None:
    times = ", ".join(f"{key[:-3]} {found[key]:.1f} ms" for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
    memory = found["memory_mib"]
    print(f"{name}: {found['requests']} requests, {found['errors']} errors, {found['per_second']:.0f}/s, {times}")
    print(f"  memory {memory[0]:.0f} MiB at the start, {memory[-1]:.0f} at the end, {max(memory):.0f} at most")
    for error in found["first_errors"]:
        print(f"  {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="a run whose items have a price; by default one is trained")
    parser.add_argument("--train-to", type=Path, help="only train that run in this folder")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--where", default="price < 50", help="the filter of half the requests")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.train_to is not None:
            print(train(args.train_to, args.users, args.items))
            return
        run = args.run or train(Path(folder), args.users, args.items)
        others = os.getloadavg()[0]  # before our own work
        asked = questions(run, 4096, args.where)
        threads = ("--threads", str(args.threads))
        batched = measure(run, asked, args.clients, args.seconds, *threads)
        alone = measure(run, asked, args.clients, args.seconds / 4, *threads, "--batch", "1", "--wait", "0")
    names = ("torch", "fastapi", "uvicorn", "metatoken")
    machine = {
        "cores": os.cpu_count(),
        "threads": args.threads,
        "load_before": others,
        "versions": {name: version(name) for name in names},
    }
    print(f"{args.clients} clients; {machine}")
    show("batches", batched)
    show("one by one", alone)
    ratio = batched["per_second"] / alone["per_second"]
    print(f"batching answers {ratio:.2f} times as many requests a second")
    if args.output is not None:
        args.output.write_text(
            json.dumps(machine | {"batched": batched, "alone": alone, "ratio": ratio}, indent=2) + "\n"
        )
    if batched["errors"] or alone["errors"]:
        sys.exit("there were errors")


if __name__ == "__main__":
    main()
