"""Read files as raw tables. Every failure is a `DataError` that names the file and, where known, the line.

polars reads text that leaves no doubt (`data.quick_csv`). Where a quotation mark stands in a place of its own, a line
is blank or a row has too many fields, Python's reader goes over the whole file: it knows the line of each row, and so
what to say.
"""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from metatoken.artifacts.formats import table_size
from metatoken.bounds import beyond_memory
from metatoken.data.coded import read_coded
from metatoken.data.columns import RawTable, other_separator
from metatoken.data.files import (
    check_text,
    decode,
    find_files,
    partition_of,
    read_bytes,
    suffix_of,
    without_marks,
)  # fmt: skip
from metatoken.data.frames import from_arrow, stacked
from metatoken.data.json_lines import read_json_lines
from metatoken.data.quick_csv import Wanted, quick_csv
from metatoken.data.settings import Dialect
from metatoken.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
JSON_LINES = (".jsonl", ".ndjson", ".json")
TABLES = (*SEPARATORS, *PARQUET, *JSON_LINES)
BATCH = 50_000  # rows that are Python objects at once
UNITS = "\x1f\x1e\x1d\x1c"  # one that is not in the text takes the place of a separator of several characters


def read_table(
    path: str | Path, wanted: Wanted | None, dialect: Dialect | None = None, ids: Mapping[str, str] | None = None
) -> RawTable:
    """Read CSV, TSV, Parquet or JSON lines, plain or compressed, by the name of the file; of several, all in a row.

    Columns that are not wanted may be left out of the frame; those that a mapping says a kind for may come as numbers,
    where no text is lost by it. None takes all (of JSON lines, those that the first
    thousand objects have). Folders such as `day=2024-05-31` around a file give it a column. `ids` are columns of ids by
    their arguments: of several Parquet files, these come as `data.coded` has them.
    """
    files, how, table = find_files(path, TABLES), dialect or Dialect(), None

    def read(file: Path, wanted: Wanted | None) -> RawTable:
        return _with_partition(_read_one(file, wanted, how), partition_of(file, path))

    if ids and len(files) > 1 and all(suffix_of(file) in PARQUET for file in files):
        table = read_coded(Path(path), files, read, wanted, ids)
    if table is None:
        table = joined(Path(path), [read(file, wanted) for file in files])
    if table.frame.height == 0 and table.frame.width:
        raise DataError("the file has columns but no rows", path)
    return replace(table, decimal=how.decimal)


def _read_one(path: Path, wanted: Wanted | None, how: Dialect) -> RawTable:
    suffix, data = suffix_of(path), read_bytes(path)
    if suffix in PARQUET:
        return _read_parquet(path, data, wanted)
    if suffix in JSON_LINES:
        return read_json_lines(path, decode(path, data, how.encoding), None if wanted is None else list(wanted))
    separator = how.separator or SEPARATORS.get(suffix)
    if separator is None:
        known = " ".join(TABLES)
        said = f"unknown kind of table {suffix or path.name!r}; tables end in {known} (or these with .gz, .zst, .bz2), "
        raise DataError(f"{said}others need separator; other logs need format='sequences', 'pairs' or 'sessions'", path)
    quote = how.quote if how.quote is not None else "" if separator == "\t" else '"'
    if quote == separator:
        raise DataError(f"quote and separator are both {quote!r}", path)
    check_text(path, data, how.encoding)
    if how.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig"):
        data = decode(path, data, how.encoding).encode()
    data, mark = without_marks(data), separator
    if len(separator.encode()) > 1:
        mark = next((one for one in UNITS if one.encode() not in data), UNITS[0])
        data = data.replace(separator.encode(), mark.encode())
    table = _read_csv(path, data, mark, quote, how.columns, wanted)
    if mark != separator and quote:  # inside of quotation marks it is text
        table = replace(
            table, frame=table.frame.with_columns(pl.col(pl.String).str.replace_all(mark, separator, literal=True))
        )
    return table


def _with_partition(table: RawTable, values: dict[str, str | None]) -> RawTable:
    added = {name: pl.lit(value, pl.String) for name, value in values.items() if name not in table.frame.columns}
    return replace(table, frame=table.frame.with_columns(**added), names=[*table.names, *added]) if added else table


