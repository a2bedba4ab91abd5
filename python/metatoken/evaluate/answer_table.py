"""Ratings and texts that were scored, beside the true ones: a table of raw ids from which anyone can recompute them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from metatoken.artifacts import atomic_file, read_frame, write_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data import Interactions
    from metatoken.tasks.answers import AnswerRows

SCHEMA = pl.Schema(
    dict.fromkeys(("task", "template", "split", "model", "user", "item", "answer", "reference"), pl.String())
)


def answers_table(
    log: Interactions, held: AnswerRows, answers: Sequence[str], *, template: str, split: str, model: str
) -> pl.DataFrame:
    """One row for each held-out pair that was asked about.

    Args:
        log: Has the raw ids of the rows.
        held: The pairs and the true answers.
        answers: Texts, or numbers as text, in the order of `held`.
        template: Id of the question, "-" for a baseline.
        split: Part that the pairs are of, "validation" or "test".
        model: E.g. "written", "rating_head", "biases".

    Returns:
        The columns of `SCHEMA`, all text. Numbers are written so that `float` gives them back exactly.
    """
    ids = {
        "user": pl.Series(log.users.raw, dtype=pl.String).gather(held.users),
        "item": pl.Series(log.items.raw, dtype=pl.String).gather(held.items),
    }
    texts = {"answer": list(answers), "reference": list(held.written[held.family.column])}
    labels = {"task": held.family.name, "template": template, "split": split, "model": model}
    frame = pl.DataFrame(ids | texts).with_columns(pl.lit(text).alias(name) for name, text in labels.items())
    return frame.select(SCHEMA.names()).cast(SCHEMA)


def write_answers_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Writes a table of `answers_table` (or several, concatenated) as Parquet, whole or not at all."""
    with atomic_file(path) as file:
        write_frame(file, frame.select(SCHEMA.names()))


def read_answers_table(path: str | Path) -> pl.DataFrame:
    """Reads what `write_answers_table` wrote.

    Raises:
        ArtifactError: The file is missing, is not Parquet, or lacks a column.
    """
    return read_frame(Path(path), SCHEMA).select(SCHEMA.names())


def export_answers(frame: pl.DataFrame, folder: str | Path, *, part: str = "test") -> Path:
    """Writes the rows of a part as JSON lines, `answers.jsonl`, beside the plain files of `export_plain`."""
    path = Path(folder) / "answers.jsonl"
    with atomic_file(path) as file:
        frame.filter(pl.col("split") == part).write_ndjson(file)
    return path
