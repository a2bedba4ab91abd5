"""What commands write into single files, and how an older file of the same kind is told from somebody's own."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

LONG = 1 << 20  # characters that are looked at


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        noun: What it holds, for a person.
        matches: Whether a file is of the kind, as far as its beginning says.
    """

    noun: str
    matches: Callable[[Path], bool]


def table(noun: str, columns: Collection[str]) -> Kind:
    """A table, or JSON lines, with these columns among others."""
    return Kind(noun, lambda path: set(columns) <= set(_columns(path)))


def text(noun: str, pattern: str) -> Kind:
    """Text that has a line of some form near its beginning."""
    return Kind(noun, lambda path: re.search(pattern, _beginning(path), re.MULTILINE) is not None)


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(LONG)


def _columns(path: Path) -> list[str]:
    """Names of the columns of a table; whatever its first line holds where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            return list(pq.read_schema(path).names)
        except (OSError, pa.ArrowException):
            return []
    line = _beginning(path).partition("\n")[0]
    if line.startswith("{"):
        with suppress(ValueError, RecursionError):
            return list(json.loads(line))
    return line.split("\t" if "\t" in line else ",")
