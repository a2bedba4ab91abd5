"""Times of a log as numbers: unix times in the unit they came in, and dates in seconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import polars as pl

from metatoken.data.columns import RawTable, as_numbers, refuse
from metatoken.errors import ArgumentError

# The largest whole number below which every integer is a float64.
EXACT = 2.0**53
EXPECTED = "a number (unix time) or an ISO 8601 date such as 2024-05-31T12:00:00Z; say time_format for another date"
# Date, hours and minutes, seconds, fraction, zone; each with all of its digits, so that 31-01-24 is no year 31.
OFFSET = r"[zZ]|UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?"
ISO = rf"^(\d{{4}}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{{1,9}}))?)?\s?({OFFSET})?)?$"
YEAR = "a year of four digits; say %y in time_format for two"
FIRST_YEAR = 1000  # below it, a year of four digits was two digits
# Seconds since 1970 have ten digits, finer units three more each.
UNITS = {"nanoseconds": 1e17, "microseconds": 1e14, "milliseconds": 1e11, "seconds": 0.0}
EARLY = 1e8  # seconds since 1970: numbers below, which is 1973, are counters or ranks
YEARS = (1980, 2100)  # of a log
SENSIBLE = (315532800.0, 4102444800.0)  # the same, in seconds since 1970
A_SECOND = {"nanoseconds": 10**9, "microseconds": 10**6, "milliseconds": 1000, "seconds": 1}


def times(table: RawTable, name: str, form: str | None = None, zone: str | None = None) -> pl.Series:
    """Times as numbers: int64 where all are whole, else float64.

    Numbers are kept in the unit they came in; dates become seconds since 1970 UTC, or whole nanoseconds where some are
    finer than a microsecond.

    Args:
        table: The table.
        name: Its column.
        form: How dates are written, as in strftime; by default ISO 8601.
        zone: Zone of dates that name none; by default UTC. Of an hour that a clock passes twice, the first counts.
    """
    raw = table.column(name, "time")
    expected = EXPECTED if form is None else f"a date of the form {form} (time_format)"
    if not (raw.dtype == pl.String or raw.dtype.is_numeric() or raw.dtype in (pl.Date, pl.Datetime)):
        raise table.error(f"column {name!r} for time holds {raw.dtype}, expected {expected}")
    if form is None and raw.dtype.is_integer():
        number = raw.cast(pl.Int64, strict=False)
        refuse(table, raw, number.is_null(), "time", expected)
        return number
    if raw.dtype in (pl.Date, pl.Datetime):
        return _seconds(table, raw, _zoned(table, raw, raw.cast(_typed(raw.dtype)), zone), expected)
    if form is not None:
        return _seconds(table, raw, _formatted(table, raw.cast(pl.String), form, zone), expected)
    if raw.dtype == pl.String and not looks_numeric(raw, table.decimal):
        return _seconds(table, raw, _iso(table, raw, zone), expected)
    return _numbers(table, raw, expected)


def looks_numeric(raw: pl.Series, decimal: str = ".") -> bool:
    """Whether the first value of a text column that is not empty is a number, with this mark of fractions."""
    text = raw.drop_nulls().head(100).str.strip_chars()
    text = text.filter(text != "")
    return len(text) == 0 or as_numbers(text.head(1), decimal)[0] is not None


def unit_of(values: pl.Series) -> str:
    """The unit that numbers of today's size are in, if they count from 1970."""
    middle = abs(float(values.median() or 0))  # type: ignore[arg-type]
    return next(unit for unit, least in UNITS.items() if middle >= least)


def epoch_unit(values: pl.Series) -> str | None:
    """The unit of times that count from 1970; None for counters and ranks."""
    return unit_of(values) if abs(float(values.median() or 0)) >= EARLY else None  # type: ignore[arg-type]


