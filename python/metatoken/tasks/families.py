"""Task families whose answer is not an item but a rating or a text, each described by one data file.

`questions/<task>.yaml` says what the answer is and how to ask for it; adding a task is adding a file. The ranking tasks
(`sequential`, `direct`) have an item for an answer and live in `prompts`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import yaml

from metatoken.errors import ArgumentError
from metatoken.tasks.prompts import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable

Answer = Literal["rating", "text"]
TOKENS = ("user", "item")
FIELDS = ("title", "review", "summary", "explanation", "rating")
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Question:
    """One way to ask.

    Attributes:
        id: Name that is unique over all tasks, e.g. `rating-1`.
        seen: Whether it is used for training.
        text: Words with slots: `{user}` and `{item}` are OOV tokens, the others columns of the log or the title of the
            item. A part in `[...]` is left out where the field in it is empty.
    """

    id: str
    seen: bool
    text: str

    def pieces(self, present: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """The question as `("words", text)` and `("slot", name)` pieces in order.

        Args:
            present: Fields that have a value.

        Raises:
            ArgumentError: A field outside brackets has none.
        """
        kept = _OPTIONAL.sub(lambda part: part[1] if set(_SLOT.findall(part[1])) <= present else "", self.text)
        missing = set(_SLOT.findall(kept)) - present
        if missing:
            raise ArgumentError("present", f"question {self.id} cannot do without {', '.join(sorted(missing))}")
        parts = _SLOT.split(kept)
        named = [("slot" if at % 2 else "words", part) for at, part in enumerate(parts)]
        return tuple((kind, part) for kind, part in named if part)

    @property
    def slots(self) -> frozenset[str]:
        """All slots, those in brackets too."""
        return frozenset(_SLOT.findall(self.text))

    @property
    def required(self) -> frozenset[str]:
        """Slots that must have a value."""
        return frozenset(_SLOT.findall(_OPTIONAL.sub("", self.text)))


@dataclass(frozen=True)
class Family:
    """A task whose answer is a rating or a text.

    Attributes:
        name: Name of the task.
        answer: `rating` is a number from a regression head, `text` is written token by token.
        column: Column of the log that holds the answer.
        source: Column that a written answer is made from, if one is; the nearest such text is a baseline.
        questions: Seen ones first.
    """

    name: str
    answer: Answer
    column: str
    source: str | None
    questions: tuple[Question, ...]

    @property
    def columns(self) -> frozenset[str]:
        """Columns of the log that a row must have a value in: the answer's and those that every question needs."""
        asked = frozenset.intersection(*(q.required for q in self.questions))
        return (asked & (frozenset(FIELDS) - {"title"})) | {self.column}

    def find(self, question_id: str) -> Question:
        """The question with this id.

        Raises:
            ArgumentError: The family has none.
        """
        for question in self.questions:
            if question.id == question_id:
                return question
        known = ", ".join(question.id for question in self.questions)
        raise ArgumentError(
            "question", f"{question_id!r} is no question of the task {self.name!r}; expected one of {known}"
        )


@cache
def families() -> dict[str, Family]:
    """All such tasks by name, as the data files describe them."""
    folder = resources.files("metatoken.tasks").joinpath("questions")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name[:-5]: family_from(f.name[:-5], yaml.safe_load(f.read_text(encoding="utf-8"))) for f in files}


def known_tasks() -> list[str]:
    """Names of all tasks: those of ranking, and `families`."""
    return [*TASKS, *families()]


def answer_tasks(tasks: Iterable[str]) -> tuple[Family, ...]:
    """Those of the tasks whose answer is a rating or a text."""
    return tuple(families()[task] for task in tasks if task in families())


def ranking_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    """Those of the tasks whose answer is an item."""
    return tuple(task for task in tasks if task in TASKS)


def family_from(name: str, described: dict[str, Any]) -> Family:
    """A family from the content of its file.

    Raises:
        ArgumentError: A key or slot is unknown, an id is doubled, or a question tells the answer.
    """
    known = {"answer", "column", "source", "questions"}
    if set(described) - known or not {"answer", "column", "questions"} <= set(described):
        raise ArgumentError("described", f"task {name}: expected the keys {sorted(known)}, got {sorted(described)}")
    if described["answer"] not in ("rating", "text") or described["column"] not in FIELDS:
        raise ArgumentError("described", f"task {name}: answer is rating or text, column one of {', '.join(FIELDS)}")
    questions = tuple(sorted((Question(**q) for q in described["questions"]), key=lambda q: not q.seen))
    if len({q.id for q in questions}) < len(questions) or not any(q.seen for q in questions):
        raise ArgumentError("described", f"task {name}: expected distinct ids and a seen question")
    for question in questions:
        if question.slots - set(TOKENS) - set(FIELDS):
            raise ArgumentError("described", f"{question.id}: slots are {', '.join((*TOKENS, *FIELDS))}")
        if described["column"] in question.slots:
            raise ArgumentError("described", f"{question.id} tells the answer, {described['column']!r}")
    return Family(name, described["answer"], described["column"], described.get("source"), questions)
