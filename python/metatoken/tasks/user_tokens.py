"""User tokens of training rows that have not seen what the row supervises (docs/design.md, decision 3).

| mode          | tokens of a row are built from              | the row supervises                  |
|---------------|---------------------------------------------|-------------------------------------|
| `none`        | no tokens in sequential rows                | all of its items                    |
| `prefix`      | the items before a cut, drawn every epoch   | the items from the cut on           |
| `out_of_fold` | the items outside one block of the history  | the items of that block             |
| `full`        | the whole training history: **it leaks**    | all of its items; for comparison    |

An item that is supervised is left out of the source of the tokens wherever else it stands in the history. Direct rows
always hold user tokens; under `none` they follow the rule of `prefix`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metatoken.data.ragged import Ragged, Sequences, offsets_of
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tokens.vocabulary import Vocabulary

MODES = ("none", "prefix", "out_of_fold", "full")
FOLDS = 4


class Window(NamedTuple):
    """What a row may hold and supervise.

    Attributes:
        ids: Token ids of the user, int64 `[depth]`, or None for a row without them.
        first: First place in the history that is a target.
        end: End of the targets; a causal row ends there, too.
    """

    ids: np.ndarray | None
    first: int
    end: int


class UserTokens:
    """Tokens of every user for an epoch.

    Args:
        mode: See the module.
        histories: Train items of every user.
        vocabulary: Gives tokens of users by their items.
        encoder: Gives token ids.
        needed: Whether any row holds user tokens.

    Raises:
        ArgumentError: The mode is unknown, or the vocabulary has no users whose tokens could be shown.
    """

    def __init__(
        self, mode: str, histories: Sequences, vocabulary: Vocabulary, encoder: PromptEncoder, *, needed: bool
    ) -> None:
        if mode not in MODES:
            raise ArgumentError("user_tokens", f"expected one of {', '.join(MODES)}, got {mode!r}")
        if needed and vocabulary.n_users == 0:
            raise ArgumentError("user_tokens", "the vocabulary has no users; use user_tokens='none' without 'direct'")
        self.mode, self.histories, self.vocabulary, self.encoder = mode, histories, vocabulary, encoder
        self.needed = needed
        self.lengths = histories.lengths
        self._cuts = np.zeros(0, dtype=np.int64)
        self._shown = np.zeros(0, dtype=np.int64)  # the fold that a causal row of each user supervises
        self._ids: list[Ragged] = []  # token ids of every user, by fold
        self._taken: list[Sequences] = []  # the items that they come from

    def begin(self, rng: np.random.Generator, epoch: int) -> None:
        """Draws what an epoch needs."""
        self._cuts = rng.integers(1, np.maximum(self.lengths, 2))
        if not self.needed or self.mode == "full":
            return
        if self.mode != "out_of_fold":
            self._fit([(self._cuts, self.lengths)])
            return
        if not self._ids:
            self._fit(pairwise([self.lengths * fold // FOLDS for fold in range(FOLDS + 1)]))
        # Each user begins at a fold of their own and goes through all of them in as many epochs.
        self._shown = (np.random.default_rng(len(self.lengths)).integers(0, FOLDS, len(self.lengths)) + epoch) % FOLDS

    def sequential(self, user: int, start: int, first: int, end: int) -> Window:
        """The window `start..end` of a history, supervised from `first`; a row of one target has `first = end - 1`."""
        if self.mode == "none":
            return Window(None, first, end)
        if self.mode == "full":
            return Window(self.encoder.users[user], first, end)
        if self.mode == "prefix":
            cut = int(self._cuts[user])
            return Window(self._ids[0][user], max(first, cut), end) if cut < end else Window(None, first, end)
        fold = self._fold_of(user, end - 1) if first == end - 1 else int(self._shown[user])
        low, high = self._fold(user, fold)
        begin, stop = max(first, low, start + 1), min(end, high)
        return Window(self._ids[fold][user], begin, stop) if begin < stop else Window(None, first, end)

    def direct(self, user: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """Token ids of a user, the item rows they come from, and a place in the history that they have not seen."""
        length = int(self.lengths[user])
        if self.mode == "full":
            return self.encoder.users[user], self.histories[user], int(rng.integers(0, length))
        if self.mode == "out_of_fold":
            place = int(rng.integers(0, length))
            fold = self._fold_of(user, place)
            return self._ids[fold][user], self._taken[fold][user], place
        return self._ids[0][user], self._taken[0][user], int(rng.integers(int(self._cuts[user]), length))

    def _fold(self, user: int, fold: int) -> tuple[int, int]:
        length = int(self.lengths[user])
        return length * fold // FOLDS, length * (fold + 1) // FOLDS

    def _fold_of(self, user: int, place: int) -> int:
        return next(fold for fold in range(FOLDS) if self._fold(user, fold)[1] > place)

    def _fit(self, folds: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """What users took outside each `low..high`, and their token ids by that."""
        self._taken = [unseen(self.histories, low, high) for low, high in folds]
        codes = map(self.vocabulary.user_codes_of, self._taken)
        self._ids = [Ragged.padded(self.vocabulary.tokens_of_codes(own), self.encoder.base) for own in codes]


def unseen(histories: Sequences, low: np.ndarray, high: np.ndarray) -> Sequences:
    """The items of each user outside the places `low..high` of the history, without those that also stand inside."""
    users = histories.owners
    place = np.arange(len(users)) - histories.offsets[users]
    inside = (place >= low[users]) & (place < high[users])
    keys = users * (int(histories.items.max(initial=0)) + 1) + histories.items
    keep = ~inside & ~np.isin(keys, keys[inside])
    return Sequences(offsets_of(np.bincount(users[keep], minlength=len(histories))), histories.items[keep])
