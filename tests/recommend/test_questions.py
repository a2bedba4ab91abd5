"""What is no question is refused by the name of the part that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from metatoken.errors import ArgumentError, UnknownIdError
from metatoken.recommend import Question, Recommender
from metatoken.tasks.task import find_task, find_template
from tests.conftest import TrainedRun


@pytest.fixture(scope="module")
def asking(answering_run: TrainedRun) -> Recommender:
    return Recommender.load(answering_run.run.folder)


def rating(asking: Recommender) -> Question:
    return Question("rating", asking.history.users.raw[3], asking.catalogue.items.raw[5])


@pytest.mark.parametrize("level", [0, 1, True, 10**400, float("nan"), "0.8", [0.8]])
def test_what_is_no_level_is_refused(asking: Recommender, level: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^interval: expected a share above 0 and below 1"):
        asking.ask([replace(rating(asking), interval=level)])


def test_any_number_is_a_level(asking: Recommender) -> None:
    wanted = asking.ask([replace(rating(asking), interval=0.75)])
    for level in (Fraction(3, 4), np.float32(0.75), np.float64(0.75)):
        assert asking.ask([replace(rating(asking), interval=level)]) == wanted


@pytest.mark.parametrize("name", ["task", "template"])
@pytest.mark.parametrize("value", [["rating"], 7, {}, b"rating"])
def test_parts_that_are_no_text_are_named(asking: Recommender, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name}: expected str, got "):
        asking.ask([replace(rating(asking), **{name: value})])


def test_one_question_is_no_list(asking: Recommender) -> None:
    with pytest.raises(ArgumentError, match=r"^questions: expected a list of questions, got Question"):
        asking.ask(rating(asking))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["user", "item"])
def test_ids_that_are_no_text_are_named(asking: Recommender, name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name}: expected ids, which are text, got "):
        asking.ask([replace(rating(asking), **{name: ["u"]})])
    with pytest.raises(UnknownIdError, match=f"^{name} 7 .*; ids are strings, try '7'"):
        asking.ask([replace(rating(asking), **{name: 7})])


@pytest.mark.parametrize("value", [["rating"], 7, {}])
def test_a_task_and_a_template_are_texts(asking: Recommender, value: Any) -> None:
    answer = asking.answerer.answer
    calls: dict[str, tuple[Callable[[], object], ...]] = {
        "task": (lambda: answer(value, [], []), lambda: find_task(value)),
        "template": (lambda: answer("rating", [], [], template=value), lambda: find_template(value)),
    }
    for name, asked in calls.items():
        for call in asked:
            with pytest.raises(TypeError, match=f"^{name}: expected str, got "):
                call()
