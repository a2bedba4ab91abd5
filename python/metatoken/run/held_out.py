"""What a run holds out: last items for the ranking tasks, random rows for the rating and text tasks.

A pair that is held out for one task is in no other task's training data, in no graph and in no baseline: the random
rows are taken from what the ranking split lets everything learn from, and what is left is the train of both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from metatoken.data import RowSplit, Split, leave_last_out, random_split
from metatoken.errors import ArgumentError, ConfigError
from metatoken.tasks.families import FIELDS, answer_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data import Interactions


def hold_out(log: Interactions, tasks: Sequence[str], seed: int) -> tuple[Split, RowSplit | None]:
    """Splits a log for the tasks of a run.

    Args:
        log: The whole log.
        tasks: Of the run.
        seed: Of the random rows.

    Returns:
        The ranking split, and the rows of the rating and text tasks (None without such tasks). Both have the same
        train.

    Raises:
        ConfigError: The log lacks a column that a task needs, or has nothing in it.
    """
    split = leave_last_out(log)
    families = answer_tasks(tasks)
    if not families:
        return split, None
    for family in families:
        if lacking := sorted(family.columns - set(log.frame.columns)):
            raise ConfigError(
                f"model.tasks: {family.name} needs the column {lacking[0]}; name it as data.{lacking[0]} of the log"
            )
    try:
        rows = random_split(split, seed=seed)
    except ArgumentError as error:
        raise ConfigError(f"model.tasks: {families[0].name} has no rows to learn from ({error})") from error
    for family in families:
        texts = sorted(family.columns - {"rating"})
        if rows.train.frame.filter(pl.lit(True), *(pl.col(name).str.strip_chars() != "" for name in texts)).is_empty():
            raise ConfigError(f"model.tasks: {family.name} finds no training row that has a {' and a '.join(texts)}")
    return replace(split, train=rows.train), rows


def training_texts(rows: RowSplit | None, tasks: Sequence[str]) -> list[str]:
    """Texts that the tokenizer of a preset learns from: those of the training rows that a task reads or writes."""
    if rows is None:
        return []
    frame = rows.train.frame
    wanted = [name for name in FIELDS if name in frame.columns and name != "rating"]
    found = [text for name in wanted for text in frame[name].to_list() if text]
    titles = rows.train.titles() or []
    return found + [title for title in titles if title] if answer_tasks(tasks) else []