def joined(path: Path, parts: list[RawTable]) -> RawTable:
    """Tables of several files as one, which still knows the file and line of each row."""
    if len(parts) == 1:
        return parts[0]
    ends = list(accumulate(part.frame.height for part in parts))

    def find(row: int) -> tuple[RawTable, int]:
        number = int(np.searchsorted(ends, row, side="right"))
        return parts[number], row - (ends[number - 1] if number else 0)

    def place(row: int) -> tuple[object, int | None, int]:
        part, inside = find(row)
        return (part.path, None, inside) if part.place is None else part.place(inside)

    def value_of(row: int, name: str) -> Any:
        part, inside = find(row)
        return part.frame[name][inside] if part.value_of is None else part.value_of(inside, name)

    try:
        frame = stacked([part.frame for part in parts])
    except (ValueError, pl.exceptions.PolarsError) as error:
        said = f"its files have columns of types that do not fit: {str(error).splitlines()[0]}{_unlike(parts)}"
        raise DataError(said, path) from error
    names = max((part.names for part in parts), key=len)
    names = [*names, *dict.fromkeys(name for part in parts for name in part.names if name not in names)]
    value_of_any = value_of if any(part.value_of for part in parts) else None
    return RawTable(frame, path, place, names, value_of_any, parts=parts)


def _unlike(parts: Sequence[RawTable]) -> str:
    """Which file does not fit the first one, where there is one."""
    first, *rest = parts
    for part in rest:
        try:
            stacked([first.frame, part.frame])
        except (ValueError, pl.exceptions.PolarsError):
            return f", as in {' and '.join(_short(str(first.path), str(part.path)))}"
    return ""


def _short(*paths: str) -> list[str]:
    """Paths without the folders that they share; as they are where they share none, as on two drives."""
    try:
        shared = os.path.commonpath([Path(path).absolute().parent for path in paths])
    except ValueError:
        return list(paths)
    return [os.path.relpath(path, shared) for path in paths]


def _read_csv(
    path: Path, data: bytes, separator: str, quote: str, columns: Sequence[str] | None, wanted: Wanted | None
) -> RawTable:
    """A table of text in UTF-8 without a byte order mark."""
    rows = _csv_rows(path, data, separator, quote)
    header, names = (0, list(columns)) if columns else next(rows, (1, [""]))
    names = [name.strip() for name in names]
    kinds = wanted if isinstance(wanted, Mapping) else {}
    kept = {name: kinds.get(name) for name in names if wanted is None or name in wanted}
    if header < 2 and not any(set(name) & set("\r\n") for name in names):
        frame = quick_csv(data, separator, quote, names, kept, header)
        if frame is not None:
            return RawTable(frame, path, lambda row: (path, row + 1 + header, row), names)
    decode(path, data)  # says where it is not UTF-8
    places, lines, frames = [names.index(name) for name in kept], array("q"), [pl.DataFrame()]
    while batch := list(islice(rows, BATCH)):
        for line, fields in batch:
            if len(fields) > len(names):
                said = f"{len(fields)} fields, but {'the header has' if header else 'columns names'} {len(names)}; "
                alone = other_separator(names) or "is the first line a remark? Remove it"
                said += alone if len(names) == 1 else "quote fields that hold the separator"
                raise DataError(said, path, line)
            lines.append(line)
        values = ([fields[at] if at < len(fields) else None for _, fields in batch] for at in places)
        columns_of = dict(zip(kept, values, strict=True))
        frames.append(pl.DataFrame(columns_of, schema=dict.fromkeys(kept, pl.String)))
    frame = pl.concat(frames[1:] or [pl.DataFrame(schema=dict.fromkeys(kept, pl.String))])
    return RawTable(frame, path, lambda row: (path, lines[row], row), names)


