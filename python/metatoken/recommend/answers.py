"""Answers of a run to single questions: a rating, or a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from metatoken.artifacts import atomic_file, write_frame
from metatoken.data import columns
from metatoken.data.readers import JSON_LINES, PARQUET, SEPARATORS, read_table
from metatoken.errors import ArgumentError, DataError, hint
from metatoken.evaluate.answers import AnswerRunner
from metatoken.run.trainer import text_options
from metatoken.tasks.answers import AnswerRows
from metatoken.tasks.families import FIELDS, Family, families

if TYPE_CHECKING:
    from metatoken.decode.settings import TextOptions
    from metatoken.run.train import Run


def answer(
    run: Run,
    task: str,
    users: Sequence[str],
    items: Sequence[str],
    fields: Mapping[str, Sequence[str]] | None = None,
    *,
    question: str | None = None,
    options: TextOptions | None = None,
) -> list[float] | list[str]:
    """Answers a rating or text task for pairs of users and items.

    Args:
        run: A loaded run that was trained on the task.
        task: E.g. `rating` or `explanation`.
        users: Raw user ids `[n]`.
        items: Raw item ids `[n]`.
        fields: Texts that the question may use, `[n]` each, "" where there is none: `review`, `summary`, `rating`,
            `explanation`. Titles are known to the run.
        question: Id of the question to ask; None takes the first.
        options: How texts are written; None takes `evaluate.writing` of the run's configuration.

    Returns:
        Ratings, or texts; the answers of `rating_text` are texts.

    Raises:
        ArgumentError: The run was not trained on the task, a field is unknown or no part of the question, or one that
            the task needs is empty.
        UnknownIdError: A user or an item is not known to the run.
    """
    family = _family(run, task)
    asked = family.questions[0] if question is None else family.find(question)
    fields = {name: list(texts) for name, texts in (fields or {}).items()}
    for name in sorted(set(fields) & set(FIELDS) - asked.slots):
        others = [q.id for q in family.questions if name in q.slots]
        remedy = f"those that use it: {', '.join(others)}" if others else f"no question of the task {task!r} does"
        raise ArgumentError("fields", f"the question {asked.id} does not use {name!r}; {remedy}")
    if len(users) != len(items) or any(len(texts) != len(users) for texts in fields.values()):
        raise ArgumentError("items", f"expected as many as users, {len(users)}, of the items and of each field")
    if not users:
        return []
    vocabulary, settings = run.module.vocabulary, run.config
    item_rows = vocabulary.items.rows(list(items))
    if vocabulary.titles is not None and "title" not in fields:
        fields["title"] = [vocabulary.titles[row] for row in item_rows.tolist()]
    rows = AnswerRows.ask(
        family, vocabulary.users.rows(list(users)), item_rows, fields, run.module.tokenizer, settings.model.max_text
    )
    if options is None:
        options = text_options(settings)
    if run.answers is None:
        raise AssertionError("a run with such a task keeps its rows")
    runner = AnswerRunner(run.module, run.answers, options=options, seed=settings.seed)
    if family.answer == "rating":
        ratings: list[float] = runner.predict(rows, asked).tolist()
        return ratings
    return runner.write(rows, asked)


def answer_table(run: Run, task: str, path: str | Path, *, question: str | None = None) -> pl.DataFrame:
    """Answers every row of a table.

    Args:
        run: A loaded run that was trained on the task.
        task: E.g. `rating` or `explanation`.
        path: CSV, TSV, Parquet or JSON lines with the columns `user` and `item`, and fields of the question.
        question: Id of the question to ask; None takes the first.

    Returns:
        The columns `user`, `item` and `answer` (float64 or text), in the order of the table.

    Raises:
        DataError: The table cannot be read, or lacks a column.
        ArgumentError: See `answer`.
        UnknownIdError: See `answer`.
    """
    family = _family(run, task)
    asked = family.questions[0] if question is None else family.find(question)
    table = read_table(path, None)
    users, items = (columns.ids(table, name, name) for name in ("user", "item"))
    own = [name for name in FIELDS if name in table.frame.columns and name in asked.slots]
    for name in sorted(family.columns - {family.column} - set(own)):
        raise DataError(f"has no column {name!r}, which the task {task!r} needs", path)
    fields = {name: columns.texts(table, name, name).to_list() for name in own}
    found = answer(run, task, users.to_list(), items.to_list(), fields, question=question)
    return pl.DataFrame({"user": users, "item": items, "answer": found})


def check_suffix(path: Path) -> None:
    """Refuses a name that says no kind of table.

    Raises:
        ArgumentError: It ends in none of `.parquet`, `.csv`, `.tsv`, `.jsonl` and their like.
    """
    known = (*PARQUET, *SEPARATORS, *JSON_LINES)
    if path.suffix.lower() not in known:
        raise ArgumentError("out", f"expected a name that ends in {', '.join(known)}; got {path}")


def write_answers(answers: pl.DataFrame, path: Path) -> None:
    """Writes answers by the name of the file, which appears when it is complete.

    Raises:
        ArgumentError: See `check_suffix`.
        ArtifactError: The file cannot be written there.
    """
    check_suffix(path)
    suffix = path.suffix.lower()
    with atomic_file(path) as work:
        if suffix in PARQUET:
            write_frame(work, answers)
        elif suffix in SEPARATORS:
            answers.write_csv(work, separator=SEPARATORS[suffix])
        else:
            answers.write_ndjson(work)


def _family(run: Run, task: str) -> Family:
    known = [name for name in run.module.tasks if name in families()]
    if task not in known:
        have = f"it has {', '.join(known)}" if known else "it has none; name one in model.tasks and train"
        if task not in families():
            have = hint(task, known, have)
        raise ArgumentError("task", f"the run was not trained on {task!r} as a task with a rating or a text; {have}")
    return families()[task]
