"""Guess how the dates of a log are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from metatoken.data.times import ISO, UNITS, looks_numeric

if TYPE_CHECKING:
    from metatoken.data.columns import RawTable
    from metatoken.data.understood import Guess

LINES = 1000  # that decide whether a form is worth trying on all
DATES = (
    *("%d.%m.%Y", "%d-%m-%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%y", "%d-%m-%y", "%d/%m/%y", "%m/%d/%y"),
    *("%Y%m%d", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y"),
)
FORMS = [
    f"{date}{clock}"
    for date in DATES
    for clock in ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", ", %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
]  # fmt: skip
SENSIBLE = (1980, 2100)  # years of a log


def guess_time(found: Guess, table: RawTable, name: str) -> bool:
    """Whether a column holds times; adds the form of their dates."""
    raw = table.column(name, "time")
    dated = raw.dtype in (pl.Date, pl.Datetime)
    if dated or raw.dtype.is_nested():
        return dated
    text = raw.cast(pl.String, strict=False).str.strip_chars()
    text = text.filter((text != "").fill_null(value=False))
    if len(text) == 0 or "time_format" in found.settings or text.str.contains(ISO).all():
        return len(text) > 0
    if looks_numeric(text):
        number = text.cast(pl.Float64, strict=False)
        whole = number.null_count() == 0
        if whole and float(number.min() or 0) >= 1e8:  # type: ignore[arg-type]
            middle = abs(float(number.median() or 0))  # type: ignore[arg-type]
            unit = next(unit for unit, least in UNITS.items() if middle >= least)
            found.reasons["time"] = f"numbers of the size of {unit} since 1970"
            return True
        if whole and not text.str.contains(r"^(19|20)\d{6}$").all():
            return True
    fits = [form for form in FORMS if _fits(text, form)]
    if not fits:
        bad = _unread(text)
        said = f"{name} could hold times, but {len(bad):,} of {len(text):,} values cannot be read, e.g. {bad[0]!r}"
        found.warnings.append(f"{said}; mend them, leave them out (--where), or say --time and --time-format")
        return False
    found.add("time_format", fits[0], f"reads every value, such as {text[0]}")
    if len(fits) > 1:
        found.warnings.append(f"the dates of {name} could be {' or '.join(fits)}; {fits[0]} is taken")
    return True


def are_dates(table: RawTable, name: str) -> bool:
    """Whether a column holds dates, be it as text of any form that is known; whole numbers are none."""
    raw = table.column(name, "time")
    if raw.dtype != pl.String:
        return raw.dtype in (pl.Date, pl.Datetime)
    text = raw.str.strip_chars()
    text = text.filter((text != "").fill_null(value=False))
    if len(text) == 0 or looks_numeric(text):
        return False
    return text.str.contains(ISO).all() or any(_fits(text, form) for form in FORMS)


def _fits(text: pl.Series, form: str) -> bool:
    return all(_reads(part, form).all() for part in (text.head(LINES), text))  # most forms fail at once


def _reads(text: pl.Series, form: str) -> pl.Series:
    """Which texts are dates of this form, in a year that a log may have."""
    try:
        if "%H" in form or "%I" in form:
            years = text.str.to_datetime(form, strict=False).dt.year()
        else:
            years = text.str.to_date(form, strict=False).dt.year()
    except pl.exceptions.PolarsError:
        return pl.Series([False]).new_from_index(0, len(text))
    return years.is_between(*SENSIBLE).fill_null(value=False)


def _unread(text: pl.Series) -> pl.Series:
    """The values that cannot be read as most of the others are, be it as numbers, ISO dates or of another form."""
    best = max(FORMS, key=lambda form: _reads(text.head(LINES), form).sum())
    ways = [text.str.contains(ISO), text.cast(pl.Float64, strict=False).is_finite().fill_null(value=False)]
    return text.filter(~max([*ways, _reads(text, best)], key=lambda reads: int(reads.sum())))
