"""Metrics of written text, and the text that is found instead of written.

BLEU is sacrebleu's, ROUGE is rouge-score's (extra `[text]`); the distinct shares are counted here. All are given as
shares from 0 to 1, so that a table of them reads like the ranking metrics.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Rows compared at once: the dense product of a block stays below about 100 MB for 100,000 stored texts.
BLOCK = 256
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, in lower case."""
    return _WORD.findall(text.lower())


def text_metrics(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """How close texts are to their references, and how much they repeat themselves.

    - `bleu4`: corpus BLEU up to 4-grams (Papineni et al. 2002), sacrebleu's defaults.
    - `rouge1`, `rouge2`, `rougeL`: mean F1 (Lin 2004), with stemming.
    - `distinct1`, `distinct2`: distinct n-grams of all texts over all n-grams (Li et al. 2016); 1 means that nothing
      repeats, and a model that writes one sentence for everybody is near 0.
    - `words`: mean number of words; `empty`: share of texts without a word.

    Args:
        written: What was written, one text each.
        references: What should have been written.

    Raises:
        ArgumentError: The numbers of texts differ, there are none, or the libraries are missing.
    """
    if len(written) != len(references) or not written:
        raise ArgumentError(
            "written", f"expected as many texts as references, at least one; got {len(written)}, {len(references)}"
        )
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ArgumentError(
            "written", "text metrics need sacrebleu and rouge-score; install them with pip install 'metatoken[text]'"
        ) from error
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = [scorer.score(reference, text) for text, reference in zip(written, references, strict=True)]
    split = [words(text) for text in written]
    return {
        "bleu4": float(BLEU().corpus_score(list(written), [list(references)]).score) / 100,
        **{name: float(np.mean([s[name].fmeasure for s in scores])) for name in ("rouge1", "rouge2", "rougeL")},
        "distinct1": _distinct(split, 1),
        "distinct2": _distinct(split, 2),
        "words": float(np.mean([len(text) for text in split])),
        "empty": float(np.mean([not text for text in split])),
    }


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    grams = [tuple(text[at : at + n]) for text in texts for at in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


@dataclass(frozen=True)
class NearestPair:
    """The text of the training pair that is nearest to a pair of user and item: retrieval instead of writing.

    Nearness is `cos(u, u') + cos(i, i')` of entity vectors; the lowest row among equals. A model that cannot beat it
    has only learned to copy.

    Attributes:
        users: float32 `[n, d]`, unit vector of the user of each training text.
        items: float32 `[n, d]`, unit vector of its item.
        texts: The training texts, `[n]`.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    texts: tuple[str, ...]

    @classmethod
    def fit(cls, users: NDArray[np.float32], items: NDArray[np.float32], texts: Sequence[str]) -> NearestPair:
        """Keeps the training pairs that have a text.

        Args:
            users: float `[n, d]`, vector of the user of each text (train only).
            items: float `[n, d]`, vector of its item.
            texts: Texts, `[n]`; empty ones are left out.

        Raises:
            ArgumentError: The lengths differ, or every text is empty.
        """
        if not len(users) == len(items) == len(texts):
            raise ArgumentError("texts", f"expected one for each pair; got {len(users)}, {len(items)}, {len(texts)}")
        kept = np.array([bool(words(text)) for text in texts], dtype=np.bool_)
        if not kept.any():
            raise ArgumentError("texts", "expected at least one text with a word")
        return cls(_unit(users[kept]), _unit(items[kept]), tuple(t for t, k in zip(texts, kept, strict=True) if k))

    def predict(self, users: NDArray[np.float32], items: NDArray[np.float32]) -> list[str]:
        """The nearest text of each pair of vectors, float `[m, d]` each."""
        users, items = _unit(users), _unit(items)
        found: list[str] = []
        for begin in range(0, len(users), BLOCK):
            block = slice(begin, begin + BLOCK)
            nearness = users[block] @ self.users.T + items[block] @ self.items.T
            found += [self.texts[row] for row in nearness.argmax(axis=1)]
        return found


@dataclass(frozen=True)
class NearestText:
    """The answer that stands beside the most similar training text, e.g. the summary of the most similar review.

    Similarity is the cosine of tf-idf vectors, `tf-idf(w) = (1 + ln count(w)) (1 + ln((1 + n) / (1 + df(w))))`; words
    that no training text has are ignored, and a text without a known word gets the most frequent answer.

    Attributes:
        columns: Word -> column.
        weights: float64 `[words]`, the second factor.
        rows: Sparse unit rows `[n, words]`.
        answers: `[n]`.
        fallback: The most frequent answer, the first in order of the alphabet among equals.
    """

    columns: dict[str, int]
    weights: NDArray[np.float64]
    rows: Any
    answers: tuple[str, ...]
    fallback: str

    @classmethod
    def fit(cls, texts: Sequence[str], answers: Sequence[str]) -> NearestText:
        """Indexes training texts.

        Args:
            texts: What is compared, `[n]`.
            answers: What is given, `[n]`; pairs with an empty text or answer are left out.

        Raises:
            ArgumentError: The lengths differ, or no pair has words on both sides.
        """
        if len(texts) != len(answers):
            raise ArgumentError("answers", f"expected one for each text; got {len(texts)} and {len(answers)}")
        kept = [(words(text), answer) for text, answer in zip(texts, answers, strict=True) if words(answer)]
        kept = [(text, answer) for text, answer in kept if text]
        if not kept:
            raise ArgumentError("texts", "expected at least one pair with words in its text and its answer")
        documents = Counter(word for text, _ in kept for word in set(text))
        columns = {word: column for column, word in enumerate(sorted(documents))}
        counts = np.array([documents[word] for word in columns], dtype=np.float64)
        weights = 1 + np.log((1 + len(kept)) / (1 + counts))
        given = tuple(answer for _, answer in kept)
        common = Counter(given)
        fallback = min(common, key=lambda answer: (-common[answer], answer))
        return cls(columns, weights, _tf_idf([text for text, _ in kept], columns, weights), given, fallback)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The answer beside the most similar training text of each text; the lowest row among equals."""
        rows = _tf_idf([words(text) for text in texts], self.columns, self.weights)
        found: list[str] = []
        for begin in range(0, len(texts), BLOCK):
            similarity = (rows[begin : begin + BLOCK] @ self.rows.T).toarray()
            best = similarity.argmax(axis=1)
            known = similarity.max(axis=1, initial=0.0) > 0
            found += [self.answers[row] if ok else self.fallback for row, ok in zip(best, known, strict=True)]
        return found


def _tf_idf(texts: Sequence[Sequence[str]], columns: dict[str, int], weights: NDArray[np.float64]) -> Any:
    places, column, value = [0], [], []
    for text in texts:
        for word, count in sorted(Counter(word for word in text if word in columns).items()):
            column.append(columns[word])
            value.append((1 + np.log(count)) * weights[columns[word]])
        places.append(len(column))
    shape = (len(texts), len(columns))
    rows = sparse.csr_array((np.array(value), np.array(column, dtype=np.int64), np.array(places)), shape=shape)
    norms = np.sqrt(rows.multiply(rows).sum(axis=1))
    return sparse.csr_array(sparse.diags_array(np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)) @ rows)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit
