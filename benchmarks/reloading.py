"""A real `metatoken serve` under 16 clients while ten versions come: `python benchmarks/reloading.py --run run/`.

Without `--run` a small run is trained first. Of the run two versions are made, whose titles begin with their names.
Every client asks over its own connection, one request after the other, every other one for a batch of eight. Every
answer is checked: status 200, no error within, and every title of the version that the answer names. The same load is
measured without and with reloads, and the 95th percentiles of the waiting are printed beside each other, with the
memory after each reload. Memory is read from /proc (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from serving import WARM_S, must, number, resident_mib, server, train

from metatoken.artifacts import read_json
from metatoken.data import Catalogue
from metatoken.run import RunFolder
from metatoken.run.manifest import seal, version_of
from metatoken.tokens.vocabulary import Vocabulary

K, TOGETHER = 10, 8  # items of an answer, requests of a batch
TOKEN = "reloads-of-the-benchmark"  # noqa: S105 (of a server that lives for a minute)


@dataclass
class Seen:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    mixed: int = 0
    versions: set[str] = field(default_factory=set)


def make_version(run: Path, place: Path) -> str:
    """Copies a run with titles that begin with the name of its new folder; its version."""
    shutil.copytree(run, place)
    folder = RunFolder(place)
    catalogue = Catalogue.load(folder.items, Vocabulary.load(folder.vocabulary).items)
    titles = [f"{place.name} {title}" for title in catalogue.titles]
    Catalogue(catalogue.items, catalogue.frame.with_columns(title=np.array(titles))).save(folder.items)
    seal(folder, "finished", read_json(run / "manifest.json").get("backbone"))
    return version_of(folder)


def questions(run: Path, count: int) -> list[bytes]:
    """Bodies of different histories, every other one a batch."""
    items = Vocabulary.load(RunFolder(run).vocabulary).items.raw
    rng, made = np.random.default_rng(0), []
    for place in range(count):
        asks = [
            {"history": [items[row] for row in rng.choice(len(items), rng.integers(1, 20), replace=False)], "k": K}
            for _ in range(TOGETHER)
        ]
        made.append(json.dumps({"requests": asks} if place % 2 else asks[0]).encode())
    return made


async def post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
) -> tuple[int, dict[str, Any]]:
    """One request of HTTP/1.1 over an open connection: status and answer."""
    about = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"POST {path} HTTP/1.1\r\n{about}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = number(rb"(?i)content-length: (\d+)", head, "an answer without a length")
    return int(head.split(b" ", 2)[1]), json.loads(await reader.readexactly(length))


async def client(
    port: int, asked: list[bytes], first: int, stop: asyncio.Event, names: dict[str, str], seen: Seen
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    place = first
    while not stop.is_set():
        started = time.perf_counter()
        status, answer = await post(reader, writer, "/recommend", asked[place % len(asked)])
        seen.seconds.append(time.perf_counter() - started)
        place += 1
        lists = [one.get("items", ()) for one in answer.get("results", [answer])]
        if status != 200 or any(len(items) != K for items in lists):
            seen.errors.append(f"{status} {str(answer)[:200]}")
            continue
        seen.versions.add(answer["version"])
        said = {item["title"].split(" ", 1)[0] for items in lists for item in items}
        seen.mixed += said != {names[answer["version"]]}
    writer.close()


async def load(
    pid: int, port: int, asked: list[bytes], names: dict[str, str], args: argparse.Namespace, reloads: int
) -> tuple[Seen, list[float]]:
    """Clients side by side for a while, over which so many reloads are spread, and the memory after each of them."""
    seen, stop, memory = Seen(), asyncio.Event(), [resident_mib(pid)]
    tasks = [asyncio.create_task(client(port, asked, n * 97, stop, names, seen)) for n in range(args.clients)]
    folders = list(names.values())
    for turn in range(max(1, reloads)):
        await asyncio.sleep(args.seconds / max(1, reloads))
        if reloads:
            name = folders[(turn + 1) % 2]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            status, answer = await post(reader, writer, "/reload", json.dumps({"run": name}).encode())
            must(status == 200 and names[answer["version"]] == name, f"a reload failed: {status} {answer}")
            writer.close()
            memory.append(resident_mib(pid))
    stop.set()
    await asyncio.gather(*tasks)
    return seen, [*memory, resident_mib(pid)]


def show(name: str, seen: Seen, memory: list[float]) -> dict[str, Any]:
    times = np.array(seen.seconds) * 1000
    found = {"requests": len(times), "errors": len(seen.errors), "mixed": seen.mixed, "versions": len(seen.versions)}
    found |= {f"p{p}_ms": round(float(np.percentile(times, p)), 2) for p in (50, 95, 99)}
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in found.items())}, max {times.max():.0f} ms")
    print(f"  memory in MiB: {', '.join(f'{one:.0f}' for one in memory)}")
    for error in seen.errors[:3]:
        print(f"  {error}")
    return found | {"memory_mib": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="a run; by default one is trained")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement, reloading aside")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = args.run or train(Path(place), args.users, args.items)
        names = {make_version(run, Path(place) / name): name for name in ("even", "odd")}
        (Path(place) / "token").write_text(TOKEN)
        options = ("--threads", str(args.threads), "--reload-token-file", str(Path(place) / "token"))
        asked = questions(run, 512)
        with server(Path(place) / "even", *options) as (pid, port):
            warm = argparse.Namespace(**{**vars(args), "seconds": WARM_S})
            asyncio.run(load(pid, port, asked, names, warm, 0))
            found = {}
            for title, reloads in (("without reloads", 0), (f"{args.reloads} reloads", args.reloads)):
                found[title] = show(title, *asyncio.run(load(pid, port, asked, names, args, reloads)))
    alone, reloading = (one["p95_ms"] for one in found.values())
    print(f"p95 {alone} ms without, {reloading} ms with reloads: x {reloading / alone:.2f}")
    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=2) + "\n")
    if any(one["errors"] or one["mixed"] for one in found.values()):
        sys.exit("there were errors or mixed versions")


if __name__ == "__main__":
    main()
