"""Attacks on every command, counted: `python -m tests.faults.campaign` (`make faults`); pytest runs a few of each.

Each attack gives the number of tries and a list of what went wrong; nothing may. Arguments are numbers of tries:
`python -m tests.faults.campaign kills=20 calls=100` makes these attacks alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.altering import altered
from tests.faults.bed import make_base
from tests.faults.border import border
from tests.faults.calls import wrong_calls
from tests.faults.kills import full_disks, kills
from tests.faults.resealed import resealed
from tests.faults.server import server
from tests.faults.zygote import Zygote

ATTACKS: dict[str, tuple[Callable[[Zygote, Path, Path, int], tuple[int, list[str]]], int]] = {
    "kills": (kills, 500),
    "altered": (altered, 1500),
    "resealed": (resealed, 1500),
    "disks": (full_disks, 200),
    "calls": (wrong_calls, 2000),
    "border": (border, 3000),
    "server": (server, 60),  # seconds
}


def main(*asked: str) -> int:
    """Runs every attack, or those that are asked for, and prints the counts; 1 if anything went wrong."""
    counts = {name: tries for name, (_, tries) in ATTACKS.items()}
    if asked:
        counts = {name: int(tries) for name, _, tries in (one.partition("=") for one in asked)}
    failed = 0
    with tempfile.TemporaryDirectory() as name, Zygote() as zygote:
        folder = Path(name)
        base = make_base(zygote, folder)
        for attack, count in counts.items():
            began = time.monotonic()
            tries, wrong = ATTACKS[attack][0](zygote, base, folder, count)
            failed += len(wrong)
            print(f"{attack}: {tries} tries, {len(wrong)} went wrong ({time.monotonic() - began:.0f} s)", flush=True)
            print("".join(f"  {one}\n" for one in wrong), end="", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
