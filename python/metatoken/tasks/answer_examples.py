"""Training examples of the rating and text tasks, made afresh with a drawn question each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metatoken.tasks.answers import AnswerRows, QuestionEncoder
from metatoken.tasks.examples import Example

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.tasks.prompts import PromptEncoder

NOTHING = np.zeros(0, dtype=np.int64)


class AnswerExamples:
    """Examples by task and row.

    Args:
        tables: Training rows of each task.
        targets: float32 `[n]` for each table: what the rating head should tell; empty for a text task.
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
        return np.sum([np.zeros(len(table), dtype=np.int64), *lengths], axis=0)

    def example(self, number: int, row: int, rng: np.random.Generator) -> Example:
        """The example of a row, with one of the seen questions.

        Args:
            number: Which table.
            row: Which row of it.
            rng: Draws the question.
        """
        table, questions = self.tables[number], self.questions[number]
        question = questions[int(rng.integers(len(questions)))]
        ids, leaves = self.encoder.question(table, row, question)
        if table.family.answer == "rating":
            return Example(ids, leaves, NOTHING, NOTHING, rating=self.targets[number][row : row + 1])
        answer = self.encoder.answer(table, row)
        where = np.arange(len(ids), len(ids) + len(answer))
        leaves = np.concatenate([leaves, np.full(len(answer), -1)])
        return Example(np.concatenate([ids, answer]), leaves, NOTHING, NOTHING, text=where)
