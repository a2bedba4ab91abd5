"""Tables as programs leave them: types of Arrow, folders whose files differ, databases; and more odd text.

Each gives the right value, or one line that says what to do.
"""

from __future__ import annotations

import gzip
import io
import sqlite3
from collections.abc import Mapping
from contextlib import closing, redirect_stderr, redirect_stdout
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metatoken.cli.app import main
from metatoken.data import Interactions
from metatoken.data.interactions import read_log
from metatoken.errors import MetatokenError
from metatoken.run.config import load_config
from tests.data import test_odd_inputs as odd
from tests.data.test_odd_inputs import HEAD, histories

Content = str | bytes | dict[str, Any]
TIMES, FAR = "user,item,t\n", 2**62
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # a frame of zstd that decoders pass over


def packed(text: str) -> bytes:
    return bytes(pa.compress(text.encode(), "zstd", asbytes=True))


def moments(unit: str, *values: int, zone: str | None = None) -> Any:
    return pa.array(values, pa.timestamp(unit, zone))


# Files by name, where a mapping is the columns of a Parquet file; arguments; histories.
RIGHT: dict[str, tuple[Mapping[str, Content], dict[str, Any], dict[str, list[str]]]] = {
    "a mark before each of two files": ({"l.csv": f"\ufeff{HEAD}u,a\n\ufeffv,b\n"}, {}, {"u": ["a"], "v": ["b"]}),
    "two marks": ({"l.csv": f"\ufeff\ufeff{HEAD}u,a\n"}, {}, {"u": ["a"]}),
    "marks in JSON lines": (
        {"l.jsonl": '\ufeff{"user":1,"item":2}\n\ufeff{"user":1,"item":3}\n'}, {}, {"1": ["2", "3"]},
    ),
    "marks in UTF-16": (
        {"l.csv": f"\ufeff{HEAD}u,a\n\ufeffu,b\n".encode("utf-16-le")}, {"encoding": "utf-16-le"}, {"u": ["a", "b"]},
    ),
    "all line ends in one file": ({"l.csv": "user,item\nu,a\r\nu,b\rv,c\n"}, {}, {"u": ["a", "b"], "v": ["c"]}),
    "line ends that were converted twice": ({"l.csv": "user,item\r\r\nu,a\r\r\nu,b\r\r\n"}, {}, {"u": ["a", "b"]}),
    "a tab in an id": ({"l.csv": f"{HEAD}u\tx,a\n"}, {}, {"u\tx": ["a"]}),
    "some whole numbers as floats": ({"l.csv": f"{HEAD}1.0,7\n1,8\n2,9.0\n"}, {}, {"1": ["7", "8"], "2": ["9"]}),
    "codes beside floats": ({"l.csv": f"{HEAD}007,a\n1.0,b\n"}, {}, {"007": ["a"], "1.0": ["b"]}),
    "digits that floats have lost, in both ways to read JSON": (
        {"a.jsonl": '{"user":12345678901234567890.0,"item":1}\n',
         "b.jsonl": '{"user":12345678901234567890.0,"item":2,"x":NaN}\n'},
        {}, {"12345678901234567000": ["1", "2"]},
    ),
    "a header again that is left out": (
        {"l.csv": f"{HEAD}u,a\n{HEAD}v,b\n"}, {"where": "user != 'user'"}, {"u": ["a"], "v": ["b"]},
    ),
    "empty parts of gzip": (
        {"l.csv.gz": gzip.compress(b"") + gzip.compress(HEAD.encode()) + gzip.compress(b"u,a\n")}, {}, {"u": ["a"]},
    ),
    "several frames of zstd": ({"l.csv.zst": packed(HEAD) + packed("u,a\n")}, {}, {"u": ["a"]}),
    "a frame of zstd that is skipped": ({"l.csv.zst": SKIPPED + packed(f"{HEAD}u,a\n")}, {}, {"u": ["a"]}),
    "dictionaries": (
        {"l.parquet": {"user": pa.array(["u", "v", "u"]).dictionary_encode(),
                       "item": pa.array([7, 8, 9]).dictionary_encode()}}, {}, {"u": ["7", "9"], "v": ["8"]},
    ),
    "texts of other layouts": (
        {"l.parquet": {"user": pa.array(["u"], pa.large_string()), "item": pa.array(["a"], pa.string_view())}},
        {}, {"u": ["a"]},
    ),
    "decimals": (
        {"l.parquet": {"user": [Decimal(12345678901234567890)] * 2, "item": [Decimal(7)] * 2,
                       "t": [Decimal("1.5"), Decimal("1.25")]}},
        {"time": "t"}, {"12345678901234567890": ["7", "7"]},
    ),
    "nanoseconds in a zone": (
        {"l.parquet": {"user": ["u", "u"], "item": ["b", "a"], "t": moments("ns", 1, 0, zone="Europe/Berlin")}},
        {"time": "t"}, {"u": ["a", "b"]},
    ),
    "whole numbers without sign": (
        {"l.parquet": {"user": pa.array([2**64 - 1], pa.uint64()), "item": pa.array([2**63], pa.uint64())}},
        {}, {"18446744073709551615": ["9223372036854775808"]},
    ),
    "a date that no calendar has, unused": (
        {"l.parquet": {"user": ["u"], "item": ["a"], "x": moments("ms", FAR)}}, {}, {"u": ["a"]},
    ),
    "a structure that is unused": ({"l.parquet": {"user": ["u"], "item": ["a"], "x": [{"y": 1}]}}, {}, {"u": ["a"]}),
    "ids of folders": ({"user=007/a.csv": "item\na\n", "user=7/a.csv": "item\nb\n"}, {}, {"007": ["a"], "7": ["b"]}),
    "a folder of rows without a value": (
        {"day=__HIVE_DEFAULT_PARTITION__/a.csv": f"{HEAD}u,a\n", "day=1/a.csv": f"{HEAD}u,b\n"},
        {"where": "day is null"}, {"u": ["a"]},
    ),
    "escapes in names of folders": ({"user=a%2Fb%20c/a.csv": "item\na\n"}, {}, {"a/b c": ["a"]}),
    "columns in another order": ({"a.csv": f"{HEAD}u,a\n", "b.csv": "item,user\nb,u\n"}, {}, {"u": ["a", "b"]}),
    "numbers and texts": ({"a.parquet": {"user": [1], "item": ["a"]}, "b.parquet": {"user": ["x"], "item": ["b"]}},
                          {}, {"1": ["a"], "x": ["b"]}),
    "numbers with and without sign": (
        {"a.parquet": {"user": [-1, 2**53 + 1], "item": ["a", "b"]},
         "b.parquet": {"user": pa.array([2**64 - 1], pa.uint64()), "item": ["c"]}},
        {}, {"-1": ["a"], "9007199254740993": ["b"], "18446744073709551615": ["c"]},
    ),
    "floats in one file": (
        {"a.parquet": {"user": [1], "item": ["a"]}, "b.parquet": {"user": [1.0], "item": ["b"]}}, {}, {"1": ["a", "b"]},
    ),
    "times of several units": (
        {"a.parquet": {"user": ["u"], "item": ["c"], "t": moments("ns", 3)},
         "b.parquet": {"user": ["u"], "item": ["b"], "t": moments("us", 0)},
         "c.parquet": {"user": ["u"], "item": ["a"], "t": moments("ms", -1)}},
        {"time": "t"}, {"u": ["a", "b", "c"]},
    ),
    "dates and times": (
        {"a.parquet": {"user": ["u"], "item": ["b"], "t": [date(2024, 1, 2)]},
         "b.parquet": {"user": ["u"], "item": ["a"], "t": moments("s", 1)}}, {"time": "t"}, {"u": ["a", "b"]},
    ),
    "no rating in one of the objects of JSON": (
        {"a.jsonl": '{"user":1,"item":2,"r":4}\n', "b.jsonl": '{"user":1,"item":3}\n'}, {"rating": "r"},
        {"1": ["2", "3"]},
    ),
}  # fmt: skip

