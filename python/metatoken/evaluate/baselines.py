"""Raters and writers that learn nothing of a language model: what a model has to beat.

Rankers of this kind, popularity and the transition graph, are in `metatoken.predict.transitions`, since the second is a
part of what is served.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from metatoken.data.words import words
from metatoken.errors import ArgumentError
from metatoken.tasks.biases import RatingBias, rated, ratings_of
from metatoken.tasks.collaborative import left_over
from metatoken.tasks.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.tasks.pairs import Pairs
    from metatoken.tokens.vocabulary import Vocabulary

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

# Rows compared at once: the dense product of a block stays below about 100 MB for 100,000 stored texts.
BLOCK = 256


@dataclass(frozen=True)
class GlobalMean:
    """The mean training rating for every pair."""

    mean: float

    @classmethod
    def fit(cls, train: Interactions) -> GlobalMean:
        """Reads the ratings of `train`."""
        return cls(float(ratings_of(rated(train)).mean()))

    def rate(self, pairs: Pairs) -> Float64:
        """Ratings float64 `[n]`; the pairs are not looked at."""
        return np.full(len(pairs), self.mean)


@dataclass(frozen=True)
class ItemNeighbors:
    """Biases and what the user gave to the nearest items, see `metatoken.tasks.neighbourhood`."""

    biases: RatingBias
    near: Neighbourhood

    @classmethod
    def fit(cls, train: Interactions, validation: Interactions) -> ItemNeighbors:
        """Of `train`, with the damping of the biases that is best on `validation`.

        Raises:
            ArgumentError: Too many ratings or items to compare.
        """
        biases = RatingBias.choose(train, validation)
        near = Neighbourhood(left_over(rated(train), biases))
        if not near.is_affordable:
            said = f"comparing {train.n_items:,} items by {near.left.nnz:,} ratings takes too long"
            raise ArgumentError("train", said)
        return cls(biases, near)

    def rate(self, pairs: Pairs) -> Float64:
        """Predicted ratings float64 `[n]` of pairs, within the range of training."""
        added = self.near.predict(pairs.users, pairs.items)
        found: Float64 = np.clip(self.biases.rate(pairs) + added, self.biases.low, self.biases.high)
        return found


@dataclass(frozen=True)
class NearestPair:
    """The text of the training pair that is nearest to a pair of user and item: retrieval instead of writing.

    Nearness is `cos(u, u') + cos(i, i')` of entity vectors; the lowest row among equals. A model that cannot beat it
    has only learned to copy.

    Attributes:
        users: float32 `[n, d]`, unit vector of the user of each training text.
        items: float32 `[n, d]`, unit vector of its item.
        texts: The training texts, `[n]`.
        vocabulary: Has the vectors of `write`; None where vectors are given.
    """

    users: Float32
    items: Float32
    texts: tuple[str, ...]
    vocabulary: Vocabulary | None = None

    @classmethod
    def fit(cls, users: Float32, items: Float32, texts: Sequence[str]) -> NearestPair:
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

    @classmethod
    def of(cls, vocabulary: Vocabulary, train: Pairs) -> NearestPair:
        """For the answers of training pairs, by the vectors of a vocabulary; see `fit`."""
        users, items = vocabulary.user_vectors[train.users], vocabulary.item_vectors[train.items]
        return replace(cls.fit(users, items, train.known), vocabulary=vocabulary)

    def write(self, pairs: Pairs) -> list[str]:
        """The nearest text of each pair; only of a baseline that `of` made."""
        if self.vocabulary is None:
            raise ArgumentError("vocabulary", "expected NearestPair.of(vocabulary, train)")
        return self.predict(self.vocabulary.user_vectors[pairs.users], self.vocabulary.item_vectors[pairs.items])

    def predict(self, users: Float32, items: Float32) -> list[str]:
        """The nearest text of each pair of vectors, float `[m, d]` each."""
        users, items = _unit(users), _unit(items)
        blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(users), BLOCK)]
        nearness = (users[block] @ self.users.T + items[block] @ self.items.T for block in blocks)
        return [self.texts[row] for block in nearness for row in block.argmax(axis=1)]


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
        source: Field of pairs that is compared.
    """

    columns: dict[str, int]
    weights: NDArray[np.float64]
    rows: Any
    answers: tuple[str, ...]
    fallback: str
    source: str = "review"

    @classmethod
    def of(cls, source: str, train: Pairs) -> NearestText:
        """For the answers of training pairs, by the field `source`; see `fit`."""
        return replace(cls.fit(train.written[source], train.known), source=source)

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
        pairs = [(words(text), answer) for text, answer in zip(texts, answers, strict=True)]
        kept = [(text, answer) for text, answer in pairs if text and words(answer)]
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

    def write(self, pairs: Pairs) -> list[str]:
        """The answer for each pair, by its field `source`."""
        return self.predict(pairs.written[self.source])

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


def _unit(vectors: Float32) -> Float32:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32 = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit
