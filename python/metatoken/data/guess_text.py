"""Guess how a text file is written: encoding, separator, header; and which kind of lines it holds."""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from metatoken.data.files import decode, read_bytes, suffix_of
from metatoken.data.readers import JSON_LINES, PARQUET, SEPARATORS
from metatoken.data.roles import of_role
from metatoken.data.times import ISO
from metatoken.data.understood import Guess
from metatoken.errors import DataError

LINES = 1000  # that decide about a separator
HEAD = 1 << 22  # characters that they are looked for in
MARKS = (",", "\t", ";", "|", "::")


def guess_text(found: Guess, path: Path) -> None:
    """Adds the dialect of a table, or the format of other lines."""
    suffix, text = suffix_of(path), _text(found, path)
    lines = _first_lines(text)
    if told := re.fullmatch(r"sep=(.)", lines[0]):
        raise DataError(f"the first line is Excel's: remove it, and say separator: {told[1]!r}", path, 1)
    is_table = _guess_separator(found, lines, suffix) or _has_names(found, lines)
    if found.settings.get("format", "table") != "table" or not is_table:
        _guess_lines(found, _lines(text))
    else:
        _guess_header(found, lines, suffix)


def dialect_of(own: dict[str, Any], path: Path) -> dict[str, Any]:
    """Separator and encoding of a text file."""
    found, suffix = Guess({**own, "path": path}), suffix_of(path)
    if suffix in (*PARQUET, *JSON_LINES):
        return {}
    _guess_separator(found, _first_lines(_text(found, path)), suffix)
    separator = found.settings.get("separator", SEPARATORS.get(suffix))
    return {"encoding": found.settings.get("encoding", "utf-8")} | ({"separator": separator} if separator else {})


def _text(found: Guess, path: Path) -> str:
    """The content of a text file; adds its encoding."""
    data = read_bytes(path)
    encoding = _encoding(data)
    if encoding != "utf-8":
        found.add("encoding", encoding, "not every byte is UTF-8")
    text = decode(path, data, found.settings.get("encoding", "utf-8"))
    if not text.strip():
        raise DataError("the file is empty", path)
    return text.lstrip()


def _lines(text: str) -> list[str]:
    """Lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def _first_lines(text: str) -> list[str]:
    return _lines(text[: text.find("\n", HEAD) + 1 or None])[:LINES]


def _encoding(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for name in ("utf-8", "cp1252"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def _rows(lines: list[str], mark: str) -> list[list[str]]:
    """The fields of each row at this separator; a row may have several lines."""
    with suppress(csv.Error):  # which a long field is, too
        if len(mark) == 1:
            quoting: Any = csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
            return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=mark, quoting=quoting))
    return [line.split(mark) for line in lines]


def _guess_separator(found: Guess, lines: list[str], suffix: str) -> bool:
    """Finds the separator of a table; False where the text is no table."""
    usual = SEPARATORS.get(suffix)
    if "separator" in found.settings:
        return True
    scored = {}
    for mark in (usual, *MARKS) if usual else MARKS:
        widths = [len(row) for row in _rows(lines, mark)]
        width = max(set(widths), key=widths.count)
        if width > 1 and widths.count(width) >= 0.95 * len(widths):
            scored[mark] = width
    if not scored:
        return usual is not None
    mark = (
        usual if usual in scored and scored[usual] * 2 > max(scored.values()) else max(scored, key=scored.__getitem__)
    )
    if mark != usual:
        found.add("separator", mark, f"divides every line into {scored[str(mark)]} fields")
    return True


def _has_names(found: Guess, lines: list[str]) -> bool:
    """Whether blanks divide a table: its first line names columns, and every line has as many words."""
    words = [line.split(" ") for line in lines]
    named = all(of_role(role, words[0]) for role in ("user", "item"))
    if named and len({len(one) for one in words}) == 1 and len(words) > 1:
        found.add("separator", " ", "the first line names columns")
    return "separator" in found.settings


def _guess_lines(found: Guess, lines: list[str]) -> None:
    words = [line.split() for line in lines]
    if all(len(one) == 2 for one in words):
        found.add("format", "pairs", "every line has two words")
    elif len({one[0] for one in words}) == len(words) and all(len(one) > 1 for one in words):
        found.add("format", "sequences", "every line begins with another word: its user")
    else:
        found.add("format", "sessions", "first words repeat, so lines have no users of their own")


def _guess_header(found: Guess, lines: list[str], suffix: str) -> None:
    """Names the columns of a table whose first line holds values."""
    mark = found.settings.get("separator") or SEPARATORS[suffix]
    rows = _rows(lines, mark)
    first = [name.strip() for name in rows[0]]
    if mark == "\t" and "quote" not in found.settings:
        _guess_quote(found, lines)
    # pandas gives its index no name.
    values = any(_is_number(one) or re.fullmatch(ISO, one) for one in first)
    # A name that stands twice is told when it is read, if it is used.
    named = all(of_role(role, first) for role in ("user", "item")) or len(set(first)) == len(first)
    if (named and all(first[1:]) and not values) or "columns" in found.settings:
        return
    names = [f"column{at}" for at in range(1, len(first) + 1)]
    dates = [
        at for at in range(len(first)) if all(len(row) > at and re.fullmatch(ISO, row[at].strip()) for row in rows)
    ]
    ids = [at for at in range(len(first)) if at not in dates][:2]
    for at, name in [*zip(ids, ("user", "item"), strict=False), *((at, "time") for at in dates[:1])]:
        names[at] = name
    for at in range(len(first)):
        if at in ids or at in dates:
            continue
        numbers = [float(row[at]) for row in rows if len(row) > at and _is_number(row[at])]
        if numbers and min(numbers) >= 1e8:
            names[at] = "time" if "time" not in names else names[at]
        elif numbers and min(numbers) >= 0 and 0 < max(numbers) <= 100 and "rating" not in names:
            names[at] = "rating"
    found.add("columns", names, "the first line holds values, so it is no header; check the names")


def _guess_quote(found: Guess, lines: list[str]) -> None:
    """Says that marks stand around fields of a TSV, where they are parts of the text by default."""
    if all(re.fullmatch('".*"', cell) for cell in lines[0].split("\t")):
        found.add("quote", '"', "names of columns stand in quotation marks")
        return
    marked = [cell.strip("\r") for line in lines for cell in line.split("\t") if '"' in cell]
    whole = all(re.fullmatch('"(?:[^"]|"")*"', cell) for cell in marked)
    if whole and any('""' in cell[1:-1] for cell in marked):
        found.add("quote", '"', "texts that hold such marks stand in marks, and have theirs twice")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) is not None
