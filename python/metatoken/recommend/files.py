"""A file of users in, a file of recommendations out: batch by batch, so that neither has to fit in memory.

Users come as text (one id per line), CSV, TSV, Parquet or JSON lines with the columns `user` and `history` (one of them
may be absent or empty in a row), plain or .gz. In text columns a history is ids separated by blanks; Parquet and JSON
lines may hold lists.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from metatoken.data.columns import closest
from metatoken.data.readers import JSON_LINES, PARQUET, SEPARATORS
from metatoken.errors import DataError

ROWS = 4096  # of Parquet, read at once
COLUMNS = ("user", "history")


@dataclass(frozen=True)
class UserLine:
    """One user of a file.

    Attributes:
        user: Raw id, or None.
        history: Raw item ids, oldest first, or None for the known history.
        line: Line of the file from 1; of Parquet, the row from 1.
        done: Share of the file that has been read, from 0 to 1.
    """

    user: str | None
    history: list[str] | None
    line: int
    done: float


def read_users(path: str | Path) -> Iterator[UserLine]:
    """Reads a file of users, a little at a time.

    Raises:
        DataError: It is missing, empty, damaged or of another form; names the line where it is known.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("is a folder, expected a file" if path.is_dir() else "no such file; check the path", path)
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix in SEPARATORS:
        lines = _csv(path, SEPARATORS[suffix])
    else:
        lines = (_parquet if suffix in PARQUET else _json_lines if suffix in JSON_LINES else _plain)(path)
    line = None
    for line in lines:
        if line.user is None and line.history is None:
            raise DataError("neither a user nor a history", path, line.line)
        yield line
    if line is None:
        raise DataError("expected users, got an empty file", path)


@contextmanager
def _text(path: Path) -> Iterator[tuple[IO[str], Any]]:
    """The text of a file, and a function that says how much of it has been read."""
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw:
        data: Any = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
        try:
            yield io.TextIOWrapper(data, encoding="utf-8-sig", newline=""), lambda: min(1.0, raw.tell() / size)
        except UnicodeDecodeError as error:
            raise DataError("expected text, got bytes that are not UTF-8", path) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"damaged gzip file ({error}); copy or download it again", path) from error


def _plain(path: Path) -> Iterator[UserLine]:
    with _text(path) as (text, done):
        for number, line in enumerate(text, 1):
            if line.strip():
                yield UserLine(line.strip(), None, number, done())


def _csv(path: Path, separator: str) -> Iterator[UserLine]:
    with _text(path) as (text, done):
        reader = csv.reader(text, delimiter=separator, strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
            places = _places(path, names)
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(names):
                    message = f"{len(fields)} fields, but the header has {len(names)}"
                    raise DataError(message, path, reader.line_num)
                user, history = ((fields[places[name]].strip() if name in places else "") for name in COLUMNS)
                yield UserLine(user or None, history.split() or None, reader.line_num, done())
        except csv.Error as error:
            raise DataError(f"not a readable table: {error}", path, reader.line_num) from error


def _places(path: Path, names: list[str]) -> dict[str, int]:
    """Where `user` and `history` stand among the columns of a table."""
    if not names:
        raise DataError("expected users, got an empty file", path)
    places = {name: names.index(name) for name in COLUMNS if name in names}
    if not places:
        guess = closest("user", names)
        hint = f"; rename {guess!r} if it holds the users" if guess else ""
        raise DataError(f"no column 'user' or 'history'; the columns are {', '.join(map(repr, names))}{hint}", path, 1)
    return places


def _json_lines(path: Path) -> Iterator[UserLine]:
    with _text(path) as (text, done):
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise DataError(f"broken JSON: {error}", path, number) from error
            if not isinstance(value, dict) or not set(value) & set(COLUMNS):
                message = f'expected an object such as {{"user": "7", "history": ["31"]}}, got {line.strip()[:40]}'
                raise DataError(message, path, number)
            yield _line(path, value.get("user"), value.get("history"), number, done())


def _parquet(path: Path) -> Iterator[UserLine]:
    try:
        with pq.ParquetFile(path) as file:
            names = list(_places(path, list(file.schema_arrow.names)))
            batches = file.iter_batches(batch_size=ROWS, columns=names)
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                done = number / file.metadata.num_rows
                yield _line(path, row.get("user"), row.get("history"), number, done)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"damaged Parquet file: {str(error).splitlines()[0]}", path) from error


def _line(path: Path, user: Any, history: Any, number: int, done: float) -> UserLine:
    """Checked values of a typed row; whole numbers may stand for ids, as they do in logs."""
    if isinstance(history, str):
        history = history.split() or None
    if user == "":
        user = None
    ids = [*([] if user is None else [user]), *(history if isinstance(history, list) else [])]
    sound = all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in ids)
    if not sound or not isinstance(history, list | None):
        raise DataError("expected a user id and a list of item ids", path, number)
    return UserLine(None if user is None else str(user), history and [str(one) for one in history], number, done)
