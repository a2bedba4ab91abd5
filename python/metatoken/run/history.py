"""The log of a run as it is kept in its folder: who took what, and for rating and text tasks what was said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from metatoken.artifacts import read_frame, write_frame
from metatoken.data import IdMap, Interactions
from metatoken.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from metatoken.tokens.vocabulary import Vocabulary

KEPT = ("rating", "review", "summary", "explanation")  # columns that answers are told or made from


def write_history(path: Path, log: Interactions, *, answers: bool) -> None:
    """Writes a log with raw ids as Parquet.

    Args:
        path: The file.
        log: The log.
        answers: Keep ratings and texts, too.
    """
    kept = [name for name in KEPT if name in log.frame.columns] if answers else []
    frame = log.frame.select("user", "item", *kept)
    write_frame(path, frame.with_columns(user=_raw(log.users, frame["user"]), item=_raw(log.items, frame["item"])))


def read_history(path: Path, vocabulary: Vocabulary) -> Interactions:
    """Reads what `write_history` wrote, with the titles of a vocabulary.

    Raises:
        ArtifactError: It is missing or broken, or has other users or items than the vocabulary.
    """
    frame = read_frame(path, {"user": pl.String, "item": pl.String})
    named: dict[str, Any] = {name: name for name in KEPT if name in frame.columns}
    log = Interactions.from_frame(frame, **named)
    if log.items.raw != vocabulary.items.raw or (vocabulary.n_users and log.users.raw != vocabulary.users.raw):
        raise ArtifactError(f"{path}: has other users or items than the vocabulary of the run")
    if vocabulary.titles is None:
        return log
    rows = pl.Series("item", range(log.n_items), dtype=pl.Int32)
    return replace(log, item_table=pl.DataFrame({"item": rows, "title": vocabulary.titles}))


def _raw(ids: IdMap, rows: pl.Series) -> pl.Series:
    return pl.Series(ids.raw, dtype=pl.String).gather(rows)
