"""Which rows of a log count: filters over its columns, windows of time, and users and items with enough of them."""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.data.columns import RawTable
from metatoken.data.conditions import parse_condition
from metatoken.data.expressions import KINDS, expression, names_in
from metatoken.data.items import attribute
from metatoken.data.settings import LogSettings
from metatoken.data.times import looks_numeric, moment
from metatoken.errors import ArgumentError, DataError

LATEST_FIFTH = "80%"  # where a split by time cuts that is told nothing else


def select_where(table: RawTable, where: str) -> tuple[RawTable, str]:
    """The rows that a filter lets pass, and how many it left out, in words.

    Columns of text that hold numbers, or true and false, are compared as such, as those of an item table are.

    Raises:
        ConditionError: The filter is not of the grammar, or compares what cannot be compared.
        DataError: It names a column that the table has not, or no row passes.
    """
    node = parse_condition(where)
    typed = {}
    for name in names_in(node):
        raw = table.column(name, "where")
        found = attribute(raw, table.decimal)
        typed[name] = pl.Series(name, [None] * len(raw), dtype=pl.String) if found is None else found.alias(name)
    frame = pl.DataFrame(typed)
    kinds = {name: KINDS[dtype] for name, dtype in frame.schema.items()}
    mask = frame.select(expression(node, kinds).alias("pass"))["pass"]
    if not mask.any():
        raise DataError(f"no row passes where: {where}", table.path)
    return table.filter(mask), left_out(f"where {where}", len(mask), int(mask.sum()))


def left_out(what: str, before: int, after: int) -> str:
    """How many rows a selection took away, in words."""
    return f"{what}: {before - after:,} of {before:,} rows are left out"


def in_window(times: pl.Series, raw: pl.Series, settings: LogSettings) -> pl.Series | None:
    """Which times lie in the window that settings name, None where they name none."""
    if settings.since is None and settings.until is None:
        return None
    mask = pl.Series([True]).new_from_index(0, len(times))
    if settings.since is not None:
        mask &= times >= boundary(settings.since, times, raw, settings, "since")
    if settings.until is not None:
        mask &= times < boundary(settings.until, times, raw, settings, "until")
    return mask


def boundary(text: str, times: pl.Series, raw: pl.Series, settings: LogSettings, argument: str) -> float:
    """A point in time that settings name, in the unit of the log's times."""
    dates = not (raw.dtype.is_numeric() or (raw.dtype == pl.String and looks_numeric(raw, settings.decimal))) or bool(
        settings.time_format
    )
    return moment(text, times, argument=argument, dates=dates, zone=settings.time_zone)


def borders(times: pl.Series, raw: pl.Series, settings: LogSettings) -> tuple[float | None, float]:
    """Where validation (None where it has no time of its own) and test of a split by time begin.

    A share, such as 80%, is the time of the row behind that share of the rows in the order of time; rows of one time
    are in one part. Numbers are in the unit of the log's times.

    Args:
        times: Those of the rows that count, not empty.
        raw: Column of the log.
        settings: Of the log.

    Raises:
        ArgumentError: A boundary is none, or they leave nothing before one of them.
    """
    given = {"validation_from": settings.validation_from, "test_from": settings.test_from or LATEST_FIFTH}
    found = {name: _border(text, times, raw, settings, name) for name, text in given.items() if text is not None}
    before = min(found.values())
    if not (times < before).any():
        name = min(found, key=found.__getitem__)
        said = f"expected a time after the first one of the log, {times.min()!r}, got {given[name]}"
        raise ArgumentError(name, f"{said}; a share of the rows is written 80%")
    if before < found.get("validation_from", before):
        said = f"expected a time before test_from, {given['test_from']}, got {given['validation_from']}"
        raise ArgumentError("validation_from", said)
    return found.get("validation_from"), found["test_from"]


def _border(text: str, times: pl.Series, raw: pl.Series, settings: LogSettings, argument: str) -> float:
    share = re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)\s*%", text)
    if share is None:
        return boundary(text, times, raw, settings, argument)
    if not 0 < (percent := float(share[1])) < 100:
        raise ArgumentError(argument, f"expected a share above 0% and below 100%, got {text}")
    return cast("float", times.sort()[int(len(times) * percent / 100)])


def core(users: pl.Series, items: pl.Series, min_user: int, min_item: int) -> tuple[NDArray[np.bool_], int]:
    """The largest part of a log whose users and items all have enough rows: its k-core.

    Args:
        users: Ids, `[n]`.
        items: Ids, `[n]`.
        min_user: Least rows of a user.
        min_item: Least rows of an item.

    Returns:
        Which rows are in it, bool `[n]`, and the rounds that it took.
    """
    sides = [(_codes(users), min_user), (_codes(items), min_item)]
    mask, rounds = np.ones(len(users), dtype=np.bool_), 0
    while True:
        before = int(mask.sum())
        for codes, least in sides:
            mask &= np.bincount(codes[mask], minlength=int(codes.max(initial=0)) + 1)[codes] >= least
        if int(mask.sum()) == before:
            return mask, rounds
        rounds += 1


def _codes(ids: pl.Series) -> NDArray[np.int64]:
    plain = ids.to_physical() if isinstance(ids.dtype, pl.Enum) else ids
    return plain.rank("dense").cast(pl.Int64).to_numpy() - 1


def select_core(frame: pl.DataFrame, settings: LogSettings, path: object) -> tuple[pl.DataFrame, str]:
    """The k-core of a frame of `user` and `item`, and what it left out, in words; `DataError` where nothing is left."""
    mask, rounds = core(frame["user"], frame["item"], settings.min_user, settings.min_item)
    kept = frame.filter(pl.Series(mask))
    name = f"min_user {settings.min_user}, min_item {settings.min_item}"
    if kept.height == 0:
        raise DataError(f"{name}: no user and item have as many rows of each other; take less", path)
    users, items = (frame[side].n_unique() - kept[side].n_unique() for side in ("user", "item"))
    said = left_out(name, frame.height, kept.height)
    return (
        kept,
        f"{said}, with them {users:,} users and {items:,} items ({rounds} {'round' if rounds == 1 else 'rounds'})",
    )
