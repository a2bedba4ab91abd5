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
    """Bytes of this process on large pages, where the system tells them."""
    told = Path("/proc/self/smaps_rollup")
    found = re.search(r"AnonHugePages:\s+(\d+) kB", told.read_text(encoding="ascii") if told.exists() else "")
    return 0 if found is None else int(found[1]) << 10


def test_a_table_keeps_its_values() -> None:
    table = torch.arange(12 * LARGE, dtype=torch.float32)
    before, held = table.clone(), huge()
    moved = on_large_pages([table])
    assert torch.equal(table, before)
    # A system that does not move memory which is in use moves nothing; what is said to have moved has.
    assert moved in (0, table.nbytes // LARGE * LARGE, table.nbytes // LARGE * LARGE - LARGE)
    assert huge() >= held + moved // 2


def test_every_whole_piece_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Records:
        def madvise(self, begin: ctypes.c_void_p, size: ctypes.c_size_t, advice: int) -> int:
            asked.append((begin.value, size.value, advice))
            return 0

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Records())
    table = torch.zeros(4 * LARGE)
    moved = on_large_pages([table])
    begin = table.data_ptr() + -table.data_ptr() % LARGE
    assert asked == [(begin, moved, pages.HUGE_PAGE), (begin, moved, pages.COLLAPSE)]
    assert begin + moved <= table.data_ptr() + table.nbytes < begin + moved + LARGE


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
