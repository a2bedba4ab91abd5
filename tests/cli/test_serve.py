"""`metatoken serve` as a process of its own."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from metatoken.extras import install_extra
from metatoken.run.folder import RunFolder
from metatoken.run.manifest import version_of
from tests.cli.conftest import Refuse
from tests.conftest import TrainedRun
from tests.files import reseal


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


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no SIGHUP")
def test_it_takes_up_new_runs_by_signal_and_by_request(folder: Path, tmp_path: Path) -> None:
    """A link that is turned and a signal; a name and a token. What is broken is refused."""
    for name in ("one", "two"):
        shutil.copytree(folder, tmp_path / name)
    about = RunFolder(tmp_path / "two").source
    about.write_text(about.read_text() + "\n")
    reseal(tmp_path / "two")
    one, two = (version_of(RunFolder(tmp_path / name)) for name in ("one", "two"))
    (tmp_path / "now").symlink_to("one")
    (tmp_path / "token").write_text("admin\n")
    options = ("--port", "0", "--threads", "1", "--reload", "--reload-token-file", tmp_path / "token")
    command = [sys.executable, "-m", "metatoken", "serve", tmp_path / "now", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = re.search(r"at (\S+) \(stop", process.stdout.readline())
        assert address
        with closing(ready(address[1])) as client:
            assert client.get("/health").json()["version"] == one
            (tmp_path / "next").symlink_to("two")
            (tmp_path / "next").rename(tmp_path / "now")
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == f"serving version {two}, before {one}\n"
            admin = {"authorization": "Bearer admin"}
            assert client.post("/reload", json={"run": "one"}, headers=admin).json() == {"version": one, "was": two}
            (tmp_path / "now").unlink()
            process.send_signal(signal.SIGHUP)
            while 'result="refused"} 1' not in client.get("/metrics").text:
                time.sleep(0.02)
            assert client.post("/recommend", json={"history": []}).json()["version"] == one
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"now: is not a run folder; nothing is there; version {one} goes on" in errors
    assert "Traceback" not in errors


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
    monkeypatch.setattr("metatoken.extras.find_spec", lambda name: None if name == "fastapi" else find(name))
    assert refuse("serve", folder) == f"serving needs fastapi: {install_extra('serve')}"


def test_what_cannot_be_served(refuse: Refuse, tmp_path: Path, folder: Path) -> None:
    assert "is not a run folder" in refuse("serve", tmp_path / "nothing", "--port", 0)
    assert refuse("serve", folder, "--timeout", 0).startswith("timeout_s: expected a number above 0")
    assert refuse("serve", folder, "--queue", 3).startswith("queue: expected room for a batch of 64 requests")
    (tmp_path / "token").write_text("two words")
    message = refuse("serve", folder, "--reload-token-file", tmp_path / "token")
    assert message.startswith("--reload-token-file: expected one token")
