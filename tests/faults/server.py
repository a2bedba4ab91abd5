"""A server under clients of which some are hostile: honest ones are answered soon, and `/health` is true throughout."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.faults.zygote import Zygote

Found = tuple[int, list[str]]
CLIENTS, SHARE = 64, 0.1  # of requests that are hostile
SLOWER = 2.0  # times the 95th percentile of before
PATIENCE, HELD = 30.0, 0.5  # seconds for an answer; that a connection is held with half a request
BAD = "price < " + "1" * 1900 + "x"


def request(path: str, body: bytes = b"", *, method: str = "POST", close: bool = False, **headers: str) -> bytes:
    """A request of HTTP/1.1; a header that is given as empty is left out."""
    given = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    given |= {"Connection": "close" if close else "keep-alive"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(value: object, **headers: str) -> bytes:
    """A question, as JSON."""
    return request("/recommend", json.dumps(value).encode(), close=True, **headers)


WHOLE: dict[str, bytes] = {
    "no JSON": request("/recommend", b"{", close=True),
    "nested deep": request("/recommend", b"[" * 200_000, close=True),
    "a number of many digits": request("/recommend", b'{"history": [], "k": ' + b"9" * 200_000 + b"}", close=True),
    "a filter that was slow": ask({"history": [], "where": "price < " + "1" * 9850 + "x"}),
    "a batch of such": ask({"requests": [{"history": [], "where": BAD}] * 64}),
    "a long body": request("/recommend", b" " * 300_000, close=True),
    "a length that is none": request("/recommend", b"{}", close=True, Content_Length="-5"),
    "a length of many digits": request("/recommend", b"{}", close=True, Content_Length="9" * 5000),
    "broken chunks": request("/recommend", b"zz\r\n", close=True, Content_Length="", Transfer_Encoding="chunked"),
    "another content type": ask({"history": []}, Content_Type="text/plain"),
    "another host": ask({"history": []}, Host="evil.example"),
    "a page of somebody else": ask({"history": []}, Origin="http:" + "//evil.example"),
    "an unknown path": request("/" + "x" * 4000, method="GET", close=True),
    "an unknown method": request("/recommend", method="BREW", close=True),
    "long headers": request("/health", method="GET", close=True, X="y" * 100_000),
    "no text": request("/recommend", b"\xff\xfe{}", close=True),
    "no HTTP": b"\x16\x03\x01\x02\x00" + bytes(200),
    "half a character": request("/recommend", b'{"user": "\\ud800"}', close=True),
    "a user of control characters": ask({"user": "\x1b[2J\0"}),
    "a long search": request("/items?q=" + "e" * 5000, method="GET", close=True),
    "more than is allowed": ask({"history": ["x"] * 1001, "k": 10**9, "allow": ["x"] * 10_001}),
    "a batch of nothing": ask({"requests": [{}] * 64}),
    "pipelined": request("/items?q=a", method="GET") * 20,
}
HALVES: dict[str, bytes] = {  # sent, and then nothing
    "half the headers": b"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le",
    "half the body": request("/recommend", b'{"history"', Content_Length="5000"),
}


@dataclass
class Seen:
    """What clients have seen.

    Attributes:
        seconds: Time of each honest answer.
        hostile: Hostile requests that were sent.
        wrong: Honest requests that were not answered, and times at which the server was not well.
    """

    seconds: list[float] = field(default_factory=list)
    hostile: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def p95(self) -> float:
        return float(np.percentile(self.seconds, 95)) if self.seconds else np.inf


def server(zygote: Zygote, base: Path, folder: Path, seconds: int) -> Found:
    """Clients for so many seconds without hostile requests, then for as many with them, each of which is a try."""
    with served(base / "run") as port:
        users = (base / "users.txt").read_text().split()
        asyncio.run(crowd(port, users, min(5, seconds), 0.0))  # what is built at first use is built
        calm = asyncio.run(crowd(port, users, seconds, 0.0))
        storm = asyncio.run(crowd(port, users, seconds, SHARE))
    wrong = [f"without hostile requests: {one}" for one in calm.wrong] + storm.wrong
    slower = storm.p95 / calm.p95
    print(
        f"  {len(calm.seconds)} and {len(storm.seconds)} honest answers, p95 {calm.p95 * 1e3:.0f} and "
        f"{storm.p95 * 1e3:.0f} ms ({slower:.2f} x), {storm.hostile} hostile requests of {len(WHOLE | HALVES)} kinds",
        flush=True,
    )  # fmt: skip
    if seconds >= 30 and slower > SLOWER:  # in a short run a few slow answers decide
        wrong.append(f"honest answers are {slower:.2f} times slower")
    return storm.hostile, wrong


@contextmanager
def served(run: Path) -> Iterator[int]:
    """A server for a run; its port."""
    command = [sys.executable, "-m", "metatoken", "serve", str(run), "--port", "0", "--threads", "1", "--timeout", "20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+) \(stop with", process.stdout.readline())
        assert found
        yield int(found[1])
        assert process.poll() is None, "the server has ended"
    finally:
        process.terminate()
        process.wait(30)


async def crowd(port: int, users: list[str], seconds: float, share: float) -> Seen:
    """Many clients at once, each with one request after the other, and somebody who asks for the health."""
    seen, end = Seen(), time.monotonic() + seconds
    clients = [_client(port, users, random.Random(number), seen, end, share) for number in range(CLIENTS)]  # noqa: S311
    await asyncio.gather(_watch(port, seen, end), *clients)
    return seen


async def _client(port: int, users: list[str], rng: random.Random, seen: Seen, end: float, share: float) -> None:
    names, halves = list(WHOLE), list(HALVES)
    while time.monotonic() < end:
        if rng.random() < share:
            seen.hostile += 1
            name = rng.choice([*names, *halves])
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await _hostile(port, WHOLE.get(name, HALVES.get(name, b"")), half=name in HALVES)
            continue
        asked = {"user": rng.choice(users), "k": rng.randint(1, 20), "model": rng.choice(["fused", "item_head"])}
        await _honest(port, ask(asked), seen, lambda answer: bool(answer.get("items")))


async def _honest(port: int, sent: bytes, seen: Seen, sound: Callable[[dict[str, object]], bool]) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            got = await _exchange(port, sent)
        head, _, body = got.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0] or not sound(json.loads(body)):
            seen.wrong.append(f"answered {got[:200]!r}")
    except (OSError, TimeoutError, ValueError) as error:
        seen.wrong.append(f"{type(error).__name__} after {time.monotonic() - began:.1f} s: {error}")
    seen.seconds.append(time.monotonic() - began)


async def _exchange(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        return await reader.read(-1)
    finally:
        writer.close()


async def _hostile(port: int, sent: bytes, *, half: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(HELD if half else PATIENCE):
            await reader.read(65536)
    finally:
        writer.close()


async def _watch(port: int, seen: Seen, end: float) -> None:
    well = request("/health", method="GET", close=True)
    while time.monotonic() < end:
        before = len(seen.wrong)
        await _honest(port, well, seen, lambda answer: answer["status"] == "ok")
        seen.seconds.pop()
        seen.wrong[before:] = [f"/health {one}" for one in seen.wrong[before:]]
        await asyncio.sleep(0.5)
