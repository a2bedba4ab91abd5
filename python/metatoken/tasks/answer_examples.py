"""Training examples of the rating and text tasks, made afresh with a drawn question each time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from metatoken.errors import ArgumentError
from metatoken.tasks.answers import AnswerRows, QuestionEncoder
from metatoken.tasks.biases import ratings_of
from metatoken.tasks.examples import Batch, Example, collate
from metatoken.tasks.families import answer_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data import RowSplit
    from metatoken.tasks.prompts import PromptEncoder

NOTHING = np.zeros(0, dtype=np.int64)


class AnswerExamples:
    """Examples by task and row.

    Args:
        tables: Training rows of each task.
        targets: float32 `[n]` for each table: what the rating head should tell (not read in a text task).
        encoder: Splices ids.
    """

    def __init__(self, tables: Sequence[AnswerRows], targets: Sequence[np.ndarray], encoder: PromptEncoder) -> None:
        self.tables, self.targets = tuple(tables), tuple(targets)
        self.encoder = QuestionEncoder(encoder)
        self.questions = [[q for q in table.family.questions if q.seen] for table in self.tables]

    @property
    def names(self) -> tuple[str, ...]:
        """Tasks in the order of the tables."""
        return tuple(table.family.name for table in self.tables)

    def sizes(self, number: int) -> np.ndarray:
        """About how many tokens the rows of a table take, int64 `[n]`: its texts, which is what differs."""
        table = self.tables[number]
        asked = table.family.columns | {table.family.column}
        lengths = [texts.lengths() for name, texts in table.fields.items() if name in asked and name != "rating"]
        total: np.ndarray = np.sum([np.zeros(len(table), dtype=np.int64), *lengths], axis=0)
        return total

    def example(self, number: int, row: int, rng: np.random.Generator | None) -> Example:
        """The example of a row, with one of the seen questions.

        Args:
            number: Which table.
            row: Which row of it.
            rng: Draws the question; None takes the first.
        """
        table, questions = self.tables[number], self.questions[number]
        question = questions[0 if rng is None else int(rng.integers(len(questions)))]
        ids, leaves = self.encoder.question(table, row, question)
        if table.family.answer == "rating":
            return Example(ids, leaves, NOTHING, NOTHING, rating=self.targets[number][row : row + 1])
        answer = self.encoder.answer(table, row)
        where = np.arange(len(ids), len(ids) + len(answer))
        leaves = np.concatenate([leaves, np.full(len(answer), -1)])
        return Example(np.concatenate([ids, answer]), leaves, NOTHING, NOTHING, text=where)


class HeldOutAnswers(Dataset[Batch]):
    """Batches of held-out rows of one rating or text task, asked with its first seen question.

    Args:
        examples: Of held-out rows.
        task: Which task.
        limit: Rows at most, drawn once; None takes all.
        seed: Of the draw.
        batch_size: Rows in a batch.
    """

    def __init__(
        self, examples: AnswerExamples, task: str, *, limit: int | None, seed: int, batch_size: int = 64
    ) -> None:
        self.examples, self.number, self.batch_size = examples, examples.names.index(task), batch_size
        rows = np.arange(len(examples.tables[self.number]))
        if limit is not None and len(rows) > limit:
            rows = np.random.default_rng(seed).choice(rows, limit, replace=False)
        self.rows = rows[np.argsort(examples.sizes(self.number)[rows], kind="stable")]

    def __len__(self) -> int:
        """Batches in all."""
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`."""
        chosen = self.rows[number * self.batch_size : (number + 1) * self.batch_size].tolist()
        made = [self.examples.example(self.number, row, None) for row in chosen]
        return collate(made, [0] * len(made), self.examples.encoder.encoder.pad_id)


def answer_examples(
    rows: RowSplit | None, part: str, model: Any, tasks: Sequence[str], seed: int
) -> AnswerExamples | None:
    """Examples of a part for the rating and text tasks among `tasks`; None where there are none.

    The head learns what biases leave over of ratings that they have not seen (`RatingBias.out_of_fold`): that is what
    it will meet on held-out rows.

    Args:
        rows: The log in three parts.
        part: "train", or the name of a held-out part.
        model: A `MetaTokenModule`.
        tasks: Of the run.
        seed: Of the folds.

    Raises:
        ArgumentError: A rating task, and the model has no `ratings`; or the log lacks a column.
    """
    families = answer_tasks(tasks)
    if rows is None or not families:
        return None
    log = rows.train if part == "train" else rows.part(part)
    tables = [AnswerRows.of(family, log, model.tokenizer, model.settings.max_text) for family in families]
    rest = np.zeros(len(log))
    if any(family.answer == "rating" for family in families) and len(log):
        base = model.ratings
        if base is None:
            raise ArgumentError("tasks", "a rating task needs MetaTokenModule(..., ratings=RatingBase.fit(...))")
        users, items = (log.frame[name].to_numpy() for name in ("user", "item"))
        told = base.out_of_fold(log, seed) if part == "train" else base.biases.predict(users, items)
        rest = (ratings_of(log) - told) / base.spread
    return AnswerExamples(tables, [rest[table.rows].astype(np.float32) for table in tables], model.builder.encoder)
