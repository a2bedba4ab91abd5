"""Ratings of a model: the base that its head adds to, and the head's values for questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from metatoken.errors import ArgumentError
from metatoken.tasks.biases import RatingBias, ratings_of
from metatoken.tasks.examples import Example, collate
from metatoken.tasks.families import answer_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.data import Interactions
    from metatoken.model.network import Network


@dataclass
class RatingBase:
    """What a rating head's value means: `rating = bias(u, i) + share * spread * value`.

    Attributes:
        biases: Fitted on training ratings.
        spread: Standard deviation of what the biases leave over in training.
        share: Of the head's part, by task, chosen on validation ratings; 1 before that.
    """

    biases: RatingBias
    spread: float
    share: dict[str, float] = field(default_factory=dict)
    NAMES: ClassVar = ("user", "item", "numbers", "shares")

    @classmethod
    def fit(cls, train: Interactions, validation: Interactions) -> RatingBase:
        """Biases of `train` with the damping that is best on `validation`, and what they leave over.

        Raises:
            ArgumentError: There are no ratings.
        """
        biases = RatingBias.choose(train, validation)
        rest = ratings_of(train) - RatingBias.out_of_fold(train, biases.damping)
        return cls(biases, float(max(rest.std(), 1e-6)))

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays to save, by name."""
        b = self.biases
        numbers = np.array([b.mean, b.low, b.high, b.damping, self.spread])
        return {"user": b.user, "item": b.item, "numbers": numbers, "shares": np.array(list(self.share.values()))}

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, np.ndarray], tasks: Sequence[str]) -> RatingBase:
        """Rebuilds what `tensors` gave, for the same tasks."""
        mean, low, high, damping, spread = arrays["numbers"].tolist()
        biases = RatingBias(mean, arrays["user"], arrays["item"], low, high, damping)
        names = [family.name for family in answer_tasks(tasks) if family.answer == "rating"]
        return cls(biases, spread, dict(zip(names, arrays["shares"].tolist(), strict=False)))

    def out_of_fold(self, train: Interactions, seed: int) -> np.ndarray:
        """What the biases say of training rows whose ratings they have not seen, float64 `[n]`."""
        return RatingBias.out_of_fold(train, self.biases.damping, seed=seed)

    def predict(self, task: str, users: np.ndarray, items: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Ratings float64 `[n]` within the range of training.

        Args:
            task: Whose share counts.
            users: int `[n]` user rows.
            items: int `[n]` item rows.
            values: float `[n]` of the head.
        """
        added = self.share.get(task, 1.0) * self.spread * values
        return np.clip(self.biases.predict(users, items) + added, self.biases.low, self.biases.high)


@torch.no_grad()
def rating_values(network: Network, prompts: Sequence[tuple[np.ndarray, np.ndarray]], pad_id: int) -> Tensor:
    """Values of the rating head for questions.

    Args:
        network: In evaluation mode.
        prompts: For each question its token ids and item rows (or -1), int64 `[length]` each.
        pad_id: Fills short rows.

    Returns:
        float32 `[n]`.
    """
    nothing = np.zeros(0, dtype=np.int64)
    examples = [Example(ids, leaves, nothing, nothing) for ids, leaves in prompts]
    batch = collate(examples, [0] * len(examples), pad_id).to(network.items.tokens.device)
    if network.rating_head is None:
        raise ArgumentError("network", "has no rating head; name a rating task in model.tasks")
    values: Tensor = network.rating_head(network.start(batch).last).float()
    return values
