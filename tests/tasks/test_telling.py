"""Words that stand in for features: by hand, and never out of the text that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.tasks import telling
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.prompts import train_tokenizer
from metatoken.tasks.task import find_task
from metatoken.tasks.telling import TellingWords

ROWS = [
    ("a", "x", "warm tone of maple"),
    ("a", "y", "loud strings"),
    ("b", "x", "warm maple and bright strings"),
    ("b", "y", "loud, loud and cheap"),
    ("c", "x", "warm and cheap"),
    ("c", "z", "cheap maple"),
    ("d", "z", ""),
]


def log_of(rows: list[tuple[str, str, str]]) -> Interactions:
    return Interactions.from_frame(pl.DataFrame(rows, schema=["user", "item", "why"], orient="row"), explanation="why")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that suit six texts."""
    monkeypatch.setattr(telling, "FEWEST", 1)
    monkeypatch.setattr(telling, "MOST", 0.5)


def about(words: TellingWords | None, log: Interactions, user: str, item: str) -> str:
    assert words is not None
    return words.about(log.users.rows([user]), log.items.rows([item]))[0]


def test_words_of_the_item_stand_before_those_of_the_user() -> None:
    """By hand: in six texts warm and maple and cheap occur 3 times, loud, strings 2, tone and bright once."""
    log = log_of(ROWS)
    words = TellingWords.fit(log, 2)
    # No text of d: those of y are "loud strings" and "loud, loud and cheap"; loud is in both.
    assert about(words, log, "d", "y") == "loud, strings"
    # z has "cheap maple", equally rare; a has all that is in its texts, most telling "tone".
    assert about(words, log, "a", "z") == "cheap, maple, tone, loud"
    assert about(TellingWords.fit(log, 1), log, "a", "z") == "cheap, tone"


def test_the_texts_of_the_pair_itself_say_nothing() -> None:
    """Whatever the text of a pair is, it is asked about as if it had none."""
    without = log_of([(u, i, "" if (u, i) == ("a", "x") else text) for u, i, text in ROWS])
    expected = about(TellingWords.fit(without, 3), without, "a", "x")
    assert expected
    for text in ("warm tone of maple", "bright bright bright", "cheap and loud", "unheard words of maple"):
        log = log_of([(u, i, text if (u, i) == ("a", "x") else own) for u, i, own in ROWS])
        twice = log_of([*[(u, i, text if (u, i) == ("a", "x") else own) for u, i, own in ROWS], ("a", "x", text)])
        assert about(TellingWords.fit(log, 3), log, "a", "x") == expected
        assert about(TellingWords.fit(twice, 3), twice, "a", "x") == expected


def test_words_that_are_common_or_short_tell_nothing() -> None:
    log = log_of([("a", "x", "good amp fine"), ("b", "y", "good big"), ("c", "x", "good solid"), ("d", "z", "")])
    words = TellingWords.fit(log, 5)
    assert about(words, log, "d", "x") == "fine, solid"


def test_nothing_is_told_where_nothing_is_known_or_wanted() -> None:
    log = log_of(ROWS)
    assert TellingWords.fit(log, 0) is None
    assert TellingWords.fit(log_of([("a", "x", ""), ("b", "y", "")]), 3) is None
    words = TellingWords.fit(log, 3)
    assert words is not None
    assert words.about(np.array([99]), np.array([99])) == [""]  # who came later


def test_a_feature_of_a_row_goes_before_words_in_its_place() -> None:
    frame = pl.DataFrame({"user": ["a", "b", "c"], "item": ["x", "x", "x"], "why": ["loud tone", "warm tone", "warm"]})
    frame = frame.with_columns(about=pl.Series(["its strings", "", ""]))
    log = Interactions.from_frame(frame, explanation="why", feature="about")
    words, tokenizer = TellingWords.fit(log, 2), train_tokenizer(["sequential"])
    found = Pairs.of(find_task("explanation"), log, tokenizer, 99, words)
    assert found.written["feature"][0] == "its strings"
    assert set(found.written["feature"][2].split(", ")) == {"loud", "warm"}
    assert "feature" not in Pairs.of(find_task("review_summary"), log_with_reviews(log), tokenizer, 99, words).slots(0)


def log_with_reviews(log: Interactions) -> Interactions:
    frame: Any = log.frame.drop("feature").with_columns(review=pl.lit("fine"), summary=pl.lit("ok"))
    return log.with_rows(frame)
