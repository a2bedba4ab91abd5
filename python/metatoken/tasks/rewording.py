"""Templates in other words, so that a model does not go by the words of the few templates it is trained with.

A model that starts from random weights learns no word but those of its templates, and whatever it reads besides moves
its states. In a part of the steps some words of a template are therefore any others. What remains to go by is where
items and users stand, which a template that was never seen has, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.tasks.examples import Example


def reworded(examples: Sequence[Example], chance: float, n_words: int, rng: np.random.Generator) -> list[Example]:
    """The examples of a step, each sort of first words with some of them replaced.

    A sort stays as it is with the chance `1 - chance`. Else a share of its words, drawn evenly from 0 to 1, is
    replaced, each by any token of the text vocabulary. Rows that shared their words share them afterwards. Rows of
    tasks that rate or write stay as they are: their words say what is asked, and nothing else does.

    Args:
        examples: Of one step.
        chance: From 0 to 1.
        n_words: Token ids below this are text.
        rng: Draws everything.
    """
    found: dict[int, np.ndarray] = {}
    for example in examples:
        if len(example.targets) > 0 and id(example.words) not in found:
            found[id(example.words)] = _others(example.words, chance, n_words, rng)
    return [example._replace(words=found.get(id(example.words), example.words)) for example in examples]


def _others(words: np.ndarray, chance: float, n_words: int, rng: np.random.Generator) -> np.ndarray:
    share = rng.random() if rng.random() < chance else 0.0
    others = rng.integers(0, n_words, len(words), dtype=words.dtype)
    return np.where(rng.random(len(words)) < share, others, words)
