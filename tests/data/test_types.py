"""A column of any type, in any role, of a table in memory: a log, or one line that says what is wrong with it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.errors import MetatokenError

MOMENT = dt.datetime(2024, 1, 1)  # noqa: DTZ001 (as tables have them)
VALUES: dict[str, pl.Series] = {
    "int8": pl.Series([1, 2], dtype=pl.Int8),
    "uint64": pl.Series([2**64 - 1, 2], dtype=pl.UInt64),
    "int128": pl.Series([2**100, 2], dtype=pl.Int128),
    "float32": pl.Series([1.5, 2], dtype=pl.Float32),
    "large float": pl.Series([1e300, 2]),
    "nan": pl.Series([float("nan"), 1]),
    "boolean": pl.Series([True, False]),
    "date": pl.Series([MOMENT.date()] * 2),
    "datetime": pl.Series([MOMENT] * 2),
    "time of day": pl.Series([dt.time(1)] * 2),
    "duration": pl.Series([dt.timedelta(1)] * 2),
    "decimal": pl.Series([Decimal("1.5")] * 2),
    "large decimal": pl.Series([2**100, 1], dtype=pl.Decimal(38, 0)),
    "list": pl.Series([[1], [2]]),
    "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
    "list of lists": pl.Series([[["a"]], []]),
    "list of structs": pl.Series([[{"a": 1}], []]),
    "list of durations": pl.Series([[dt.timedelta(1)], []]),
    "list of bytes": pl.Series([[b"\xff"], []]),
    "struct": pl.Series([{"a": 1}] * 2),
    "bytes": pl.Series([b"\xff", b"b"]),
    "category": pl.Series(["a", "b"], dtype=pl.Categorical),
    "null": pl.Series([None, None]),
    "object": pl.Series([object(), object()], dtype=pl.Object),
    "text": pl.Series(["a", "b"]),
}
ROLES: dict[str, dict[str, Any]] = {
    "user": {"user": "z"},
    "item": {"item": "z"},
    "time": {"time": "z"},
    "rating": {"rating": "z"},
    "review": {"review": "z"},
    "where": {"where": "z is not null"},
    "part": {"part": "z", "split": "part"},
}
USERS = {
    "int8": ["1", "2"], "uint64": ["18446744073709551615", "2"], "int128": ["1267650600228229401496703205376", "2"],
    "float32": ["1.5", "2.0"], "boolean": ["false", "true"], "date": ["2024-01-01"],
    "decimal": ["1.5"],
    "large decimal": ["1", "1267650600228229401496703205376"], "category": ["a", "b"], "text": ["a", "b"],
}  # fmt: skip
SPELLED_BY_POLARS = ("large float", "time of day", "datetime")  # each version in its own way


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", VALUES)
def test_a_log_or_one_line(kind: str, role: str) -> None:
    frame, said, log = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "z": VALUES[kind]}), "", None
    try:
        log = Interactions.from_frame(frame, **ROLES[role])
    except MetatokenError as error:
        said = str(error)
    if log is None:
        assert (len(said.splitlines()), "z" in said) == (1, True)
        assert role != "user" or kind not in (*USERS, *SPELLED_BY_POLARS)
    else:
        assert len(log) == (1 if (role, kind) == ("where", "nan") else 2)
        assert role != "user" or kind in SPELLED_BY_POLARS or list(log.users.raw) == USERS[kind]


FILTERS = ("z == 'a'", "z >= 1", "z in [1, 2]", "z contains 'a'", "z == true", "z is null")


@pytest.mark.parametrize("kind", VALUES)
def test_filters_and_item_tables(kind: str) -> None:
    values, log = VALUES[kind], {"user": ["a", "b"], "item": ["x", "y"]}
    for where in FILTERS:
        try:
            assert (
                Interactions.from_frame(pl.DataFrame({**log, "z": values}), where=where).notes[0].endswith("left out")
            )
        except MetatokenError as error:
            said = str(error)
            assert len(said.splitlines()) == 1
    for names in ({"title": "z"}, {"categories": "z"}, {}):
        try:
            table = pl.DataFrame({"item": ["x", "y"], "title": ["t", "u"], "z": values})
            found = Interactions.from_frame(log, items=table, **names).item_table
            assert found is not None
            assert found.height == 2
        except MetatokenError as error:
            said = str(error)
            assert names
            assert "column 'z' for" in said