def _csv_rows(path: Path, data: bytes, separator: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """First line and fields of each row, header included; a mark inside of an unquoted field is a part of it."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace", newline="")
    quoting: Any = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    reader, line = csv.reader(text, delimiter=separator, strict=True, **quoting), 1
    limit = csv.field_size_limit(2**31 - 1)
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        said = f'a quotation mark is not closed or is misplaced ({error}); say quote: "" if marks are part of the text'
        raise DataError(said, path, line) from error
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: Path, data: bytes, wanted: Wanted | None) -> RawTable:
    if not data.startswith(b"PAR1"):
        raise DataError("the name says Parquet, but the content is not; rename or convert it", path)
    try:
        if said := beyond_memory(table_size(pa.BufferReader(data))):
            raise DataError(f"{said}; read it in parts", path)
        # pyarrow checks more than polars, which panics on some damaged files.
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        table = file.read(None if wanted is None else [name for name in names if name in wanted])
        table.validate(full=True)
        frame = from_arrow(table)
    except (pa.ArrowException, pl.exceptions.PanicException, pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise DataError(f"damaged Parquet file: {str(error).splitlines()[0]}", path) from error
    return RawTable(frame, path, names=names)


def read_lines(path: str | Path, form: str, dialect: Dialect | None = None) -> RawTable:
    """Read `sequences`, `pairs` or `sessions` as a table of `user` and `item`, oldest first."""
    how = dialect or Dialect()
    files = find_files(path, ())
    names = ["session-{}"] if len(files) == 1 else [f"session-{number}-{{}}" for number in range(1, len(files) + 1)]
    parts = [_read_one_of_lines(file, form, how, name) for file, name in zip(files, names, strict=True)]
    return joined(Path(path), parts)


def _reject_other_marks(path: Path, frame: pl.DataFrame, form: str) -> None:
    """Refuses lines whose ids are parted by more than blanks: the marks would become parts of the ids."""
    for mark, name in {",": "commas", ";": "semicolons", "|": "bars"}.items():
        ended = rf"(\S+\{mark}\s+)+[^\s{mark}]+$"  # all ids but the last, the user's among them or not
        rows = frame["text"].str.contains(rf"^(\S+\s+)?{ended}")
        _reject(path, frame, rows, f'ids end in {name}; say separator: "{mark}"')
        joined = frame["text"].str.contains(rf"^\S+\s+\S+\{mark}\S+$")
        if form == "sequences" and joined.all():
            _reject(
                path, frame, joined, f"the items of each user are one word, joined by {name}; put blanks in their place"
            )


def _read_one_of_lines(path: Path, form: str, how: Dialect, session: str) -> RawTable:
    frame = pl.DataFrame({"text": decode(path, read_bytes(path), how.encoding).split("\n")})
    frame = frame.with_row_index("line", offset=1)
    frame = frame.with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")
    if how.separator is None:
        words = pl.col("text").str.replace_all(r"\s+", " ").str.split(" ")
    else:
        words = pl.col("text").str.split(how.separator).list.eval(pl.element().str.strip_chars())
    frame = frame.select("line", "text", words.alias("words"))
    if how.separator is None:
        _reject_other_marks(path, frame, form)
    count = frame["words"].list.len()
    if form == "pairs":
        _reject(path, frame, count != 2, "expected 'user item' separated by a blank")
    if form == "sequences":
        _reject(path, frame, count < 2, "expected 'user item item ...'; this line has a user but no items")
    if form == "sessions":
        user, item = pl.format(session, "line"), pl.col("words")
    else:
        user, item = pl.col("words").list.first(), pl.col("words").list.slice(1)
    frame = frame.select("line", user.alias("user"), item.alias("item")).explode("item")
    lines = frame["line"]
    return RawTable(frame.select("user", "item"), path, lambda row: (path, int(lines[row]), row), ["user", "item"])


def _reject(path: Path, frame: pl.DataFrame, bad: pl.Series, expected: str) -> None:
    if bad.any():
        line, text = frame.filter(bad).row(0)[:2]
        raise DataError(f"{expected}, got {text[:60]!r}; for tables with a header use format='table'", path, int(line))


def read_raw(
    path: str | Path, form: str, wanted: Wanted, dialect: Dialect | None = None, ids: Mapping[str, str] | None = None
) -> RawTable:
    """Read a log in one of the formats of `data.settings.Format`; `ids` as in `read_table`."""
    return read_table(path, wanted, dialect, ids) if form == "table" else read_lines(path, form, dialect)
