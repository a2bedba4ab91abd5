"""Read JSON lines as a raw table. polars reads them; what it refuses, Python does, and knows what to say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from metatoken.data.columns import RawTable
from metatoken.errors import DataError

BATCH = 50_000  # rows that are Python objects at once
HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json_lines(path: Path, text: str, wanted: Sequence[str] | None) -> RawTable:
    """The objects of a text, each value as text; errors name the line."""
    if text.lstrip().startswith("["):
        raise DataError("the content is one JSON array; write one object per line (JSON lines)", path, 1)
    lines = text.split("\n")
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]

    def value_of(row: int, name: str) -> Any:
        return _json_object(path, lines[numbers[row] - 1], numbers[row]).get(name)

    for number in numbers if HALF.search(text) else ():
        _check_pairs(path, lines[number - 1], number)
    names = list(
        dict.fromkeys(name for number in numbers[:1000] for name in _names_of(path, lines[number - 1], number))
    )
    schema = dict.fromkeys(names if wanted is None else wanted, pl.String)
    try:
        frame = pl.scan_ndjson(text.encode(), schema=schema).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        frame = pl.DataFrame(schema=schema)
    if frame.height != len(numbers):  # something that polars does not take, such as NaN; or a broken line
        objects = (_json_object(path, lines[number - 1], number) for number in numbers)
        rows = ([_json_text(one.get(name)) for name in schema] for one in objects)
        parts = [pl.DataFrame(schema=schema)]
        while batch := list(islice(rows, BATCH)):
            parts.append(pl.DataFrame(batch, schema=schema, orient="row"))
        frame = pl.concat(parts)
    absent = [name for name in frame.columns if name not in names and frame[name].null_count() == frame.height]
    return RawTable(frame.drop(absent), path, lambda row: (path, numbers[row], row), names, value_of)


def _json_object(path: Path, line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"broken JSON: {error}; expected one object in each line", path, number) from error
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object such as {{...}}, got {line.strip()[:40]}", path, number)
    return value


def _names_of(path: Path, line: str, number: int) -> list[str]:
    """Names of an object's values; readers differ about one that stands twice."""
    _json_object(path, line, number)
    names = [name for name, _ in json.loads(line, object_pairs_hook=list)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"the object has {twice!r} twice", path, number)
    return names


def _check_pairs(path: Path, line: str, number: int) -> None:
    """Refuses half of a character, which JSON may write as a pair of surrogates; polars makes something of it."""
    if HALF.search(line) is not None:
        try:
            json.dumps(_json_object(path, line, number), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError("a character is cut in two (half of a pair of surrogates)", path, number) from error


def _json_text(value: Any) -> str | None:
    """A value as polars makes it text."""
    if value is None or isinstance(value, str) or value != value:  # noqa: PLR0124 (NaN is no value)
        return value if isinstance(value, str) else None
    whole = isinstance(value, float) and value.is_integer()
    return f"{Decimal(repr(value)):f}".removesuffix(".0") if whole else json.dumps(value, ensure_ascii=False)