MISSING = "no column 'user' for user; the columns are 'usr', 'item'; did you mean 'usr'?"
BEYOND = "is beyond the years 1 to 9999; leave it empty where there is none"
REFUSED: dict[str, tuple[Mapping[str, Content], dict[str, Any], str]] = {
    "a column that one file lacks": ({"a.csv": f"{HEAD}u,a\n", "b.csv": "usr,item\nv,b\n"}, {}, f"b.csv: {MISSING}"),
    "the same in Parquet": (
        {"a.parquet": {"user": ["u"], "item": ["a"]}, "b.parquet": {"usr": ["u"], "item": ["a"]}}, {}, MISSING,
    ),
    "a header that one file lacks": (
        {"a.csv": f"{HEAD}u,a\n", "b.csv": "v,b\nw,c\n"}, {}, "b.csv: no column 'user' for user; the columns are 'v'",
    ),
    "a rating that one file lacks": (
        {"a.csv": f"{HEAD[:-1]},r\nu,a,1\n", "b.csv": f"{HEAD}u,b\n"}, {"rating": "r"}, "no column 'r' for rating",
    ),
    "a column of a filter that one file lacks": (
        {"a.csv": f"{HEAD[:-1]},e\nu,a,1\n", "b.csv": f"{HEAD}u,b\n"}, {"where": "e == 1"}, "no column 'e' for where",
    ),
    "a folder of rows without an id": (
        {"user=__HIVE_DEFAULT_PARTITION__/a.csv": "item\na\n"}, {}, "a.csv:2: empty user id in column 'user'",
    ),
    "a header again": ({"l.csv": f"{HEAD}u,a\n{HEAD}v,b\n"}, {}, "l.csv:3: is the header again; remove it, or say"),
    "a drawn table": (
        {"l.csv": "| user | item |\n|---|---|\n| u | a |\n"}, {"separator": "|"}, "l.csv:2: is a line of a drawn table",
    ),
    "thousands": ({"l.csv": f'{HEAD[:-1]},r\nu,a,"1,234.5"\n'}, {"rating": "r"}, "l.csv:2: rating '1,234.5' in column"),
    "thousands beside decimal commas": (
        {"l.csv": "user;item;r\nu;a;1.234,5\n"}, {"separator": ";", "decimal": ",", "rating": "r"}, "rating '1.234,5'",
    ),
    "zeros among text": ({"l.csv": f"{HEAD}u,a\0b\n"}, {}, "l.csv:2: the content is binary or UTF-16"),
    "an encoding of names": ({"l.csv": f"{HEAD}u,a\n"}, {"encoding": "punycode"}, "l.csv: is not PUNYCODE"),
    "a web page": ({"l.csv": "<!DOCTYPE html>\n<html>"}, {}, "the content is a web page, not the text that its name"),
    "gzip by another name": ({"l.csv": gzip.compress(b"user,item\nu,a\n")}, {}, "the content is gzip, not the text"),
    "zstd by the name of gzip": ({"l.csv.gz": packed("user")}, {}, "ends in .gz, but the content is not gzip"),
    "junk behind gzip": ({"l.csv.gz": gzip.compress(b"user,item\nu,a\n") + b"junk"}, {}, "damaged gzip file"),
    "a day that no calendar has": (
        {"l.parquet": {"user": ["u"], "item": ["a"], "t": pa.array([2**31 - 1], pa.int32()).cast(pa.date32())}},
        {"time": "t"}, f"time in column 't' {BEYOND} (row 1)",
    ),
    "a moment that no calendar has": (
        {"l.parquet": {"user": ["u", "v"], "item": ["a", "b"], "t": moments("ms", 1, FAR)}},
        {"time": "t"}, f"time in column 't' {BEYOND} (row 2)",
    ),
    "such a day as an id": (
        {"l.parquet": {"user": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), "item": ["a"]}}, {}, BEYOND,
    ),
    "such a moment in a filter": (
        {"l.parquet": {"user": ["u"], "item": ["a"], "x": moments("ms", -FAR)}}, {"where": "x is null"}, BEYOND,
    ),
    "a clock without a day": (
        {"l.parquet": {"user": ["u"], "item": ["a"], "t": pa.array([1], pa.time32("s"))}}, {"time": "t"}, "holds Time",
    ),
    "bytes as ids": ({"l.parquet": {"user": [b"u"], "item": ["a"]}}, {}, "holds Binary, ids are text or whole numbers"),
    "lists as ids": ({"l.parquet": {"user": ["u"], "item": [["a", "b"]]}}, {}, "holds List(String), ids are text"),
    "a gap among dictionaries": (
        {"l.parquet": {"user": pa.array(["u", None]).dictionary_encode(), "item": ["a", "b"]}}, {}, "empty user id",
    ),
    "dates among numbers": (
        {"a.parquet": {"user": ["u"], "item": ["a"], "t": [5]},
         "b.parquet": {"user": ["u"], "item": ["a"], "t": moments("s", 1)}},
        {"time": "t"}, "types that do not fit: column 't' holds Int64 and Datetime",
    ),
    "truth among numbers": (
        {"d=1/a.parquet": {"user": [True], "item": ["a"]}, "d=2/a.parquet": {"user": [1], "item": ["a"]}},
        {}, ", as in d=1/a.parquet and d=2/a.parquet",
    ),
    "large numbers among floats": (
        {"a.parquet": {"user": [2**53 + 1], "item": ["a"]}, "b.parquet": {"user": [1.0], "item": ["a"]}},
        {}, "holds floats and whole numbers beyond those that a float tells apart",
    ),
    "zones in one file": (
        {"a.parquet": {"user": ["u"], "item": ["a"], "t": moments("s", 1, zone="UTC")},
         "b.parquet": {"user": ["u"], "item": ["a"], "t": moments("s", 1)}}, {"time": "t"}, "types that do not fit",
    ),
}  # fmt: skip


