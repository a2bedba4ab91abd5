"""Recommendations as a table of a database, written in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from metatoken.data.database import table_writer
from metatoken.recommend.columns import NOTHING, Columns
from metatoken.recommend.streaming import Write, rows

SCHEMA: dict[str, Any] = {
    "user": pl.String, "rank": pl.Int64, "item": pl.String, "title": pl.String, "score": pl.Float64,
}  # fmt: skip


@contextmanager
def database_writer(uri: str, table: str, columns: Columns = NOTHING) -> Iterator[Write]:
    """A table of a row for each recommendation: user (null without one), rank, item, title, score.

    Args:
        uri: Of the database, as `data.uri` has it.
        table: Its name; older lists under it are replaced when all is written, and kept if something fails.
        columns: What each recommendation gets besides; lists become JSON.

    Yields:
        A function that appends answers.
    """
    more = {name: _flat(dtype) for name, dtype in columns.frame.schema.items()}
    with table_writer(uri, table, list(SCHEMA)) as write:
        yield lambda answers: write(
            pl.DataFrame([(*row, *columns.texts(row[2])) for row in rows(answers)], schema=SCHEMA | more, orient="row")
        )


def _flat(dtype: pl.DataType) -> Any:
    return pl.String if isinstance(dtype, pl.List) else dtype
