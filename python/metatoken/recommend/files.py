"""A file of users in, requests out.

Users come as text (one id per line), or as a table with the columns `user` and `history` (one of them may be absent or
empty in a row), by the reader of logs. In text columns a history is ids separated by blanks, or a JSON list
(`["a b","c,d"]`), which ids with blanks need; Parquet and JSON lines may hold lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metatoken.data.columns import RawTable, closest
from metatoken.data.files import decode, read_bytes, suffix_of
from metatoken.data.readers import TABLES, read_table
from metatoken.errors import DataError

ROWS = 4096  # that are Python objects at once
COLUMNS = ("user", "history")


@dataclass(frozen=True)
class UserLine:
    """One user of a file.

    Attributes:
        user: Raw id, or None.
        history: Raw item ids, oldest first, or None for the known history.
        line: Line of the file from 1; of Parquet, the row from 1.
        done: Share of the file that has been answered, from 0 to 1.
    """

    user: str | None
    history: list[str] | None
    line: int
    done: float


def read_users(path: str | Path) -> Iterator[UserLine]:
    """Reads a file of users.

    Raises:
        DataError: It is missing, empty, damaged or of another form; names the line where it is known.
    """
    table = _read(Path(path))
    names = [name for name in COLUMNS if name in table.frame.columns]
    if not names:
        guess = closest("user", table.names)
        hint = f"; rename {guess!r} if it holds the users" if guess else ""
        raise table.error(f"no column 'user' or 'history'; the columns are {', '.join(map(repr, table.names))}{hint}")
    height = table.frame.height
    for begin in range(0, height, ROWS):
        for row, values in enumerate(table.frame.select(names).slice(begin, ROWS).iter_rows(named=True), begin):
            given = values if table.value_of is None else {name: table.value_of(row, name) for name in names}
            user, history = _checked(table, row, **given)
            line = None if table.place is None else table.place(row)[1]
            yield UserLine(user, history, line or row + 1, (row + 1) / height)


def _read(path: Path) -> RawTable:
    if path.is_dir():
        raise DataError("is a folder, expected a file", path)
    if not path.is_file():
        raise DataError("no such file; check the path", path)
    if suffix_of(path) in TABLES:
        return read_table(path, COLUMNS)
    lines = pl.Series("user", decode(path, read_bytes(path)).split("\n")).str.strip_chars()
    numbers = (lines != "").arg_true()
    return RawTable(lines.gather(numbers).to_frame(), path, lambda row: (path, int(numbers[row]) + 1, row), ["user"])


def _checked(table: RawTable, row: int, user: Any = None, history: Any = None) -> tuple[str | None, list[str] | None]:
    """A user and a history as text; whole numbers may stand for ids, as they do in logs."""
    if isinstance(user, str):
        user = user.strip() or None
    if isinstance(history, str):
        history = _listed(history.strip())
    if user is None and history is None:
        raise table.error("neither a user nor a history", row)
    ids = [*([] if user is None else [user]), *(history if isinstance(history, list) else [])]
    sound = all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in ids)
    if not sound or not isinstance(history, list | None):
        raise table.error("expected a user id and a list of item ids", row)
    return None if user is None else str(user), history and [str(one).strip() for one in history]


def _listed(text: str) -> Any:
    """The ids of a text."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            pass  # the first id begins so
    return text.split() or None