def as_date(value: float) -> str:
    """A time as a person reads it, to the second in UTC, where it counts from 1970 in any unit; else the number."""
    unit = next(unit for unit, least in UNITS.items() if abs(value) >= least)
    seconds = value / A_SECOND[unit]
    if not SENSIBLE[0] <= seconds < SENSIBLE[1]:
        return f"{value:g}" if isinstance(value, float) else str(value)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def suspicious(values: pl.Series) -> Iterator[str]:
    """What looks wrong about times that count from 1970, a sentence each: other units, and years that no log has."""
    yield from _odd_numbers(values)
    unit = unit_of(values)
    seconds = values.cast(pl.Float64) / A_SECOND[unit]
    if abs(float(seconds.median() or 0)) < EARLY:  # type: ignore[arg-type]
        return
    least = UNITS[unit]
    above = min((one for one in UNITS.values() if one > least), default=np.inf)
    size = values.cast(pl.Float64).abs()
    other = (size >= EARLY) & ((size < least) | (size >= above))
    odd = ~other & ~seconds.is_between(*SENSIBLE)
    for rows, said in (
        (other, f"are of another unit than the others, which are {unit} since 1970; their place in the order is wrong"),
        (odd, "lie before 1980 or after 2100; check the column, and how its dates are read (time_format)"),
    ):
        if rows.any():
            yield f"{int(rows.sum()):,} of {len(values):,} times, e.g. {values[int(rows.arg_max() or 0)]}, {said}."


def _odd_numbers(values: pl.Series) -> Iterator[str]:
    """What looks wrong about numbers that are no unix times, or more than a float tells apart."""
    if values.dtype == pl.Float64 and (large := int((values.abs() >= EXACT).sum())):
        yield f"{large:,} times are larger than a float tells apart (2^53); write them as whole numbers."
    if len(values) < 3 or not values.dtype.is_integer():
        return
    first, last = values // 10_000, values % 10_000
    if (
        first.is_between(*YEARS).all()
        and (last // 100).is_between(1, 12).all()
        and (last % 100).is_between(1, 31).all()
    ):
        yield f"All times look like dates, e.g. {values[0]}, and count as seconds since 1970; say time_format: %Y%m%d."
    elif last.is_between(*YEARS).all() and first.is_between(101, 3112).all():
        yield f"All times look like dates, e.g. {values[0]:08}, whose order is another; say time_format: %d%m%Y or so."


def moment(text: str, values: pl.Series, *, argument: str, dates: bool, zone: str | None) -> float:
    """A point in time in the unit of a column.

    Args:
        text: A number, which is in that unit already, or an ISO 8601 date.
        values: The times of the column.
        argument: What the text is given as.
        dates: Whether the column held dates, so that a number is no time of it.
        zone: Zone of a date that names none.

    Raises:
        ArgumentError: It is neither.
    """
    one = pl.Series("time", [text])
    if looks_numeric(one):
        if dates:
            raise ArgumentError(argument, f"expected a date such as 2024-05-31, as the log has them; got {text}")
        return _of_unit(float(text), values, argument)
    when = _iso(RawTable(one.to_frame()), one, zone)
    if when[0] is None:
        raise ArgumentError(argument, f"expected a date such as 2024-05-31 or 2024-05-31T12:00:00Z, got {text!r}")
    seconds = when.dt.epoch("ns" if when.dtype == pl.Datetime("ns", "UTC") else "us")[0]
    return float(seconds) / (1e9 if when.dtype == pl.Datetime("ns", "UTC") else 1e6) * A_SECOND[unit_of(values)]


def _of_unit(number: float, values: pl.Series, argument: str) -> float:
    """A number that is to be compared with times; refused where it is of another unit, as 2024 is among seconds."""
    unit = epoch_unit(values)
    if not np.isfinite(number) or (unit is not None and epoch_unit(pl.Series([number])) != unit):
        like = "of the log's own" if unit is None else f"such as {values.max()!r}, in {unit} since 1970"
        raise ArgumentError(argument, f"expected a date such as 2024-05-31, or a time {like}; got {number:g}")
    return number


def _numbers(table: RawTable, raw: pl.Series, expected: str) -> pl.Series:
    text = raw.str.strip_chars() if raw.dtype == pl.String else raw
    if raw.dtype == pl.String:
        whole = text.cast(pl.Int64, strict=False)
        if whole.has_nulls():
            whole = text.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
        if not whole.has_nulls():
            return whole
    number = as_numbers(text, table.decimal)
    refuse(table, raw, ~number.is_finite().fill_null(False), "time", expected)
    return _whole(number)


def _whole(number: pl.Series) -> pl.Series:
    values = number.to_numpy()
    integral = bool(np.all((values == np.floor(values)) & (np.abs(values) < EXACT)))
    return number.cast(pl.Int64) if integral else number


def _seconds(table: RawTable, raw: pl.Series, when: pl.Series, expected: str) -> pl.Series:
    refuse(table, raw, when.is_null(), "time", expected)
    if when.dtype == pl.Datetime("ns", "UTC"):
        fine = when.dt.epoch("ns")
        if (fine % 1000 != 0).any():
            return fine
        when = when.cast(pl.Datetime("us", "UTC"))
    return _whole(when.dt.epoch("us").cast(pl.Float64) / 1e6)


def _typed(dtype: pl.DataType) -> pl.Datetime:
    """What a type of dates becomes: microseconds, or nanoseconds where it has them, in the zone that it names."""
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("ns" if dtype.time_unit == "ns" else "us", dtype.time_zone)
    return pl.Datetime("us")


def _zoned(table: RawTable, raw: pl.Series, when: pl.Series, zone: str | None) -> pl.Series:
    """Dates in UTC; those without a zone are of the one given."""
    if isinstance(when.dtype, pl.Datetime) and when.dtype.time_zone is not None:
        return when.dt.convert_time_zone("UTC")
    try:
        here = when.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null")
    except pl.exceptions.PolarsError as error:
        raise ArgumentError("time_zone", f"expected a name such as Europe/Berlin, got {zone!r}") from error
    refuse(table, raw, here.is_null() & when.is_not_null(), "time", f"an hour that {zone} has: clocks skip it that day")
    return here.dt.convert_time_zone("UTC")


def _iso(table: RawTable, raw: pl.Series, zone: str | None) -> pl.Series:
    part = raw.str.strip_chars().str.extract_groups(ISO).struct.unnest()
    date, minute, second, fraction, offset = (part[name] for name in part.columns)
    fraction = fraction.fill_null("0").str.pad_end(9, "0")
    unit: Literal["ns", "us"] = "ns" if (fraction.str.slice(6) != "000").any() else "us"
    text = date + " " + minute.fill_null("00:00") + ":" + second.fill_null("00") + "." + fraction
    naive = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit=unit)
    refuse(table, raw, (naive.dt.year() < FIRST_YEAR).fill_null(False), "time", YEAR)
    if offset.null_count() == len(offset):
        return _zoned(table, raw, naive, zone)
    digits = offset.str.replace(r"^([zZ]|UTC)$", "+00").str.replace(":", "", literal=True)
    hours = digits.str.slice(0, 3).cast(pl.Int64) * 60
    minutes = digits.str.slice(3, 2).replace("", "0").cast(pl.Int64)
    shift = hours + pl.select(pl.when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes)).to_series()
    when = naive.dt.replace_time_zone("UTC") - pl.select(pl.duration(minutes=pl.lit(shift), time_unit=unit)).to_series()
    local = pl.select(pl.when(shift.is_null()).then(naive)).to_series()
    return when.fill_null(_zoned(table, raw, local, zone))


