"""Ratings of a model: the base that its head adds to, and the head's values for questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metatoken.tasks.biases import RatingBias, ratings_of
from metatoken.tasks.examples import Example, collate

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    @classmethod
    def fit(cls, train: Interactions, validation: Interactions) -> RatingBase:
        """Biases of `train` with the damping that is best on `validation`, and what they leave over.

        Raises:
            ArgumentError: There are no ratings.
        """
        biases = RatingBias.choose(train, validation)
        rest = ratings_of(train) - RatingBias.out_of_fold(train, biases.damping)
        return cls(biases, float(max(rest.std(), 1e-6)))

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
    values: Tensor = network.rating_head(network.start(batch).last).float()
    return values
