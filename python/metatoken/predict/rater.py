"""What rates pairs of a user and an item: a model's head on top of what other ratings say, or a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from metatoken.errors import ArgumentError
from metatoken.tasks.batch import collate
from metatoken.tasks.examples import Example
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.rating_base import certain_share
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
    """A trained model as a rater: the base and the head's part, cut to what can occur.

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
            found.append(network.rating_head(last).double().cpu().numpy())
        return np.concatenate(found)

    def interval(self, pairs: Pairs, level: float, rated: Float64) -> tuple[Float64, Float64]:
        """Where the true ratings are with probability `level`, float64 `[n]` each, cut to what can occur.

        Args:
            pairs: The pairs.
            level: Above 0 and below 1.
            rated: What `rate` gave for them.

        Raises:
            ArgumentError: The run is of a version that kept nothing to tell it by, or held nothing out.
        """
        errors, biases = self.base.errors, self.base.biases
        if errors is None:
            raise ArgumentError("interval", "the run is of a version that knew no intervals; train it again")
        low, high = errors.interval(pairs.task.name, level, rated, pairs.users, pairs.items)
        return np.clip(low, biases.low, biases.high), np.clip(high, biases.low, biases.high)

    def choose_share(self, pairs: Pairs) -> float:
        """The share of the head's part that is best on held-out ratings, in 0..1; keeps how far these are off, too.

        A head that learned nothing hardly ever gets one, see `certain_share`.
        """
        drawn = np.random.default_rng(self.module.settings.seed).permutation(len(pairs))[:ROWS_OF_CHOICE]
        held = pairs.take(np.sort(drawn))
        if len(held) == 0:
            return 0.0
        known, actual = self.base.known(held.users, held.items), held.true_ratings()
        rest, added = actual - known, self.values(held) * self.base.spread
        share = certain_share(added, rest)
        if self.base.errors is not None:
            said = np.clip(known + share * added, self.base.biases.low, self.base.biases.high)
            self.base.errors.calibrate(pairs.task.name, said, actual, held.users, held.items)
        return share


class BaseRater:
    """What a model's rating head adds to, alone: biases, factors and neighbours.

    Args:
        module: The model, with `ratings`.
    """

    def __init__(self, module: MetaTokenModel) -> None:
        self.base = ModelRater(module).base

    def rate(self, pairs: Pairs) -> Float64:
        """See `Rater`."""
        return self.base.known(pairs.users, pairs.items)


def choose_shares(module: MetaTokenModel, split: Split) -> None:
    """Chooses the share of the head's part for every task that rates, on validation ratings, and keeps their errors."""
    if split.pairs is None or module.ratings is None:
        return
    rater, log = ModelRater(module), split.pairs.validation
    for task in tasks_of(module.tasks, "rate"):
        held = Pairs.of(task, log, module.tokenizer, module.settings.max_text)
        module.ratings.share[task.name] = rater.choose_share(held)
