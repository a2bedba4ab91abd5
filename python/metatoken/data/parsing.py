"""Settings of a log that are written in more ways than one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from metatoken.config import SettingError, shown

BORDERS = ("validation_from", "test_from")  # of a split by time


def parse_moment(value: Any) -> str:
    """A point in time as text: a date, which YAML reads as an object of its own, or a number.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError(f"expected a date such as 2024-05-31 or a number, got {value!r}")
    return str(value).strip()


def is_zone(name: str) -> bool:
    """Whether a time zone has this name."""
    import polars as pl

    try:
        pl.Series([0]).cast(pl.Datetime).dt.replace_time_zone(name)
    except pl.exceptions.PolarsError:
        return False
    return True


def parse_columns(value: Any) -> tuple[str, ...]:
    """Names of columns: a list, or text with commas.

    Raises:
        ValueError: It is something else, or a name comes twice.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"expected names of columns such as [user, item, time], got {value!r}")
    names = tuple(name.strip() for text in texts for name in text.split(","))
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"expected each column to have a name of its own, got {', '.join(names)}")
    return names


def parse_separator(value: Any) -> str:
    """A separator; a tab may be written as shells leave it.

    Raises:
        ValueError: It is no text.
    """
    if isinstance(value, str):
        return "\t" if value in ("\\t", "tab") else value
    raise ValueError(f"expected text such as ; or |, got {value!r}")


def cut_in_time(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings whose `split: {time: 80%}`, or `{time: [70%, 80%]}`, is written as the settings that it stands for.

    Raises:
        SettingError: The split is a mapping of another form, or its boundaries are given twice.
    """
    split = values.get("split")
    if not isinstance(split, Mapping):
        return values
    given = split.get("time")
    cuts = given if isinstance(given, list | tuple) else [given]
    if set(split) != {"time"} or None in cuts or not 1 <= len(cuts) <= len(BORDERS):
        said = "expected the name of a split, {time: 80%} or {time: [2024-05-01, 2024-06-01]}"
        raise SettingError(("split",), f"{said}, got {shown(dict(split))}")
    named = dict(zip(BORDERS[-len(cuts) :], cuts, strict=True))
    if double := [name for name in BORDERS if name in values]:
        raise SettingError((double[0],), "is said by split, too; leave one of them out")
    return {**values, "split": "time", **named}
