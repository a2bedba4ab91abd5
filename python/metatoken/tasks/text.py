"""Tasks whose answer is a text: the question is read, the answer's tokens are supervised."""

from __future__ import annotations

import numpy as np

from metatoken.tasks.examples import Example
from metatoken.tasks.pairs import PairRows


class WritingRows(PairRows):
    """Training rows of one task that writes."""

    def supervised(self) -> np.ndarray:
        """The tokens of each answer."""
        texts = self.pairs.fields[str(self.task.column)]
        found = np.zeros((len(self), 4))
        found[:, 1] = texts.tokens.lengths + ~texts.cut  # an end token, unless the answer was cut
        return found

    def answered(self, row: int, ids: np.ndarray, items: np.ndarray) -> Example:
        """The answer stands behind its question."""
        answer = self.encoder.answer(self.pairs, row)
        return answering(ids, items, answer, by_decoder=self.encoder.encoder.encoder_decoder)


def answering(ids: np.ndarray, items: np.ndarray, answer: np.ndarray, *, by_decoder: bool) -> Example:
    """A question whose answer is supervised.

    Args:
        ids: int64 `[length]` token ids of the question.
        items: int64 `[length]` item rows whose last token stands there, or -1.
        answer: int64 `[any]` token ids of the answer.
        by_decoder: Whether a decoder writes the answer; else it stands behind the question.
    """
    if by_decoder:
        return Example(ids, items, decoded=answer)
    where = np.arange(len(ids), len(ids) + len(answer))
    items = np.concatenate([items, np.full(len(answer), -1)])
    return Example(np.concatenate([ids, answer]), items, text=where)
