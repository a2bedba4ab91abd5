"""Read files as raw tables. Every failure is a `DataError` that names the file and, where known, the line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from metatoken.data.columns import RawTable
from metatoken.errors import ArgumentError, DataError

FORMATS = ("table", "sequences", "pairs", "sessions")
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
JSON_LINES = (".jsonl", ".ndjson", ".json")
# First bytes of files that people rename by accident.
MAGIC = {b"\x1f\x8b": "gzip", b"PAR1": "Parquet", b"PK\x03\x04": "a zip archive or spreadsheet", b"BZh": "bzip2"}


def read_bytes(path: str | Path) -> tuple[Path, str, bytes]:
    """Path, suffix (in lower case, without .gz) and content of a file, decompressed where its name ends in .gz."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder, expected a file" if path.is_dir() else "no such file; check the path"
        raise DataError(what, path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path) from error
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower()
        if data and data[:2] != b"\x1f\x8b":
            raise DataError("the name ends in .gz, but the content is not gzip; rename or compress it", path)
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"damaged gzip file ({error}); copy or download it again", path) from error
    if not data.strip():
        raise DataError("the file is empty", path)
    return path, suffix, data


def decode(path: Path, data: bytes) -> str:
    """Bytes as UTF-8 text without a byte order mark."""
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            raise DataError(f"the content is {kind}, not the text that its name promises; rename or convert it", path)
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise DataError("the content is binary or UTF-16, not UTF-8 text; convert it", path, line)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        said = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file with UTF-8 encoding"
        raise DataError(said, path, line) from error


def read_table(path: str | Path, wanted: Sequence[str] | None) -> RawTable:
    """Read CSV, TSV, Parquet or JSON lines, plain or .gz, by the name of the file.

    Columns that are not wanted may be left out of the frame. None takes all (of JSON lines, those that the first
    thousand objects have).
    """
    path, suffix, data = read_bytes(path)
    if suffix in SEPARATORS:
        table = _read_csv(path, decode(path, data), SEPARATORS[suffix])
    elif suffix in PARQUET:
        table = _read_parquet(path, data)
    elif suffix in JSON_LINES:
        table = _read_json_lines(path, decode(path, data), wanted)
    else:
        known = " ".join([*SEPARATORS, *PARQUET, *JSON_LINES])
        said = f"unknown kind of table {suffix or path.name!r}; tables end in {known} (or these with .gz), "
        raise DataError(f"{said}other logs need format='sequences', 'pairs' or 'sessions'", path)
    if table.frame.height == 0:
        raise DataError("the file has columns but no rows", path)
    return table


def _read_csv(path: Path, text: str, separator: str) -> RawTable:
    try:
        frame = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        line, reason = _broken_csv(text, separator)
        raise DataError(reason or f"not a readable table: {str(error).splitlines()[0]}", path, line) from error
    names = [name.strip() for name in frame.columns]
    if len(set(names)) == len(names):
        frame.columns = names
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    rows: Sequence[int] = range(frame.height)
    if blank.any():
        # The parser turns an empty line into a row of nulls; a line of bare separators stays, and is an error later.
        lengths = [len(fields) for _, fields in _csv_rows(text, separator)][1:]
        empty = pl.Series([n == 0 for n in lengths]) if len(lengths) == len(blank) else blank
        rows = (~empty).arg_true().to_list()
        frame = frame[rows]

    def line_of(row: int) -> int | None:
        place = 1 + rows[row]
        return next((line for line, _ in islice(_csv_rows(text, separator), place, None)), place + 1)

    return RawTable(frame, path, line_of, frame.columns)


def _csv_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Slow reading, for messages only: (first line, fields) of each row, header included."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    limit = csv.field_size_limit(len(text) + 1)
    try:
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
    except csv.Error:
        return
    finally:
        csv.field_size_limit(limit)