def written(folder: Path, files: Mapping[str, Content]) -> Path:
    """The one file, or the folder of several."""
    for name, content in files.items():
        path = folder / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            pq.write_table(pa.table(content), path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    alone = len(files) == 1 and "/" not in next(iter(files))
    return path if alone else folder / "log"


@pytest.mark.parametrize(("files", "arguments", "expected"), RIGHT.values(), ids=RIGHT.keys())
def test_what_is_read(tmp_path: Path, files: Any, arguments: dict[str, Any], expected: Any) -> None:
    assert histories(Interactions.read(written(tmp_path, files), **arguments)) == expected


@pytest.mark.parametrize(("files", "arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(tmp_path: Path, files: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MetatokenError) as caught:
        Interactions.read(written(tmp_path, files), **arguments)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


DATED: list[tuple[str, str | None, list[float] | str]] = [
    ("2024-01-01T00:00:00.5", "%Y-%m-%dT%H:%M:%S.%f", [1704067200.5]),
    ("2024-01-01T00:00:00.25", "%Y-%m-%dT%H:%M:%S%.f", [1704067200.25]),
    ("2024-01-01T00:00:00Z", "%Y-%m-%dT%H:%M:%S%z", [1704067200]),
    ("2024-01-01T00:00:00+0100", "%Y-%m-%dT%H:%M:%S%z", [1704063600]),
    ("01/02/2024 12:00 AM", "%m/%d/%Y %I:%M %p", [1704153600]),
    ("01/02/24", "%m/%d/%y", [1704153600]),
    ("2024-01-01T23:59:00+23:59", None, [1704067200]),
    ("1704067200.0", None, [1704067200]),
    ("2024-01-01 00:00:00 EST", "%Y-%m-%d %H:%M:%S %Z", "names of zones are not read; say time_zone"),
    ("2024-01-01 00:00:00,5", "%Y-%m-%d %H:%M:%S,%f", "fractions stand behind a point, .%f"),
    ("10:00", "%H:%M", "is not a date: time_format has no year"),
    ("31/05", "%d/%m", "is not a date: time_format has no year"),
    ("13/01/2024", "%m/%d/%Y", "l.csv:2: time '13/01/2024' in column 't' is not a date of the form %m/%d/%Y"),
    ("01/02/2024 13:00 PM", "%m/%d/%Y %I:%M %p", "is not a date of the form"),
    ("2024-01-01T00:00:00+24:00", None, "l.csv:2: time '2024-01-01T00:00:00+24:00' in column 't' is not"),
    ("2024-01-01T00:00:00+01:60", None, "l.csv:2: time '2024-01-01T00:00:00+01:60' in column 't' is not"),
]


@pytest.mark.parametrize(("text", "form", "expected"), DATED)
def test_dates(tmp_path: Path, text: str, form: str | None, expected: Any) -> None:
    path = written(tmp_path, {"l.csv": f'{TIMES}u,a,"{text}"\n'})
    if isinstance(expected, str):
        with pytest.raises(MetatokenError) as caught:
            Interactions.read(path, time="t", time_format=form)
        assert expected in str(caught.value)
    else:
        assert Interactions.read(path, time="t", time_format=form).frame["timestamp"].to_list() == expected


def test_moments_that_are_shifted_by_hours() -> None:
    table = pa.table({"user": ["u"], "item": ["a"], "t": moments("ms", 1704067200000, zone="+05:30")})
    assert Interactions.from_frame(table, time="t").frame["timestamp"].to_list() == [1704067200]


def test_a_table_of_items_with_a_date_that_no_calendar_has(tmp_path: Path) -> None:
    log = written(tmp_path, {"l.csv": f"{HEAD}u,a\n"})
    pq.write_table(pa.table({"item": ["a"], "title": ["A"], "x": moments("us", FAR)}), tmp_path / "items.parquet")
    with pytest.raises(MetatokenError, match=r"items\.parquet: value in column 'x' is beyond the years 1 to 9999"):
        Interactions.read(log, items=tmp_path / "items.parquet")


SQLITE = {
    "a type for each value": (
        "(user, item)",
        [("1", "a"), (1, "b"), ("007", "c"), (1.5, "d")],
        {"007": ["c"], "1": ["a", "b"], "1.5": ["d"]},
    ),
    "numbers as the column wants them": (
        "(user INTEGER, item TEXT)",
        [("1", 7), ("1.0", "007"), ("x", 8)],
        {"1": ["7", "007"], "x": ["8"]},
    ),
    "large numbers among floats": (
        "(user, item)",
        [(2**53 + 1, "a"), (2.5, "b")],
        {"9007199254740993": ["a"], "2.5": ["b"]},
    ),
    "text after many numbers": (
        "(user, item)",
        [*((number, "a") for number in range(50_001)), ("x", "b")],
        {"x": ["b"], "50000": ["a"]},
    ),
}


@pytest.mark.parametrize("name", SQLITE)
def test_types_of_sqlite(name: str, tmp_path: Path) -> None:
    columns, rows, expected = SQLITE[name]
    with closing(sqlite3.connect(tmp_path / "shop.db")) as base:
        base.execute(f"CREATE TABLE log {columns}")
        base.executemany("INSERT INTO log VALUES (?, ?)", rows)
        base.execute("CREATE VIEW seen AS SELECT * FROM log")
        base.commit()
    found = histories(Interactions.read(uri=f"sqlite:///{tmp_path / 'shop.db'}", query="SELECT * FROM seen"))
    assert len(found) == len({str(row[0]).removesuffix(".0") for row in rows})
    assert {user: found[user] for user in expected} == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"),
        ("123456789012345678901234567890123456789012::BIGNUM", "123456789012345678901234567890123456789012"),
        ("'101'::BIT", "101"),
        ("'x'::ENUM ('x')", "x"),
        ("18446744073709551615::UBIGINT", "18446744073709551615"),
        ("12.50::DECIMAL(4, 2)", "12.50"),
    ],
)
def test_ids_of_duckdb(value: str, expected: str, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    duckdb.connect(str(tmp_path / "shop.duckdb")).close()
    query = f'SELECT {value} AS "a ""user""", 1 AS item'
    uri = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    assert Interactions.read(uri=uri, query=query, user='a "user"').users.raw == (expected,)


def test_the_infinity_of_duckdb(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    duckdb.connect(str(tmp_path / "shop.duckdb")).close()
    for kind in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
        query = f"SELECT 1 AS user, 2 AS item, '-infinity'::{kind} AS t"
        with pytest.raises(MetatokenError, match="time in column 't' is beyond the years 1 to 9999"):
            Interactions.read(uri=f"duckdb:///{tmp_path / 'shop.duckdb'}", query=query, time="t")


def test_frames_that_lack_columns_are_stacked() -> None:
    from metatoken.data.frames import stacked

    frames = [pl.DataFrame({"a": [1]}), pl.DataFrame({"b": ["x"], "a": [None]})]
    assert stacked(frames).rows() == [(1, None), (None, "x")]


EVERY = {f"table: {name}": case[:2] for cases in (RIGHT, REFUSED) for name, case in cases.items()}
EVERY |= {f"text: {name}": ({case[0]: case[1]}, case[2]) for name, case in (odd.RIGHT | odd.REFUSED).items()}


def looked_at(files: Mapping[str, Content], arguments: Mapping[str, Any], folder: Path) -> tuple[int, str]:
    """Exit code of `metatoken inspect`, and what it says that is no warning."""
    known = {name: value for name, value in arguments.items() if name in ("where", "time_format", "time_zone")}
    options = [text for name, value in known.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said), pytest.raises(SystemExit) as left:
        main(["inspect", str(written(folder, files)), *options, "--write", str(folder / "c.yaml")])
    lines = [line for line in said.getvalue().splitlines() if line and not line.startswith(("warning: ", "read "))]
    return int(left.value.code or 0), "\n".join(lines)


@pytest.mark.parametrize("name", ["table: lists as ids", "text: a long field", "table: a day that no calendar has"])
def test_what_is_odd_can_be_looked_at(name: str, tmp_path: Path) -> None:
    code, said = looked_at(*EVERY[name], tmp_path)
    assert (code, len(said.splitlines())) in ((0, 0), (2, 1)), said


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_everything_odd_can_be_looked_at_and_is_read_so(name: str, tmp_path: Path) -> None:
    code, said = looked_at(*EVERY[name], tmp_path)
    assert (code, len(said.splitlines())) in ((0, 0), (2, 1)), said
    if code == 0:
        read_log(load_config(tmp_path / "c.yaml").data)
