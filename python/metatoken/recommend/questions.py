"""What is asked about a pair of a user and an item, and what a `Recommender` answers: ratings and texts.

Recommending needs none of this; a run whose tasks only rank refuses a question with the tasks that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metatoken.config import expect, expect_list, expect_texts
from metatoken.errors import ArgumentError
from metatoken.recommend.requests import check_ids
from metatoken.tasks.intervals import check_level

if TYPE_CHECKING:
    from metatoken.recommend.answerer import Answerer


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        task: A task of the run that rates or writes.
        user: Raw user id.
        item: Raw item id.
        fields: Texts that the template may use; titles are known.
        template: Id of the words to ask with; None takes the first of the task.
        interval: Level of an interval around a rating, e.g. 0.8; None asks for none.
    """

    task: str
    user: str
    item: str
    fields: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    interval: float | None = None


@dataclass(frozen=True)
class Answered:
    """A question with its answer.

    Attributes:
        task: Of the question, as are `user` and `item`.
        user: Raw user id.
        item: Raw item id.
        answer: A rating, or a text.
        low: Least value of the interval that was asked for; None where none was.
        high: Its greatest value.
    """

    task: str
    user: str
    item: str
    answer: float | str
    low: float | None = None
    high: float | None = None


class Answering:
    """Answers questions; a `Recommender` does so beside recommending.

    Args:
        answerer: Says how.
    """

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer

    def rate(self, user: str, items: Sequence[str]) -> list[float]:
        """Ratings that a user would give to items.

        Raises:
            ArgumentError: The run has no task `rating`.
            UnknownIdError: The user or an item is unknown.
        """
        return [float(one.answer) for one in self.ask([Question("rating", user, item) for item in _listed(items)])]

    def explain(self, user: str, items: Sequence[str], features: Sequence[str] | None = None) -> list[str]:
        """Why a user would like items, in the words of the task `explanation`; errors as in `rate`.

        Args:
            user: Raw user id.
            items: Raw item ids.
            features: What each explanation is to be about, in words; "" where nothing is known.
        """
        listed = _listed(items)
        if features is not None:
            expect_list("features", features, "texts")
        told = [{}] * len(listed) if features is None else [{"feature": one} for one in features]
        if len(told) != len(listed):
            raise ArgumentError("features", f"expected one for each of {len(listed)} items, got {len(told)}")
        asked = [Question("explanation", user, item, about) for item, about in zip(listed, told, strict=True)]
        return [str(one.answer) for one in self.ask(asked)]

    def summarize(self, user: str, item: str, review: str) -> str:
        """A review in short, by the task `review_summary`; errors as in `rate`."""
        return str(self.ask([Question("review_summary", user, item, {"review": review})])[0].answer)

    def ask(self, questions: Sequence[Question]) -> list[Answered]:
        """Answers any mixture of questions, those of one task and template together.

        Raises:
            ArgumentError: The run has no such task, or a field is missing, unknown or not part of the template.
            UnknownIdError: A user or an item is unknown.
        """
        expect_list("questions", questions, "questions")
        groups: dict[tuple[object, ...], list[int]] = {}
        for place, one in enumerate(questions):
            _check(one)
            groups.setdefault((one.task, one.template, one.interval, *sorted(one.fields)), []).append(place)
        found: dict[int, Answered] = {}
        for places in groups.values():
            found |= dict(zip(places, self._asked([questions[place] for place in places]), strict=True))
        return [found[place] for place in range(len(questions))]

    def _asked(self, part: Sequence[Question]) -> list[Answered]:
        """Answers to questions that differ in nothing but their pairs and the values of their fields."""
        first = part[0]
        fields = {name: [one.fields[name] for one in part] for name in first.fields}
        users, items = [one.user for one in part], [one.item for one in part]
        if first.interval is None:
            answers: Sequence[float | str] = self.answerer.answer(
                first.task, users, items, fields, template=first.template
            )
            return [Answered(one.task, one.user, one.item, said) for one, said in zip(part, answers, strict=True)]
        within = self.answerer.rate_within(first.task, users, items, first.interval, fields, template=first.template)
        return [Answered(one.task, one.user, one.item, *said) for one, said in zip(part, within, strict=True)]


def _check(question: Question) -> None:
    """Refuses what is no question, or one with parts by which questions cannot be put together."""
    expect("questions", question, Question)
    expect("task", question.task, str)
    if question.template is not None:
        expect("template", question.template, str)
    expect_texts("fields", question.fields)
    if question.interval is not None:
        check_level(question.interval)


def _listed(items: Iterable[str]) -> list[str]:
    check_ids("items", items)
    return list(items)