def _broken_csv(text: str, separator: str) -> tuple[int | None, str]:
    width = line = None
    for line, fields in _csv_rows(text, separator):
        width = len(fields) if width is None else width
        if len(fields) > width:
            return line, f"{len(fields)} fields, but the header has {width}; quote fields that hold the separator"
    return (None, "") if line is None else (line + 1, "a quotation mark is not closed or is misplaced")


def _read_parquet(path: Path, data: bytes) -> RawTable:
    if not data.startswith(b"PAR1"):
        raise DataError("the name says Parquet, but the content is not; rename or convert it", path)
    try:
        # pyarrow checks more than Polars, which panics on some damaged files.
        table = pq.read_table(pa.BufferReader(data))
        table.validate(full=True)
        frame = pl.DataFrame(table)
    except (pa.ArrowException, pl.exceptions.PanicException, pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise DataError(f"damaged Parquet file: {str(error).splitlines()[0]}", path) from error
    return RawTable(frame, path, names=frame.columns)


def _read_json_lines(path: Path, text: str, wanted: Sequence[str] | None) -> RawTable:
    if text.lstrip().startswith("["):
        raise DataError("the content is one JSON array; write one object per line (JSON lines)", path, 1)
    lines = text.split("\n")
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    names: dict[str, None] = {}
    for number in numbers[:1000]:
        names.update(dict.fromkeys(_json_object(path, lines[number - 1], number)))
    schema = dict.fromkeys(names if wanted is None else wanted, pl.String)
    try:
        frame, reason = pl.read_ndjson(io.BytesIO(text.encode()), schema=schema), ""
    except pl.exceptions.PolarsError as error:
        frame, reason = pl.DataFrame(), str(error).splitlines()[0]
    if reason or frame.height != len(numbers):
        for number in numbers:
            _json_object(path, lines[number - 1], number)
        reason = reason or "objects and lines do not match; write one object per line"
        raise DataError(f"not readable as JSON lines: {reason}", path)
    absent = [name for name in frame.columns if name not in names and frame[name].null_count() == frame.height]
    return RawTable(frame.drop(absent), path, lambda row: numbers[row], list(names))


def _json_object(path: Path, line: str, number: int) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"broken JSON: {error}", path, number) from error
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object such as {{...}}, got {line.strip()[:40]}", path, number)
    return value


def read_lines(path: str | Path, form: str) -> RawTable:
    """Read `sequences`, `pairs` or `sessions` as a table of `user` and `item`, oldest first."""
    path, _, data = read_bytes(path)
    frame = pl.DataFrame({"text": decode(path, data).split("\n")}).with_row_index("line", offset=1)
    frame = frame.with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")
    words = pl.col("text").str.replace_all(r"\s+", " ").str.split(" ")
    frame = frame.select("line", "text", words.alias("words"))
    count = frame["words"].list.len()
    if form == "pairs":
        _reject(path, frame, count != 2, "expected 'user item' separated by a blank")
    if form == "sequences":
        _reject(path, frame, count < 2, "expected 'user item item ...'; this line has a user but no items")
    if form == "sessions":
        user, item = pl.format("session-{}", "line"), pl.col("words")
    else:
        user, item = pl.col("words").list.first(), pl.col("words").list.slice(1)
    frame = frame.select("line", user.alias("user"), item.alias("item")).explode("item")
    lines = frame["line"]
    return RawTable(frame.select("user", "item"), path, lambda row: int(lines[row]), ["user", "item"])


def _reject(path: Path, frame: pl.DataFrame, bad: pl.Series, expected: str) -> None:
    if bad.any():
        line, text = frame.filter(bad).row(0)[:2]
        raise DataError(f"{expected}, got {text[:60]!r}; for tables with a header use format='table'", path, int(line))


def read_raw(path: str | Path, form: str, wanted: Sequence[str]) -> RawTable:
    """Read a log in one of the `FORMATS`.

    Raises:
        ArgumentError: The format is unknown.
    """
    if form not in FORMATS:
        raise ArgumentError("format", f"expected one of {', '.join(FORMATS)}, got {form!r}")
    return read_table(path, wanted) if form == "table" else read_lines(path, form)
