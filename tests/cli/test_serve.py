"""`metatoken serve` as a process of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Refuse
from tests.conftest import TrainedRun


@pytest.fixture
def folder(trained_run: TrainedRun) -> Path:
    return Path(trained_run.run.folder)


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server and its address."""
    command = [
        sys.executable,
        "-m",
        "metatoken",
        "serve",
        str(folder),
        "--port",
        "0",
        "--threads",
        "1",
        "--wait",
        "300",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"at (\S+) \(stop with Ctrl-C\)", line)
        assert address, (line, process.stderr and process.stderr.read())
        yield process, address[1]
    finally:
        process.kill()
        process.wait(20)


def ready(address: str) -> httpx2.Client:
    client = httpx2.Client(base_url=address, trust_env=False, timeout=30)
    for _ in range(600):
        try:
            if client.get("/health").status_code == 200:
                return client
        except httpx2.ConnectError:
            time.sleep(0.05)
    raise TimeoutError(address)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_what_it_has_begun_and_stops(
    number: signal.Signals, server: tuple[subprocess.Popen[str], str]
) -> None:
    process, address = server
    client = ready(address)
    answers = []
    body = {"history": [], "k": 3}
    thread = threading.Thread(
        target=lambda: answers.append(httpx2.post(f"{address}/recommend", json=body, trust_env=False))
    )
    thread.start()
    while "metatoken_queue_length 1" not in client.get("/metrics").text:
        assert thread.is_alive()
    client.close()
    process.send_signal(number)
    thread.join(20)
    assert [len(one.json()["items"]) for one in answers] == [3]
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert process.returncode == (130 if number == signal.SIGINT else 143)


def test_a_port_that_is_taken(refuse: Refuse, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        message = refuse("serve", folder, "--port", taken.getsockname()[1])
    assert message.startswith("--port: cannot listen at 127.0.0.1:")
    assert "host.invalid" in refuse("serve", folder, "--host", "host.invalid")


def test_without_the_extra(refuse: Refuse, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else find(name))
    assert refuse("serve", folder) == "serving needs fastapi: pip install 'metatoken[serve]'"


def test_what_cannot_be_served(refuse: Refuse, tmp_path: Path, folder: Path) -> None:
    assert "is not a run folder" in refuse("serve", tmp_path / "nothing", "--port", 0)
    assert refuse("serve", folder, "--timeout", 0).startswith("timeout_s: expected a number above 0")
    assert refuse("serve", folder, "--queue", 3).startswith("queue: expected room for a batch of 64 requests")
