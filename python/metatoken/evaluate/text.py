"""Metrics of written text.

BLEU is sacrebleu's, ROUGE is rouge-score's (extra `[text]`); the distinct shares are counted here. All are given as
shares from 0 to 1, so that a table of them reads like the ranking metrics.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from metatoken.config import expect_list
from metatoken.data.words import words
from metatoken.errors import ArgumentError
from metatoken.extras import install_extra

if TYPE_CHECKING:
    from collections.abc import Sequence


def text_metrics(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """How close texts are to their references, and how much they repeat themselves.

    - `bleu4`: corpus BLEU up to 4-grams (Papineni et al. 2002), sacrebleu's defaults.
    - `rouge1`, `rouge2`, `rougeL`: mean F1 (Lin 2004), with stemming.
    - `distinct1`, `distinct2`: distinct n-grams of all texts over all n-grams (Li et al. 2016); 1 means that nothing
      repeats, and a model that writes one sentence for everybody is near 0.
    - `unique`: distinct texts over all texts, compared by their words (the unique sentence ratio of PETER).
    - `entropy`: of the distribution of texts in bits, `log2 n` where all differ and 0 where all are the same.
    - `words`: mean number of words; `empty`: share of texts without a word.

    Args:
        written: What was written, one text each.
        references: What should have been written.

    Raises:
        ArgumentError: The numbers of texts differ, there are none, or the libraries are missing.
    """
    expect_list("written", written, "texts")
    expect_list("references", references, "texts")
    if len(written) != len(references) or not written:
        raise ArgumentError(
            "written", f"expected as many texts as references, at least one; got {len(written)}, {len(references)}"
        )
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        said = f"text metrics need sacrebleu and rouge-score: {install_extra('text')}"
        raise ArgumentError("written", said) from error
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = [scorer.score(reference, text) for text, reference in zip(written, references, strict=True)]
    split = [words(text) for text in written]
    return {
        "bleu4": float(BLEU().corpus_score(list(written), [list(references)]).score) / 100,
        **{name: float(np.mean([s[name].fmeasure for s in scores])) for name in ("rouge1", "rouge2", "rougeL")},
        "distinct1": _distinct(split, 1),
        "distinct2": _distinct(split, 2),
        "unique": len(set(map(tuple, split))) / len(split),
        "entropy": _entropy(split),
        "words": float(np.mean([len(text) for text in split])),
        "empty": float(np.mean([not text for text in split])),
    }


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    grams = [tuple(text[at : at + n]) for text in texts for at in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _entropy(texts: Sequence[Sequence[str]]) -> float:
    shares = np.array(list(Counter(map(tuple, texts)).values())) / len(texts)
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # no minus zero
