"""Answers that are found instead of written, and the mean: against their plain definitions."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import Interactions
from metatoken.errors import ArgumentError
from metatoken.evaluate.baselines import GlobalMean, NearestPair, NearestText

WORDS = st.lists(st.sampled_from(["good", "bad", "tone", "string", "чай", "a"]), max_size=8).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, min_size=1, max_size=4))
def test_nearest_text_agrees_with_dense_tf_idf(texts, questions):
    answers = [f"answer {row}" for row in range(len(texts))]
    kept = [(t.split(), a) for t, a in zip(texts, answers, strict=True) if t]
    if not kept:
        with pytest.raises(ArgumentError, match="at least one pair"):
            NearestText.fit(texts, answers)
        return
    known = sorted({word for text, _ in kept for word in text})
    idf = {w: 1 + math.log((1 + len(kept)) / (1 + sum(w in text for text, _ in kept))) for w in known}

    def vector(text):
        counts = Counter(text)
        v = np.array([(1 + math.log(counts[w])) * idf[w] if counts[w] else 0.0 for w in known])
        return v / max(np.linalg.norm(v), 1e-12)

    for question, answer in zip(questions, NearestText.fit(texts, answers).predict(questions), strict=True):
        similarity = np.array([vector(question.split()) @ vector(text) for text, _ in kept])
        if similarity.max() == 0:
            assert answer == kept[0][1]  # all answers differ, so the first in the alphabet
        else:
            assert similarity[[a for _, a in kept].index(answer)] == pytest.approx(similarity.max(), abs=1e-9)


def test_nearest_pair():
    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(300, 8)).astype(np.float32) for _ in range(2))
    texts = [f"text {row}" for row in range(299)] + [""]
    book = NearestPair.fit(users, items, texts)
    assert book.predict(3 * users[:299], items[:299]) == texts[:299]  # a pair is nearest to itself, whatever its length
    assert book.predict(users[299:], items[299:]) != [""]
    assert book.predict(np.zeros((1, 8), np.float32), items[7:8]) == ["text 7"]


class Told:
    """Pairs of user and item rows, as far as a baseline looks at them."""

    def __init__(self, users, items, known=(), written=None):
        self.users, self.items, self.known, self.written = np.array(users), np.array(items), known, written

    def __len__(self):
        return len(self.users)


def test_as_writers_they_answer_for_pairs(vocabulary):
    texts = [f"text {row}" for row in range(5)]
    train = Told([0, 1, 2, 3, 4], [5, 6, 7, 8, 9], texts, {"review": ["one a", "two b", "three c", "four d", "five e"]})
    assert NearestPair.of(vocabulary, train).write(Told([3, 0], [8, 5])) == ["text 3", "text 0"]
    assert NearestText.of("review", train).write(Told([0], [0], written={"review": ["it is c"]})) == ["text 2"]
    with pytest.raises(ArgumentError, match=r"NearestPair\.of"):
        NearestPair.fit(np.ones((1, 2), np.float32), np.ones((1, 2), np.float32), ["a"]).write(Told([0], [0]))


def test_the_mean_of_training_ratings():
    mean = GlobalMean.fit(Interactions.from_arrays(["u", "u", "v"], ["a", "b", "a"], ratings=[1.0, 2.0, 3.0]))
    assert mean.rate(Told(range(4), range(4))).tolist() == [2.0] * 4


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ArgumentError, match="texts: expected one for each pair"):
        NearestPair.fit(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), [])
    with pytest.raises(ArgumentError, match="at least one text with a word"):
        NearestPair.fit(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), ["..."])
    with pytest.raises(ArgumentError, match="answers: expected one for each text"):
        NearestText.fit(["a"], [])
