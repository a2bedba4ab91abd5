"""Templates in other words: some of the words that a training step reads are replaced by any others.

A model that has met a few templates reads their words as a code, and one that it has not met leads it astray: the more,
the longer it has trained (docs/lab.md, idea 43). With words that may be any of the tokenizer's, what stands at their
places says little, and users and items have to say the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.tasks.examples import Example
    from metatoken.tasks.prompts import PromptEncoder


class Rewording:
    """Replaces a share of the words of templates.

    Args:
        share: Chance that a word is replaced, from 0 to 1.
        encoder: Knows which ids are words.
    """

    def __init__(self, share: float, encoder: PromptEncoder) -> None:
        self.share, self.words = share, encoder.word_ids

    def __call__(self, examples: Sequence[Example], rng: np.random.Generator) -> list[Example]:
        """The examples of a step in other words; those without a target item stay as they are.

        Rows that share their first words go on sharing them, whatever they have become. Special tokens, users, items
        and titles stay.
        """
        shared: dict[int, np.ndarray] = {}
        made = []
        for one in examples:
            if len(one.targets) == 0:
                made.append(one)
                continue
            if id(one.words) not in shared:
                shared[id(one.words)] = self._others(one.words, rng)
            before = _before_items(one)
            ids = np.concatenate([self._others(one.ids[:before], rng), one.ids[before:]])
            made.append(one._replace(words=shared[id(one.words)], ids=ids))
        return made

    def _others(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        replaced = (rng.random(len(ids)) < self.share) & np.isin(ids, self.words)
        return np.where(replaced, rng.choice(self.words, len(ids)), ids)


def _before_items(example: Example) -> int:
    """How many ids of a row stand before its first item, read or written."""
    read: list[int] = np.flatnonzero(example.items >= 0)[:1].tolist()
    return min([*read, int(example.states[0]) + 1])
