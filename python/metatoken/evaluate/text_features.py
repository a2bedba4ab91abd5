"""What texts speak of: metrics over feature words, by the definitions of PETER (Li, Zhang and Chen, ACL 2021).

There the feature of a pair ("breakfast", "staff") comes with its explanation. Logs have none, so here a feature is a
word that training texts tell things apart by: of `SHORTEST` letters or more, in `FEWEST` texts at least and in a tenth
of them at most. The feature of a pair is the rarest such word of its true text. With `F_n` the features in text `n` of
`N`, and `f_n` that of its pair:

    fmr = mean_n [f_n in F_n],  fcr = |union_n F_n| / |all features|,  div = mean_{n < m} |F_n and F_m|

The first two are better when larger, the last when smaller: texts that share few features.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from metatoken.data.words import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHORTEST, FEWEST, MOST = 4, 3, 0.1


@dataclass(frozen=True)
class FeatureWords:
    """Words that tell training texts apart.

    Attributes:
        texts: Training texts that hold each.
    """

    texts: Mapping[str, int]

    @classmethod
    def of(cls, train: Sequence[str]) -> Self:
        """Those of training texts."""
        counts = Counter(word for text in train for word in set(words(text)))
        most = MOST * len(train)
        return cls({w: n for w, n in sorted(counts.items()) if len(w) >= SHORTEST and FEWEST <= n <= most})

    def inside(self, text: str) -> frozenset[str]:
        """The features in a text."""
        return frozenset(words(text)) & self.texts.keys()

    def of_pair(self, text: str) -> str | None:
        """The feature of the pair whose true text this is, the first in the alphabet among equals; None without any."""
        return min(self.inside(text), key=lambda word: (self.texts[word], word), default=None)

    def metrics(self, written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        """`fmr`, over pairs that have a feature; `fcr`, `div`; 0 where there is nothing to count.

        Args:
            written: What was written, one text each, `[N]`.
            references: What is true, `[N]`.
        """
        found = [self.inside(text) for text in written]
        known = [(self.of_pair(true), inside) for true, inside in zip(references, found, strict=True)]
        matched = [feature in inside for feature, inside in known if feature is not None]
        texts = Counter(word for inside in found for word in inside)
        shared = sum(n * (n - 1) // 2 for n in texts.values())  # a word in n texts is shared by that many pairs
        pairs = len(written) * (len(written) - 1) // 2
        return {
            "fmr": sum(matched) / max(1, len(matched)),
            "fcr": len(texts) / max(1, len(self.texts)),
            "div": shared / max(1, pairs),
        }