def _formatted(table: RawTable, raw: pl.Series, form: str, zone: str | None) -> pl.Series:
    form = form.replace(".%f", "%.f")
    if "%f" in form or "%Z" in form:
        said = "fractions stand behind a point, .%f" if "%f" in form else "names of zones are not read; say time_zone"
        raise ArgumentError("time_format", f"{said}; got {form!r}")
    offset = "%z" in form or "%:z" in form
    if offset:
        raw = raw.str.strip_chars().str.replace(r"[zZ]$", "+00:00")
    try:
        when = raw.str.strip_chars().str.to_datetime(
            form, strict=False, time_unit="ns" if "f" in form else "us", time_zone="UTC" if offset else None
        )
    except pl.exceptions.PolarsError as error:
        # A date alone has no hours, which polars wants of a time.
        try:
            when = raw.str.strip_chars().str.to_date(form, strict=False).cast(pl.Datetime("us"))
        except pl.exceptions.PolarsError:
            raise ArgumentError("time_format", f"expected a form such as %d.%m.%Y %H:%M, got {form!r}") from error
    early = (when.dt.year() < FIRST_YEAR).fill_null(False)
    refuse(table, raw, early, "time", YEAR if "%Y" in form else "a date: time_format has no year")
    return when if offset else _zoned(table, raw, when, zone)
