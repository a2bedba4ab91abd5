"""Which part of a split each row of a log is in: by time, by its place in the history, or as a column says."""

from __future__ import annotations

import polars as pl

from metatoken.data.columns import RawTable, has_text

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
NAMES = {"train": TRAIN, "training": TRAIN, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION}
NAMES |= {"dev": VALIDATION, "test": TEST, "testing": TEST}
PART = "\0part"  # column of a table that was put together from a file for each part
SHORTEST = 3  # one item to train on, one to validate, one to test


def named_parts(table: RawTable, name: str) -> pl.Series:
    """Parts as a column of a table says; `DataError` for a value that names none."""
    raw = table.column(name, "part")
    if not has_text(raw.dtype):
        raise table.error(f"column {name!r} for part holds {raw.dtype}, expected {', '.join(PARTS)}")
    found = raw.cast(pl.String).str.strip_chars().str.to_lowercase().replace_strict(NAMES, default=None)
    if found.has_nulls():
        row = int(found.is_null().arg_max() or 0)
        raise table.error(f"part {raw[row]!r} in column {name!r} is not one of {', '.join(PARTS)}", row)
    return found


def parts_by_time(times: pl.Series, validation_from: float | None, test_from: float) -> pl.Series:
    """Train before the first boundary, where there is one, validation before the second, then test."""
    first = test_from if validation_from is None else validation_from
    part = pl.when(times < first).then(pl.lit(TRAIN)).when(times < test_from).then(pl.lit(VALIDATION))
    return pl.select(part.otherwise(pl.lit(TEST)).alias("part")).to_series()


def last_validates(frame: pl.DataFrame) -> pl.Series:
    """The parts of a sorted log without validation, with the last training row of each user as such, if not alone."""
    train = pl.col("part") == TRAIN
    last = train & (train.cast(pl.Int32).cum_sum().over("user") == train.sum().over("user"))
    part = pl.when(last & (train.sum().over("user") > 1)).then(pl.lit(VALIDATION)).otherwise("part")
    return frame.select(part.alias("part"))["part"]


def parts_by_ratio(frame: pl.DataFrame, validation: float, test: float) -> pl.Series:
    """The last share of each history for test and the one before for validation, rounded, at least one row of each.

    Users with fewer than three rows are for training only.
    """
    n, place = pl.len().over("user"), pl.col("order")
    n_test = (n * test).round().clip(1)
    n_validation = (n * validation).round().clip(1) if validation else pl.lit(0)
    # Of a short history one row at least is left to train on.
    n_validation = pl.min_horizontal(n_validation, (n - n_test - 1).clip(0))
    part = (
        pl.when((n < SHORTEST) | (place < n - n_test - n_validation)).then(pl.lit(TRAIN))
        .when(place < n - n_test).then(pl.lit(VALIDATION))
        .otherwise(pl.lit(TEST))
    )  # fmt: skip
    return frame.select(part.alias("part"))["part"]
