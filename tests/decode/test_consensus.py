"""Which of several drawn texts is given."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.config import SettingError
from metatoken.decode.consensus import consensus
from metatoken.decode.settings import TextOptions
from metatoken.decode.text import _written, write
from metatoken.predict import writer
from metatoken.predict.writer import ModelWriter
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.task import find_task
from tests.conftest import TrainedRun


def slow_utility(text: str, truth: str) -> float:
    """F of words and of pairs of words, n-gram by n-gram, each of the truth used up once; recall weighs twice."""
    total = 0.0
    for size in (1, 2):
        first, second = (re.findall(r"\w+", one.lower()) for one in (text, truth))
        grams = [first[at : at + size] for at in range(len(first) - size + 1)]
        others = [second[at : at + size] for at in range(len(second) - size + 1)]
        left, shared = list(others), 0
        for gram in grams:
            if gram in left:
                left.remove(gram)
                shared += 1
        if not grams and not others:
            total += 1
        elif shared:
            precision, recall = shared / len(grams), shared / len(others)
            total += 3 * precision * recall / (2 * precision + recall)
    return total / 2


def slow_sums(texts: list[str]) -> list[float]:
    return [sum(slow_utility(a, b) for b in texts) for a in texts]


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        (["alone"], 0),
        # The first two share three words, the last one none with either.
        (["good food, friendly staff", "good food and staff", "a bus stop"], 0),
        # What was drawn twice is more alike than what was drawn once.
        (["a b c", "d e f", "D e, f!", "g h i"], 1),
        (["d e f", "a b c", "a b c"], 1),
        # Pairs of words tell apart what words alone do not.
        (["staff friendly the", "the friendly staff", "the friendly crowd"], 1),
        # Of equals the first; a text without words is like another one without.
        (["x y", "y z", "z x"], 0),
        (["", "...", "word"], 0),
        # A word that comes often counts as often as both have it.
        (["good good good", "good", "good food"], 2),
        # Of two texts that share alike the longer one tells more of what may be true.
        (["a b", "a b c d", "a b c d e f"], 1),
    ],
)
def test_the_text_that_shares_most_is_given(texts: list[str], place: int) -> None:
    assert consensus(texts) == place


@given(st.lists(st.text(alphabet="ab .A", max_size=12), min_size=1, max_size=7))
def test_equals_the_slow_twin_on_any_texts(texts: list[str]) -> None:
    sums = slow_sums(texts)
    assert sums[consensus(texts)] == pytest.approx(max(sums))


@pytest.mark.parametrize("drawn", [2, 5])
def test_it_is_of_the_draws_of_each_question(answering_run: TrainedRun, drawn: int) -> None:
    run = answering_run.run
    network, tokenizer = run.module.network, run.module.tokenizer
    rows = Pairs.of(find_task("review_summary"), run.split.pairs.test, tokenizer, 24)
    encoder = QuestionEncoder(run.module.builder.encoder)
    asked = [encoder.question(rows, row, rows.task.templates[0]) for row in range(6)]
    options = TextOptions(max_new_tokens=6, do_sample=True, temperature=1.5, consensus=drawn)
    ids = _written(network, tokenizer, asked, options, 3)
    assert len(ids) == drawn * len(asked)
    texts = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    found = write(network, tokenizer, asked, options, seed=3)
    for at, text in enumerate(found):
        own = texts[at * drawn : (at + 1) * drawn]
        assert len(set(own)) > 1
        assert slow_sums(own)[own.index(text)] == pytest.approx(max(slow_sums(own)))


def test_many_draws_are_written_a_few_questions_at_a_time(
    answering_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sizes = answering_run.run, []
    rows = Pairs.of(find_task("review_summary"), run.split.pairs.test, run.module.tokenizer, 24)

    def watched(network: Any, tokenizer: Any, prompts: Any, *rest: Any, **named: Any) -> list[str]:
        sizes.append(len(prompts))
        return write(network, tokenizer, prompts, *rest, **named)

    monkeypatch.setattr(writer, "TEXTS", 20)
    monkeypatch.setattr(writer, "write", watched)
    for fields, most in (({"do_sample": True, "consensus": 8}, 2), ({"num_beams": 3}, 6), ({}, 20)):
        sizes.clear()
        assert len(ModelWriter(run.module, options=TextOptions(max_new_tokens=2, **fields)).write(rows)) == len(rows)
        assert max(sizes) == min(most, len(rows))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"consensus": 4}, "set do_sample"),
        ({"consensus": 4, "do_sample": True, "num_beams": 2}, "set num_beams to 1, got 2"),
        ({"consensus": 0}, "consensus"),
        ({"consensus": 1001, "do_sample": True}, "consensus"),
    ],
)
def test_options_without_draws_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        TextOptions(**fields)
