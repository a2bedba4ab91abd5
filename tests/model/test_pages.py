"""Tables keep their values on large pages, and nothing is asked for what cannot lie there."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import pytest
import torch

from metatoken.model import pages
from metatoken.model.pages import LARGE, on_large_pages


def huge() -> int:
    """Bytes of this process on large pages."""
    found = re.search(r"AnonHugePages:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(encoding="ascii"))
    return 0 if found is None else int(found[1]) << 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="large pages are asked for on Linux")
def test_a_table_keeps_its_values() -> None:
    table = torch.arange(12 * LARGE, dtype=torch.float32)
    before, held = table.clone(), huge()
    moved = on_large_pages([table])
    assert torch.equal(table, before)
    if not moved:
        pytest.skip("this system does not move memory that is in use")
    assert table.nbytes - 2 * LARGE < moved <= table.nbytes
    assert moved % LARGE == 0
    assert huge() >= held + moved // 2


def test_what_cannot_lie_there_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = torch.zeros(LARGE, 2)
    left = [torch.zeros(10), torch.zeros(0), wide.T, wide.to("meta"), torch.eye(3).to_sparse()]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Recorder())
    assert on_large_pages(left) == 0
    monkeypatch.setattr(sys, "platform", "darwin")
    assert on_large_pages([wide]) == 0


class Recorder:
    """A C library whose `madvise` must not be asked."""

    def madvise(self, *_: object) -> int:
        pytest.fail("asked")


@pytest.mark.parametrize("answers", [[-1], [0, -1]])
def test_a_system_that_refuses_is_left_alone(answers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter(answers)

    class Refuses:
        def madvise(self, *_: object) -> int:
            return next(given)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Refuses())
    assert on_large_pages([torch.zeros(4 * LARGE)]) == 0
    assert list(given) == []


def test_a_system_without_such_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert pages.on_large_pages([torch.zeros(4 * LARGE)]) == 0
