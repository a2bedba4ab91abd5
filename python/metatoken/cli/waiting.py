"""How torch's threads wait for each other: they sleep instead of spinning, so that other programs get the cores.

By default a thread of OpenMP spins for milliseconds before it sleeps. Between the many short operations of a training
step that looks fast, but a second program on the machine, and the native core in the same one, then wait for threads
that do nothing. The variables are read when the library is loaded, hence before torch, and only a command sets them: a
library must not change the environment of the program that imports it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# GNU's OpenMP counts rounds (about 100,000 a millisecond), LLVM's and Intel's milliseconds.
POLITE = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
KNOWN = ("OMP_WAIT_POLICY", *POLITE)


def wait_politely(environment: MutableMapping[str, str] = os.environ) -> None:
    """Makes threads sleep soon, unless the user has said how they wait."""
    if not any(name in environment for name in KNOWN):
        environment.update(POLITE)


def wait_policy(environment: MutableMapping[str, str] = os.environ) -> str:
    """How threads wait, in words."""
    found = {name: environment[name] for name in KNOWN if name in environment}
    if found == POLITE:
        return "sleep soon when they wait"
    return "wait as " + (", ".join(f"{name}={value}" for name, value in found.items()) or "OpenMP does by default")
