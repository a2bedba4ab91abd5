"""Held-out pairs that are asked about, and metrics of what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metatoken.evaluate.ratings import interval_metrics, rating_metrics, written_ratings
from metatoken.evaluate.text import text_metrics
from metatoken.predict.rater import ModelRater
from metatoken.tasks.pairs import Pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data import Interactions
    from metatoken.model.model import MetaTokenModel
    from metatoken.tasks.task import Task
    from metatoken.tasks.telling import TellingWords

LEVEL = 0.8  # of the intervals around ratings


def held_pairs(
    module: MetaTokenModel, task: Task, log: Interactions, texts: int, seed: int, telling: TellingWords | None
) -> Pairs:
    """The pairs of a task in a held-out part; where it writes, `texts` of them at most, drawn by `seed`."""
    pairs = Pairs.of(task, log, module.tokenizer, module.settings.max_text, telling)
    if task.kind == "write" and len(pairs) > texts:
        drawn = np.random.default_rng(seed).choice(len(pairs), texts, replace=False)
        pairs = pairs.take(np.sort(drawn))
    return pairs


def answer_metrics(answers: np.ndarray | Sequence[str], held: Pairs, known: np.ndarray) -> dict[str, float]:
    """Metrics of answers to held-out pairs.

    Args:
        answers: float64 `[n]` ratings, or texts.
        held: The pairs with what is true.
        known: float `[any]`, training ratings, by which a written answer is read as a rating (`written_ratings`).
    """
    if isinstance(answers, np.ndarray):
        return rating_metrics(answers, held.true_ratings())
    if held.task.column != "rating":
        return text_metrics(answers, held.known)
    values, no_number = written_ratings(answers, known)
    return rating_metrics(values, held.true_ratings()) | {"no_number": no_number}


def interval_of(module: MetaTokenModel, held: Pairs, rated: np.ndarray) -> dict[str, float]:
    """Coverage and width of the intervals of level `LEVEL`; nothing where the model knows none."""
    rater = ModelRater(module)
    if rater.base.errors is None or held.task.name not in rater.base.errors.quantiles:
        return {}
    found = interval_metrics(*rater.interval(held, LEVEL, rated), held.true_ratings())
    return {f"{name}@{LEVEL:.0%}": value for name, value in found.items()}
