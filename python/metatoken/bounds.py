"""Bounds of numbers that size something, checked before anything is allocated."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from numbers import Integral

from metatoken.config import shown
from metatoken.errors import ArgumentError


def check_integer(argument: str, value: object, least: int = 1, most: int = sys.maxsize) -> int:
    """Refuses what is no integer between two bounds: `ArgumentError`; gives it as Python's own."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        bounds = f"of at least {least:,}" if most == sys.maxsize else f"from {least:,} to {most:,}"
        raise ArgumentError(argument, f"expected an integer {bounds}, got {shown(value)}")
    return int(value)


def check_words(**values: int | None) -> None:
    """Refuses integers that the native core has no room for, 64 bits with a sign: `ArgumentError`."""
    for argument, value in values.items():
        if value is not None and isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ArgumentError(argument, f"expected an integer of at most 64 bits, got {shown(value)}")


def check_memory(argument: str, size: int) -> None:
    """Refuses what would need more bytes than the machine has: `ArgumentError`, before anything is allocated."""
    if said := beyond_memory(size):
        raise ArgumentError(argument, f"{said}; give a smaller one")


def beyond_memory(size: int) -> str | None:
    """What to say of so many bytes where the machine has fewer, or does not tell; None where it has them."""
    whole = memory()
    said = f"needs {size / 1e9:,.1f} GB of memory, and this machine has {whole / 1e9:,.1f}"
    return said if 0 < whole < size else None


def memory() -> int:
    """Bytes of memory that the machine has, 0 where the system does not tell."""
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
