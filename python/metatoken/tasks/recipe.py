"""How to train on a log of some size, where the settings leave it open: docs/running.md says why these values.

One place for the command line, `MetaTokenModule` (dropout and learning rate) and `TaskDataModule` (rows in a step).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """Settings by the size of a log.

    Attributes:
        dropout: Of a preset of the GPT-2 type, at every place.
        learning_rate: Learning rate of AdamW.
        batch_size: Rows in a step of the optimizer.
        max_epochs: Passes over the training data, which early stopping may cut short.
        schedule: Of the learning rate. A cosine needs to know when training ends, so it goes with a fixed number of
            passes.
        reworded: Chance that a step reads a template in part by other words. A pretrained model knows what words mean.
        reworded_texts: Chance that a row of a task that writes is asked in part by other words of its task.
    """

    dropout: float
    learning_rate: float
    batch_size: int
    max_epochs: int
    schedule: Literal["constant", "cosine"] = "constant"
    reworded: float = 0.5
    reworded_texts: float = 0.0


BY_TARGETS = (
    (60_000, Recipe(dropout=0.2, learning_rate=2e-3, batch_size=64, max_epochs=50)),
    (math.inf, Recipe(dropout=0.5, learning_rate=1e-3, batch_size=256, max_epochs=80)),
)
"""Most targets of a log, and its recipe."""

PRETRAINED = Recipe(
    dropout=0.0, learning_rate=1e-3, batch_size=128, max_epochs=10, schedule="cosine", reworded=0.0, reworded_texts=0.5
)
"""For a backbone that has learned already; it brings its own dropout, and a pass of it takes long."""


def recipe(n_targets: int | None, *, pretrained: bool = False) -> Recipe:
    """The recipe for a log.

    Args:
        n_targets: `Sequences.n_targets` of its training part; None where it is not known counts as a small one.
        pretrained: Whether the backbone is a pretrained model and no preset.
    """
    return PRETRAINED if pretrained else next(one for most, one in BY_TARGETS if (n_targets or 0) <= most)
