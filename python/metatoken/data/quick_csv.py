"""CSV that leaves no doubt, as polars reads it, with numbers as such where nothing of their text is lost.

A program that reads whole numbers takes `007`, `+7`, `-0` and ` 7` for 7 and 0, but as ids they are texts of their own.
Such fields are looked for among the bytes of the file, in blocks that stay in the processor's cache, which takes a
tenth of the time of reading it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Kind = type[pl.DataType]  # Int64 or Float64
Wanted = Sequence[str] | Mapping[str, Kind | None]  # names of columns, perhaps with what they may be read as

BLOCK = 1 << 18  # bytes
SAMPLE = 50  # rows by which it is decided whether to try
PLAIN: dict[Kind, str] = {pl.Int64: r"^(0|[1-9]\d{0,18})$", pl.Float64: r"^\d{1,15}(\.\d{1,15})?$"}


def quick_csv(
    data: bytes, separator: str, quote: str, names: list[str], kept: Mapping[str, Kind | None], header: int
) -> pl.DataFrame | None:
    """The columns that are kept as polars reads them, None where it may not agree with the rules of the format."""
    unique = [name if name not in names[:at] else f"{name}\0{at}" for at, name in enumerate(names)]
    if data.startswith((b"x^", b"x\1")):
        return None  # polars takes such a text for a compressed one
    how: dict[str, Any] = {"skip_lines": header, "separator": separator, "quote_char": quote or None}
    scan = partial(pl.scan_csv, data, has_header=False, **how)
    text: dict[str, Any] = dict.fromkeys(unique, pl.String)
    mark = quote if quote and quote.encode() in data else ""
    numbers: dict[str, Any] = {}
    try:
        if mark and not _plain(data, separator, mark):
            return None
        numbers = _numbers(scan(schema=text), kept, data, separator, mark)
        blank = pl.all_horizontal(pl.all().is_null()).alias("\0blank")
        frame = scan(schema=text | numbers).select(*kept, blank).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        frame = None
    if numbers and (frame is None or not _all_finite(frame)):
        return quick_csv(data, separator, quote, names, dict.fromkeys(kept), header)
    return None if frame is None or frame.height == 0 or frame["\0blank"].any() else frame.drop("\0blank")


def _plain(data: bytes, separator: str, quote: str) -> bool:
    """Whether every line alone is a row whose quotation marks stand around fields or twice inside."""
    sep, mark = re.escape(separator), re.escape(quote)
    one = f"(?:[^{sep}{mark}]*|{mark}(?:[^{mark}]|{mark}{mark})*{mark})"
    lines = pl.scan_csv(data, has_header=False, separator="\1", quote_char=None, schema={"line": pl.String})
    fits = pl.col("line").str.contains(rf"^{one}(?:{sep}{one})*\r?$").fill_null(value=True)
    return bool(lines.select(fits.all()).collect().item())


def _numbers(
    table: pl.LazyFrame, kinds: Mapping[str, Kind | None], data: bytes, separator: str, quote: str
) -> dict[str, Kind]:
    """The columns whose first rows are numbers; whole ones only if no field of the text would lose its first bytes.

    Args:
        table: The table as text.
        kinds: As what columns of it may be read.
        data: The text that they are read from, with all of its columns.
        separator: One byte.
        quote: The quotation mark, one byte; "" where there is none in the text.
    """
    tried = {name: kind for name, kind in kinds.items() if kind is not None}
    sample = table.select(list(tried)).head(SAMPLE).collect()
    found = {name: kind for name, kind in tried.items() if sample[name].str.contains(PLAIN[kind]).all()}
    if pl.Int64 in found.values() and not _loses_nothing(np.frombuffer(data, np.uint8), separator, quote):
        return {name: kind for name, kind in found.items() if kind != pl.Int64}
    return found


def _all_finite(frame: pl.DataFrame) -> bool:
    """Whether all floats are finite as float32; others must be seen as text, which is shown, and NaN may be missing."""
    return all(column.cast(pl.Float32).is_finite().all() for column in frame if column.dtype == pl.Float64)


def _loses_nothing(data: NDArray[np.uint8], separator: str, quote: str) -> bool:
    """Whether no field but the first begins with zero, sign or blank that something follows; `0` and `0.5` may."""
    begins = [ord(mark) for mark in (separator, "\n", quote) if mark]
    may_begin, may_follow = np.zeros((2, 256), dtype=np.bool_)
    may_begin[[*begins, *b"\r."]] = may_follow[[*begins, *b"\r.,"]] = True
    for at in range(0, len(data) - 2, BLOCK):
        part = data[at : at + BLOCK + 2]
        before, first, then = part[:-2], part[1:-1], part[2:]
        low = before == begins[0]
        for mark in begins[1:]:
            low |= before == mark
        low &= first <= ord("0")
        rows = np.flatnonzero(low)
        if not (may_begin[first[rows]] | may_follow[then[rows]]).all():
            return False
    return True
