"""Questions about pairs as token ids: words, OOV tokens and texts spliced together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from metatoken.tasks.pairs import Pairs
    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.task import Template

    Ids = np.ndarray
    Prompt = tuple[Ids, Ids]
    """Token ids, and the item row whose last OOV token stands at each place or -1; int64 `[length]` each."""
    Change = Callable[[Ids], Ids]
    """Other ids in place of those of some words."""


class QuestionEncoder:
    """Splices questions from words, OOV tokens and texts.

    Args:
        encoder: Knows the tokenizer and the tokens of users and items.
        room: Token ids of a question at most, for which its feature is cut; None takes what the encoder says.
    """

    def __init__(self, encoder: PromptEncoder, room: int | None = None) -> None:
        self.encoder, self.room = encoder, encoder.room if room is None else room

    def question(
        self,
        pairs: Pairs,
        row: int,
        template: Template,
        user_ids: Ids | None = None,
        *,
        change: Change | None = None,
    ) -> Prompt:
        """Ids of a question, and the item whose last token stands at each place.

        Args:
            pairs: The pairs of its task.
            row: Which one.
            template: How to ask.
            user_ids: Token ids of the user; None takes those of the vocabulary.
            change: What becomes of the words of the template; None leaves them.
        """
        slots = pairs.slots(row) | {
            "user": self.encoder.users[int(pairs.users[row])] if user_ids is None else user_ids,
            "item": self.encoder.items[int(pairs.items[row])],
        }
        parts = self._parts(template, slots, change)
        excess = sum(len(ids) for _, ids in parts) - (math.inf if self.room is None else self.room)
        if excess > 0 and "feature" in slots.keys() & template.slots:
            left = slots["feature"][: max(0, len(slots["feature"]) - int(excess))]
            shorter = slots | {"feature": left} if len(left) else {n: i for n, i in slots.items() if n != "feature"}
            parts = self._parts(template, shorter, change)
        at_items = [np.full(len(ids), -1) for _, ids in parts]
        for (name, _), places in zip(parts, at_items, strict=True):
            if name == "item":
                places[-1] = pairs.items[row]
        ids = np.concatenate([part for _, part in parts])
        return ids.astype(np.int64), np.concatenate(at_items).astype(np.int64)

    def _parts(self, template: Template, slots: dict[str, Ids], change: Change | None) -> list[tuple[str, Ids]]:
        """The parts of a question with what each is: the name of its slot, or "words"."""
        parts = [("words", self.encoder.head)]
        for kind, name in template.pieces(frozenset(slots)):
            if kind == "slot":
                parts.append((name, slots[name]))
            else:
                # No token for the space before a slot: OOV tokens and texts bring their own.
                ids = self.encoder.words(name.rstrip())
                parts.append(("words", ids if change is None else change(ids)))
        return [*parts, ("words", self.encoder.end)]

    def answer(self, pairs: Pairs, row: int) -> Ids:
        """Ids of the written answer, closed by the end token unless it was cut, int64 `[length]`."""
        texts = pairs.fields[str(pairs.task.column)]
        end = [] if texts.cut[row] else [self.encoder.end_id]
        return np.concatenate([texts.tokens[row], np.array(end, dtype=np.int64)]).astype(np.int64)
