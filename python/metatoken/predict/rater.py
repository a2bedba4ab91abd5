"""What rates pairs of a user and an item: a model's head on top of biases, or a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from metatoken.errors import ArgumentError
from metatoken.tasks.batch import collate
from metatoken.tasks.examples import Example
from metatoken.tasks.pairs import Pairs, QuestionEncoder
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metatoken.data import Split
    from metatoken.model.model import MetaTokenModel
    from metatoken.tasks.task import Template

    Float64 = NDArray[np.float64]

BATCH = 64  # questions
ROWS_OF_CHOICE = 2000  # held-out ratings that choose the share of the head


class Rater(Protocol):
    """Rates pairs."""

    def rate(self, pairs: Pairs) -> Float64:
        """Ratings float64 `[n]` of the pairs, finite and within the range of training."""


class ModelRater:
    """A trained model as a rater: the biases and the head's part, cut to what can occur.

    Args:
        module: The model, with `ratings`.
        template: How to ask; None takes the first template of the pairs' task.

    Raises:
        ArgumentError: The model has no `ratings`.
    """

    def __init__(self, module: MetaTokenModel, template: Template | None = None) -> None:
        if module.ratings is None:
            raise ArgumentError("module", "a rating task needs MetaTokenModule(..., ratings=RatingBase.fit(...))")
        self.module, self.template, self.base = module, template, module.ratings

    def rate(self, pairs: Pairs) -> Float64:
        """See `Rater`."""
        return self.base.predict(pairs.task.name, pairs.users, pairs.items, self.values(pairs))

    @torch.no_grad()
    def values(self, pairs: Pairs) -> Float64:
        """Values of the head, float64 `[n]` in spreads."""
        network, encoder = self.module.network, self.module.builder.encoder
        if network.rating_head is None:
            raise ArgumentError("network", "has no rating head; name a rating task in model.tasks")
        questions, template = QuestionEncoder(encoder), self.template or pairs.task.templates[0]
        found = [np.zeros(0)]
        for at in range(0, len(pairs), BATCH):
            prompts = [questions.question(pairs, row, template) for row in range(at, min(at + BATCH, len(pairs)))]
            batch = collate([Example(ids, items) for ids, items in prompts], encoder.pad_id)
            last = network.start(batch.to(network.items.tokens.device)).last
            found.append(network.rating_head(last).float().double().numpy())
        return np.concatenate(found)

    def choose_share(self, pairs: Pairs) -> float:
        """The share of the head's part that is best on held-out ratings, in 0..1.

        With `e` what the head adds to the biases and `r` what they leave over, `sum (r - w e)^2` is least at
        `w = sum r e / sum e^2`. So a head that learned nothing cannot make the biases worse.
        """
        held = pairs.take(np.arange(min(len(pairs), ROWS_OF_CHOICE)))
        if len(held) == 0:
            return 0.0
        rest = held.true_ratings() - self.base.biases.predict(held.users, held.items)
        added = self.values(held) * self.base.spread
        power = float(added @ added)
        return float(np.clip(added @ rest / power, 0.0, 1.0)) if power > 0 else 0.0


def choose_shares(module: MetaTokenModel, split: Split) -> None:
    """Chooses the share of the head's part for every task that rates, on validation ratings."""
    if split.pairs is None or module.ratings is None:
        return
    rater, log = ModelRater(module), split.pairs.validation
    for task in tasks_of(module.tasks, "rate"):
        held = Pairs.of(task, log, module.tokenizer, module.settings.max_text)
        module.ratings.share[task.name] = rater.choose_share(held)
