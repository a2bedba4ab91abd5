"""Templates in other words, so that a model does not go by the words of the few templates it is trained with.

A model that starts from random weights learns no word but those of its templates, and whatever it reads besides moves
its states. In a part of the steps some words of a template are therefore any others. What remains to go by is where
items and users stand, which a template that was never seen has, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metatoken.tasks.task import FIELDS, TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from metatoken.tasks.examples import Example
    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.task import Task


def reworded(examples: Sequence[Example], chance: float, n_words: int, rng: np.random.Generator) -> list[Example]:
    """The examples of a step, each sort of first words with some of them replaced.

    A sort stays as it is with the chance `1 - chance`. Else a share of its words, drawn evenly from 0 to 1, is
    replaced, each by any token of the text vocabulary. Rows that shared their words share them afterwards. Rows of
    tasks that rate or write stay as they are: their words say what is asked, and nothing else does. Those that write
    have a `Rewording` of their own.

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


@dataclass(frozen=True)
class Rewording:
    """How the questions of a task that writes are put in part by other words of the same task.

    A share of the words of a template, drawn evenly from 0 to 1, changes: half of it is left out, and in place of each
    of the rest stands a word of any template that the task is trained with. So its words still say what is asked, and
    slots and texts stay where they are.

    Attributes:
        chance: That a row is changed, from 0 to 1.
        words: Token ids that may stand in place of others, int64 `[any]`.
    """

    chance: float
    words: np.ndarray

    @classmethod
    def of(cls, task: Task, encoder: PromptEncoder, chance: float) -> Self:
        """That of a task, with the words of its seen templates."""
        present = frozenset((*TOKENS, *FIELDS))
        pieces = [piece for template in task.seen for kind, piece in template.pieces(present) if kind == "words"]
        return cls(chance, np.concatenate([encoder.words(piece.rstrip()) for piece in pieces]))

    def draw(self, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray] | None:
        """What becomes of the words of a row; None where they stay. `rng` is left as it is, so other draws do, too."""
        if self.chance == 0:
            return None
        own = np.random.Generator(rng.bit_generator.jumped())  # type: ignore[attr-defined]
        if own.random() >= self.chance:
            return None
        share = own.random()

        def change(ids: np.ndarray) -> np.ndarray:
            drawn = own.random(len(ids))
            others = own.choice(self.words, len(ids))
            return np.where(drawn < share / 2, others, ids)[drawn < 1 - share / 2]

        return change
