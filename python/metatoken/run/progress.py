"""How a run speaks: lines for people, and bars of long steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Say = Callable[[str], None]
Progress = Callable[[int, int], None]
Bar = Callable[[str], Any]
"""Given a label, a context manager that yields a progress callback `(done, total)`."""


def silent(line: str) -> None:
    """Says nothing."""


@contextmanager
def no_bar(label: str) -> Iterator[Progress]:  # noqa: ARG001
    """Shows nothing."""
    yield lambda done, total: None  # noqa: ARG005
