import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.errors import ArgumentError
from metatoken.evaluate.text import text_metrics, words

WORDS = st.lists(st.sampled_from(["good", "bad", "tone", "string", "чай", "a"]), max_size=8).map(" ".join)


def slow_rouge_n(text, reference, n):
    """F1 of clipped n-gram matches; no word of these tests has another stem."""
    a, b = (Counter(zip(*(t.split()[k:] for k in range(n)), strict=False)) for t in (text, reference))
    hits = sum((a & b).values())
    if not hits:
        return 0.0
    precision, recall = hits / sum(a.values()), hits / sum(b.values())
    return 2 * precision * recall / (precision + recall)


def test_known_values():
    written = ["the cat sat on the mat today", "good"]
    references = ["the cat sat on a mat today", "bad"]
    found = text_metrics(written, references)
    assert found["rouge1"] == pytest.approx((6 / 7 + 0) / 2)
    assert found["rouge2"] == pytest.approx((4 / 6 + 0) / 2)
    assert found["rougeL"] == pytest.approx((6 / 7 + 0) / 2)
    # n-gram precisions of the corpus: 6/8, 4/6, 2/5, 1/4; no brevity penalty.
    assert found["bleu4"] == pytest.approx(math.exp(np.log([6 / 8, 4 / 6, 2 / 5, 1 / 4]).mean()), abs=1e-6)
    assert found["distinct1"] == 7 / 8  # "the" twice
    assert found["distinct2"] == 1.0
    assert found["words"] == 4.0
    assert found["empty"] == 0.0


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["good", "bad", "tone", "cat"]), min_size=2, max_size=8).map(" ".join), WORDS)
def test_rouge_agrees_with_counting(reference, text):
    text = " ".join(word for word in text.split() if word.isascii() and word not in ("string", "a"))
    found = text_metrics([text], [reference])
    for n in (1, 2):
        assert found[f"rouge{n}"] == pytest.approx(slow_rouge_n(text, reference, n))


def test_one_sentence_for_everybody_is_not_distinct():
    found = text_metrics(["it is good"] * 50, ["x"] * 50)
    assert found["distinct1"] == 3 / 150
    assert text_metrics(["", "..."], ["x", "y"])["empty"] == 1.0


def test_words_of_any_script():
    assert words("Don't — Чай, 2x!") == ["don", "t", "чай", "2x"]


def test_bad_arguments(monkeypatch):
    with pytest.raises(ArgumentError, match="expected as many texts as references"):
        text_metrics(["a"], [])
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(ArgumentError, match=r"pip install 'metatoken\[text\]'"):
        text_metrics(["a"], ["a"])
