"""A headless Chromium, driven over its own debugging protocol: no driver, no further package than `websockets`."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEYS = {"Enter": 13, "ArrowDown": 40, "ArrowUp": 38, "Escape": 27, "Tab": 9}


def browser_path() -> str | None:
    """The program, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.number = socket, 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == self.number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page, promises awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 20.0) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < end, f"never came true: {expression}\n{self.js('document.body.innerText')}"
            time.sleep(0.02)

    def open(self, url: str) -> None:
        """Loads an address."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def type(self, selector: str, text: str) -> None:
        """Puts text where a person would type it, in place of what is there."""
        self.js(f"(() => {{ const e = document.querySelector({selector!r}); e.focus(); e.select(); }})()")
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Presses a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])
            if key == "Enter" and kind == "rawKeyDown":
                self.call("Input.dispatchKeyEvent", type="char", key=key, text="\r", windowsVirtualKeyCode=13)

    def click(self, selector: str) -> None:
        """Clicks in the middle of an element with the mouse."""
        find = f"document.querySelector({selector!r})"
        self.js(f"{find}.scrollIntoView({{block: 'center'}})")
        box = self.js(
            f"(() => {{ const r = {find}.getBoundingClientRect(); return [r.x + r.width/2, r.y + r.height/2] }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def shape(self, width: int, height: int, scheme: str = "light") -> None:
        """Size of the window, and light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        """What the browser logged: script errors, refused content, failed requests."""
        self.js("0")
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"])
        return found

    def addresses(self) -> list[str]:
        """Everything that was asked for."""
        asked = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in asked]


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A browser with one empty page.

    Args:
        profile: An empty folder.
    """
    program = browser_path()
    assert program is not None
    arguments = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
        "--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    with (profile / "log").open("w") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        port = _port(profile, process)
        with connect(f"ws://127.0.0.1:{port}{_target(port)}", max_size=1 << 26) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(20)


def _port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that the browser chose, which it writes into its profile."""
    file = profile / "DevToolsActivePort"
    for _ in range(1500):
        if file.is_file() and "\n" in (text := file.read_text()):
            return int(text.split("\n")[0])
        assert process.poll() is None, (profile / "log").read_text()
        time.sleep(0.02)
    raise TimeoutError((profile / "log").read_text())


def _target(port: int) -> str:
    """Path of the page's socket."""
    import httpx2

    while True:
        pages = httpx2.get("".join(["http:", f"//127.0.0.1:{port}/json"]), trust_env=False).json()
        for page in pages:
            if page["type"] == "page":
                return "/" + page["webSocketDebuggerUrl"].split("/", 3)[3]
        time.sleep(0.05)
