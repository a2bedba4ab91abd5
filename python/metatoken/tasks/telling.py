"""What a text may be about where nobody says it: the words by which the texts of an item, and of a user, differ.

A word counts by how many of the item's training texts have it, times the logarithm of how rare it is among all
(tf-idf). The texts of the pair that is asked about are left out of every count, so a training row learns nothing of its
own answer, and is asked as a held-out pair is, whose texts are in no training row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from metatoken.data.words import words

if TYPE_CHECKING:
    from metatoken.data import Interactions

TEXTS = ("review", "summary", "explanation")
SHORTEST, FEWEST, MOST = 4, 3, 0.1  # letters of a word; texts that have it, and their share of all


@dataclass(frozen=True)
class TellingWords:
    """Words that tell the texts of items and users apart.

    Attributes:
        words: In alphabetical order.
        pairs: Place of each pair of user and item that has a text, by its rows.
        own: float64 CSR `[pairs, words]`, texts of the pair that have the word.
        by: The same for the items, and for the users.
        sizes: int64 `[pairs]`, texts of each pair.
        n: Words of the item at most, and of the user.
    """

    words: tuple[str, ...]
    pairs: dict[tuple[int, int], int]
    own: Any
    by: tuple[Any, Any]
    sizes: np.ndarray
    n: int

    @classmethod
    def fit(cls, train: Interactions, n: int) -> Self | None:
        """Those of a training part, `n` for an item and for a user; None where `n` is 0 or it has no texts.

        The texts of a row, such as a review and its summary, count as one.
        """
        from scipy import sparse

        if n == 0:
            return None
        columns = [train.frame[name].fill_null("").to_list() for name in TEXTS if name in train.frame.columns]
        rows = [
            (row, set(words(" ".join(texts)))) for row, texts in enumerate(zip(*columns, strict=True)) if any(texts)
        ]
        if not rows:
            return None
        counts = Counter(word for _, found in rows for word in found)
        known = sorted(word for word, count in counts.items() if len(word) >= SHORTEST and count >= FEWEST)
        places = {word: place for place, word in enumerate(known)}
        users, items = (train.frame[name].to_list() for name in ("user", "item"))
        pairs = {pair: place for place, pair in enumerate(dict.fromkeys((users[row], items[row]) for row, _ in rows))}
        at = [(pairs[users[row], items[row]], places[word]) for row, found in rows for word in found if word in places]
        owners, columns_of = np.array(at, dtype=np.int64).reshape(-1, 2).T
        own = sparse.csr_matrix((np.ones(len(at)), (owners, columns_of)), shape=(len(pairs), len(known)))
        sides = []
        for side, size in ((1, train.n_items), (0, train.n_users)):
            of_side = np.array([pair[side] for pair in pairs]), np.arange(len(pairs))
            sides.append(sparse.csr_matrix((np.ones(len(pairs)), of_side), (size, len(pairs))) @ own)
        sizes = np.bincount([pairs[users[row], items[row]] for row, _ in rows])
        return cls(tuple(known), pairs, own, (sides[0], sides[1]), sizes, n)

    @cached_property
    def everywhere(self) -> np.ndarray:
        """Texts that have each word, float64 `[words]`."""
        return np.asarray(self.own.sum(axis=0)).ravel()

    def about(self, users: np.ndarray, items: np.ndarray) -> list[str]:
        """What texts of pairs may be about, int `[n]` rows each: words of the item, then of the user; "" without any.

        Of words that count alike the first in the alphabet comes first.
        """
        return [self._about(user, item) for user, item in zip(users.tolist(), items.tolist(), strict=True)]

    def _about(self, user: int, item: int) -> str:
        own, everywhere, texts = np.zeros(len(self.words)), self.everywhere, int(self.sizes.sum())
        if (pair := self.pairs.get((user, item))) is not None:
            own = self.own[pair].toarray().ravel()
            everywhere, texts = everywhere - own, texts - int(self.sizes[pair])
        telling = (everywhere >= FEWEST) & (everywhere <= MOST * texts)
        rarity = np.where(telling, np.log(np.maximum(texts, 1) / np.maximum(everywhere, 1)), 0.0)
        found: dict[str, None] = {}
        for matrix, row in zip(self.by, (item, user), strict=True):
            if row >= matrix.shape[0]:
                continue  # who came after the run was trained
            at = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
            scores = (matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]] - own[at]) * rarity[at]
            best = sorted(zip((-scores).tolist(), at.tolist(), strict=True))[: self.n]
            found |= dict.fromkeys(self.words[word] for score, word in best if score < 0)
        return ", ".join(found)
