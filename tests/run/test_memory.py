"""A process that trains keeps what it frees, where the allocator is glibc's and nobody has said otherwise."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from metatoken.run import memory

FAULTS = """
import resource, sys
import numpy as np
from metatoken.run.memory import keep_memory
kept = keep_memory() if sys.argv[1] == "keep" else False
for step in range(40):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tables = [np.ones(3 << 18) for _ in range(16)]
    del tables
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(what: str, **variables: str) -> tuple[bool, int]:
    """Whether memory is kept, and page faults of thirty steps of 16 tables of 6 MB."""
    environment = {name: value for name, value in os.environ.items() if name not in memory.KNOWN} | variables
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, what], env=environment, check=True, capture_output=True, text=True
    )
    kept, count = done.stdout.split()
    return kept == "1", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_steps_ask_the_system_for_their_memory_once() -> None:
    kept, few = faults("keep")
    assert kept
    assert few < 1000
    assert faults("leave")[1] > 30 * few


@pytest.mark.parametrize("name", memory.KNOWN)
def test_what_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "65536")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("the allocator was told something"))
    assert not memory.keep_memory()


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_another_allocator_is_left_alone(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_name: str) -> str:
        raise error

    for name in memory.KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "confstr", unknown)
    assert not memory.keep_memory()
