"""Tasks whose answer is a number: the rating head is asked at the last position of a question, or the decoder's first.

There every kind of answer begins, a ranked item's, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metatoken.tasks.biases import rated, ratings_of
from metatoken.tasks.examples import Example
from metatoken.tasks.pairs import PairRows, Pairs

if TYPE_CHECKING:
    from metatoken.data import Interactions
    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.rating_base import RatingBase


class RatingRows(PairRows):
    """Training rows of one task that rates.

    Args:
        pairs: Pairs of the task.
        encoder: Splices ids.
        rest: float32 `[n]`, what the head should give for each pair, in spreads.
    """

    def __init__(self, pairs: Pairs, encoder: PromptEncoder, rest: np.ndarray) -> None:
        super().__init__(pairs, encoder)
        self.rest = rest

    def supervised(self) -> np.ndarray:
        """One rating each."""
        return np.tile([0.0, 0.0, 1.0, 0.0], (len(self), 1))

    def answered(self, row: int, ids: np.ndarray, items: np.ndarray) -> Example:
        """Nothing stands behind the question."""
        at = 0 if self.encoder.encoder.encoder_decoder else -1
        return Example(ids, items, rating=self.rest[row : row + 1], rated_at=at)


def rest_of(log: Interactions, base: RatingBase, *, fold_seed: int | None) -> np.ndarray:
    """What the base leaves over of the ratings of a log, float32 `[rows]` in spreads; NaN where a row has none.

    Args:
        log: A part of a log with ratings.
        base: Of the training part.
        fold_seed: Seed of `RatingBase.unseen` for training rows, whose ratings the base has seen: the head learns what
            one leaves over that has not, as it meets it on held-out rows; None for these.
    """
    rest = np.full(len(log), np.nan, dtype=np.float32)
    known_rows = log.frame["rating"].is_not_null().to_numpy()
    log = rated(log)
    if len(log) == 0:
        return rest
    if fold_seed is None:
        known = base.known(*(log.frame[name].to_numpy() for name in ("user", "item")))
    else:
        known = base.unseen(log, fold_seed)
    rest[known_rows] = (ratings_of(log) - known) / base.spread
    return rest
