import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.data.words import words
from metatoken.errors import ArgumentError
from metatoken.evaluate.text import text_metrics
from metatoken.evaluate.text_features import FeatureWords

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


def test_how_often_texts_are_the_same():
    """Three of four are alike but for a comma: -(3/4 log2 3/4 + 1/4 log2 1/4) = .8113 bits."""
    found = text_metrics(["It is good", "it is good", "It is, good", "bad"], ["x"] * 4)
    assert found["unique"] == 0.5
    assert found["entropy"] == pytest.approx(0.8112781, abs=1e-6)
    alike = text_metrics(["good"] * 3, ["x"] * 3)
    assert (alike["unique"], alike["entropy"]) == (1 / 3, 0.0)
    assert text_metrics(["a", "b", "c", "d"], ["x"] * 4)["entropy"] == pytest.approx(2.0)


def test_features_are_words_that_tell_texts_apart():
    """Of 40 texts: "staff" is in 4, "pasta" in 3, "rare" in 2 (too few), "place" in 5 (too many), "bar" too short."""
    texts = ["staff pasta bar"] * 3 + ["staff rare bar"] + ["rare bar"] + ["place"] * 5 + ["x"] * 30
    known = FeatureWords.of(texts)
    assert known.texts == {"pasta": 3, "staff": 4}
    assert known.of_pair("Staff, pasta and a place") == "pasta"
    assert known.of_pair("a rare place") is None


def test_feature_metrics_by_hand():
    """The definitions of PETER over the features pasta, staff, teas and wine."""
    known = FeatureWords({"pasta": 3, "staff": 4, "teas": 3, "wine": 5})
    written = ["good pasta and staff", "the staff", "the staff, pasta, wine", "good"]
    true = ["pasta", "pasta", "wine and staff", "nothing"]  # features: pasta, pasta, staff (rarer than wine), none
    found = known.metrics(written, true)
    assert found["fmr"] == 2 / 3  # the second misses its pasta
    assert found["fcr"] == 3 / 4  # no tea
    assert found["div"] == (1 + 2 + 1) / 6  # texts 1 and 2, 1 and 3, 2 and 3 share 1, 2 and 1; all others none
    assert FeatureWords({}).metrics(["a"], ["b"]) == {"fmr": 0.0, "fcr": 0.0, "div": 0.0}


def test_words_of_any_script():
    assert words("Don't — Чай, 2x!") == ["don", "t", "чай", "2x"]


def test_bad_arguments(monkeypatch):
    with pytest.raises(ArgumentError, match="expected as many texts as references"):
        text_metrics(["a"], [])
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(ArgumentError, match=r"pip install 'metatoken\[text\]'"):
        text_metrics(["a"], ["a"])
