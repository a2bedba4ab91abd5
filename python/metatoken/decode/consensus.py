"""Which of several texts that were drawn for one question is given: minimum Bayes risk decoding.

The likeliest text is one that suits everybody: it may be far from nearly all that the model would write. The text that
is most like what the model writes otherwise is the best guess by the model's own distribution (Kumar and Byrne,
"Minimum Bayes-risk decoding for statistical machine translation", NAACL 2004; with plain draws Eikema and Aziz, "Is MAP
decoding all you need?", COLING 2020): `argmax_a sum_b u(a, b)` over the texts `a`, `b` that were drawn, where `u(a, b)`
says how good `a` would be if `b` were true. Draws differ from question to question, and so do the texts that are given.

`u` is the mean of F for words and for pairs of words, `F = (1 + R) p r / (R p + r)` of precision `p` and recall `r`. A
recall that counts as much as precision (`R` = 1) takes texts that are shorter than those drawn: of words that only some
draws have a short text has fewer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from metatoken.data.words import words

if TYPE_CHECKING:
    from collections.abc import Sequence

Grams = tuple[Counter[tuple[str, ...]], ...]
ORDERS = (1, 2)  # words, and pairs of them
RECALL = 2.0  # how much recall weighs against precision; docs/lab.md has what else was tried


def consensus(texts: Sequence[str]) -> int:
    """The place of the text that is best if any of them may be true; of equals the first.

    Args:
        texts: Drawn for one question, at least one.
    """
    counts = Counter(texts)
    grams = {text: _grams(words(text)) for text in counts}
    # A text that was drawn twice speaks twice, also for itself.
    worth = {a: sum(times * utility(grams[a], grams[b]) for b, times in counts.items()) for a in counts}
    return texts.index(max(worth, key=lambda text: worth[text]))


def utility(text: Grams, truth: Grams) -> float:
    """Mean F over the orders, from 0 to 1; a text without an n-gram is right where the truth has none, too."""
    return sum(_f(one, other) for one, other in zip(text, truth, strict=True)) / len(ORDERS)


def _grams(split: Sequence[str]) -> Grams:
    return tuple(Counter(tuple(split[at : at + n]) for at in range(len(split) - n + 1)) for n in ORDERS)


def _f(text: Counter[tuple[str, ...]], truth: Counter[tuple[str, ...]]) -> float:
    """`(1 + R) |both| / (|text| + R |truth|)`, as `p = |both| / |text|` and `r = |both| / |truth|`."""
    size = text.total() + RECALL * truth.total()
    return (1 + RECALL) * (text & truth).total() / size if size else 1.0
