"""Which of several texts that were drawn for one question is given: minimum Bayes risk decoding.

The likeliest text is one that suits everybody: it may be far from nearly all that the model would write. The text that
is most like what the model writes otherwise is the best guess by the model's own distribution (Kumar and Byrne,
"Minimum Bayes-risk decoding for statistical machine translation", NAACL 2004; with plain draws Eikema and Aziz, "Is MAP
decoding all you need?", COLING 2020): `argmax_a sum_b u(a, b)` over the texts `a`, `b` that were drawn, where `u` is
the F1 of their words and pairs of words. Draws differ from question to question, and so do the texts that are given.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from metatoken.data.words import words

if TYPE_CHECKING:
    from collections.abc import Sequence

Grams = tuple[Counter[tuple[str, ...]], ...]
ORDERS = (1, 2)  # words, and pairs of them


def consensus(texts: Sequence[str]) -> int:
    """The place of the text that shares most with the others; of equals the first.

    Args:
        texts: Drawn for one question, at least one.
    """
    counts = Counter(texts)
    grams = {text: _grams(words(text)) for text in counts}
    # A text that was drawn twice speaks twice, also for itself.
    shared = {a: sum(times * likeness(grams[a], grams[b]) for b, times in counts.items()) for a in counts}
    return texts.index(max(shared, key=lambda text: shared[text]))


def likeness(a: Grams, b: Grams) -> float:
    """Mean over the orders of the F1 of two texts' n-grams, from 0 to 1; nothing is like nothing."""
    return sum(_f1(one, other) for one, other in zip(a, b, strict=True)) / len(ORDERS)


def _grams(split: Sequence[str]) -> Grams:
    return tuple(Counter(tuple(split[at : at + n]) for at in range(len(split) - n + 1)) for n in ORDERS)


def _f1(a: Counter[tuple[str, ...]], b: Counter[tuple[str, ...]]) -> float:
    """`2 |a and b| / (|a| + |b|)`, each n-gram as often as both have it."""
    size = a.total() + b.total()
    return 2 * (a & b).total() / size if size else 1.0
