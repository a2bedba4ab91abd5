"""Texts that somebody gives with a question, checked and as a model has learned to read them."""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING

from metatoken.config import shown
from metatoken.errors import ArgumentError
from metatoken.tasks.pairs import rating_text
from metatoken.tasks.task import FIELDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from metatoken.tasks.task import Task, Template


def as_learned(name: str, texts: Sequence[object]) -> list[str]:
    """Texts of a field in the form in which those of the log were learned from; refuses what is none."""
    found = []
    for text in texts:
        if not isinstance(text, str):
            said = f"expected a text for {name!r}, got {reprlib.repr(text)}; where there is none, write an empty one"
            raise ArgumentError("fields", said)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            said = f"the {name} has half of a character (a lone surrogate) at place {error.start}; leave it out"
            raise ArgumentError("fields", said) from error
        found.append(_rating(text.strip()) if name == "rating" else text.strip())
    return found


def _rating(text: str) -> str:
    """A rating as training rows write it: 5 for 5.0; "" where there is none."""
    try:
        if not text or math.isfinite(float(text)):
            return text and rating_text(float(text))
    except ValueError:
        pass
    raise ArgumentError("fields", f"expected a number such as 4.5 for 'rating', got {shown(text)}")


def check_fields(task: Task, asked: Template, fields: Collection[str]) -> None:
    """Refuses a field that the words of a question have no place for: `ArgumentError`."""
    for name in sorted(set(fields) & set(FIELDS) - asked.slots):
        others = [template.id for template in task.templates if name in template.slots]
        remedy = f"those that use it: {', '.join(others)}" if others else f"no template of the task {task.name!r} does"
        raise ArgumentError("fields", f"the template {asked.id} does not use {name!r}; {remedy}")
