"""Photographs the page of `metatoken serve` for README, as docs/images/page.png.

    python tools/screenshot.py run/ "Star Wars: Episode IV|Empire Strikes Back" 'categories == "Sci-Fi"'

A history is words of titles; the first item that they find is added.

The run's server must not be running; a free port is taken. Needs the extra `dev` and a Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.serve.browser import Tab, chromium  # noqa: E402

TARGET = ROOT / "docs" / "images" / "page.png"
WIDTH, HEIGHT = 1000, 720  # pixels


def photograph(tab: Tab, address: str, history: list[str], where: str) -> None:
    """Fills the form as a person would, asks, and takes the picture."""
    tab.shape(WIDTH, HEIGHT)
    tab.open(address)
    tab.until("document.querySelectorAll('#columns dt').length > 0")
    for item in history:
        held = tab.js("document.querySelectorAll('#history li').length")
        tab.type("#search", item)
        tab.until(f"document.querySelector('#found li')?.innerText.includes({item!r})")
        tab.press("ArrowDown")
        tab.press("Enter")
        tab.until(f"document.querySelectorAll('#history li').length > {held}")
    tab.type("#where", where)
    tab.type("#k", "6")
    tab.click("#go")
    tab.until("document.querySelectorAll('#list > li').length === 6")
    tab.js("document.activeElement.blur(); window.scrollTo(0, 0)")
    time.sleep(0.5)  # until what fades has faded
    assert not tab.complaints(), tab.complaints()  # noqa: S101
    tab.screenshot(TARGET)


def main(run: str, history: str, where: str = "") -> None:
    """Serves the run, opens the page, writes the picture."""
    command = [sys.executable, "-m", "metatoken", "serve", run, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert server.stdout is not None  # noqa: S101
        address = next(word for line in server.stdout for word in line.split() if word.startswith("http"))
        with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as tab:
            photograph(tab, address.rstrip(".,"), history.split("|"), where)
    finally:
        server.terminate()
        server.wait(30)
    print(f"{TARGET.stat().st_size / 1000:.0f} kB in {TARGET}")


if __name__ == "__main__":
    main(*sys.argv[1:])
