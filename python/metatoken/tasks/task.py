"""Tasks: what a model is asked, in which words, and what kind of answer it gives.

`templates/<task>.yaml` describes a task; adding a file adds a task. Each later stage holds one table keyed by kind:

| kind    | the answer                          | tasks                                                         |
|---------|-------------------------------------|---------------------------------------------------------------|
| `rank`  | an item, out of the whole catalogue | `sequential`, `direct`                                        |
| `rate`  | a number, from the rating head      | `rating`, `review_rating`                                     |
| `write` | a text, token by token              | `explanation`, `review_summary`, `review_text`, `rating_text` |

What the prompt of a task that ranks holds, and how it is trained, is code: a class in `metatoken.tasks.ranking`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from metatoken.config import expect
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["rank", "rate", "write"]
TOKENS = ("user", "item")
FIELDS = ("title", "review", "summary", "explanation", "rating", "feature")
_LATER = re.compile(r"\[[^\]]*\{feature\}[^\]]*\]")  # parts of templates that no tokenizer has learned from
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Template:
    """One way to word a task.

    Attributes:
        id: Name that is unique over all tasks, e.g. `seq-1`.
        task: Name of the task.
        seen: Whether it is used for training; an unseen one only tests that the model reads words, not ids.
        text: Words with slots: `{user}` and `{item}` are OOV tokens, the others columns of the log (`{feature}` is what
            the answer is to be about) or the title of the item. A part in `[...]` is left out where a field in it has
            no value. A ranking template has the slot `{user}` alone: history and target follow its words.
    """

    id: str
    task: str
    seen: bool
    text: str

    def pieces(self, present: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """The template as `("words", text)` and `("slot", name)` pieces in order.

        Args:
            present: Slots that have a value.

        Raises:
            ArgumentError: A slot outside brackets has none.
        """
        kept = _OPTIONAL.sub(lambda part: part[1] if set(_SLOT.findall(part[1])) <= present else "", self.text)
        missing = set(_SLOT.findall(kept)) - present
        if missing:
            raise ArgumentError("present", f"template {self.id} cannot do without {', '.join(sorted(missing))}")
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
class Task:
    """One task.

    Attributes:
        name: Name of its file.
        kind: What an answer is.
        templates: Seen ones first.
        column: Column of the log that holds the answer; None where the answer is an item.
        source: Column that a written answer is made from, if one is; the nearest such text is a baseline.
    """

    name: str
    kind: Kind
    templates: tuple[Template, ...]
    column: str | None = None
    source: str | None = None

    @cached_property
    def seen(self) -> tuple[Template, ...]:
        """Templates that training draws from."""
        return tuple(template for template in self.templates if template.seen)

    @property
    def slots(self) -> frozenset[str]:
        """All slots of its templates."""
        return frozenset().union(*(template.slots for template in self.templates))

    @property
    def scored(self) -> tuple[Template, ...]:
        """Templates that an evaluation asks: the first seen one and the unseen ones."""
        return (self.templates[0], *(template for template in self.templates if not template.seen))

    @property
    def columns(self) -> frozenset[str]:
        """Columns of the log that a row must have a value in: the answer's and those that every template needs."""
        if self.column is None:
            return frozenset()
        asked = frozenset.intersection(*(template.required for template in self.templates))
        return (asked & (frozenset(FIELDS) - {"title"})) | {self.column}

    def find(self, template_id: str) -> Template:
        """The template with this id.

        Raises:
            ArgumentError: The task has none.
        """
        expect("template", template_id, str)
        known = {template.id: template for template in self.templates}
        if template_id not in known:
            said = f"{template_id!r} is no template of the task {self.name!r}; expected one of {', '.join(known)}"
            raise ArgumentError("template", said)
        return known[template_id]

    def corpus(self) -> list[str]:
        """Texts of the seen templates for the tokenizer of a preset.

        Those of pairs go in as they stand in the file, brackets and slots included, but for the parts with a feature:
        so the tokenizer of a log without features is the one that it was before there were any.
        """
        texts = [_LATER.sub("", template.text) for template in self.seen]
        return texts if self.column else [_OPTIONAL.sub(r"\1", text).replace("{user}", "") for text in texts]


@cache
def known_tasks() -> dict[str, Task]:
    """All tasks by name, those that rank first, in the order of their names."""
    folder = resources.files("metatoken.tasks").joinpath("templates")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    tasks = [task_from(f.name[:-5], yaml.safe_load(f.read_text(encoding="utf-8"))) for f in files]
    return {task.name: task for task in sorted(tasks, key=lambda task: get_args(Kind).index(task.kind))}


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ArgumentError: It is unknown.
    """
    expect("task", name, str)
    tasks = known_tasks()
    if name not in tasks:
        raise ArgumentError("task", f"expected one of {', '.join(tasks)}, got {name!r}")
    return tasks[name]


def tasks_of(names: Iterable[str], *kinds: Kind) -> tuple[Task, ...]:
    """Those of the named tasks that are of some kind, in their order."""
    return tuple(task for task in map(find_task, names) if task.kind in kinds)


def find_template(template_id: str) -> Template:
    """The template with this id, of whatever task.

    Raises:
        ArgumentError: No task has it.
    """
    expect("template", template_id, str)
    known = {template.id: template for task in known_tasks().values() for template in task.templates}
    if template_id not in known:
        raise ArgumentError("template", f"expected one of {', '.join(known)}, got {template_id!r}")
    return known[template_id]


def task_from(name: str, described: dict[str, Any]) -> Task:
    """A task from the content of its file.

    Raises:
        ArgumentError: A key, kind or slot is unknown, an id is doubled, or a template tells the answer.
    """
    needed = {"kind", "templates"}
    known = needed | {"column", "source"}
    if set(described) - known or not needed <= set(described):
        raise ArgumentError("described", f"task {name}: expected the keys {sorted(known)}, got {sorted(described)}")
    kind, column = described["kind"], described.get("column")
    if kind not in get_args(Kind):
        raise ArgumentError("described", f"task {name}: kind is one of {', '.join(get_args(Kind))}, got {kind!r}")
    if column not in ((None,) if kind == "rank" else FIELDS):
        raise ArgumentError("described", f"task {name}: column is one of {', '.join(FIELDS)}, or none where it ranks")
    entries = [Template(task=name, **entry) for entry in described["templates"]]
    templates = tuple(sorted(entries, key=lambda template: not template.seen))
    if len({t.id for t in templates}) < len(templates) or not any(t.seen for t in templates):
        raise ArgumentError("described", f"task {name}: expected distinct ids and a seen template")
    slots = ("user",) if kind == "rank" else (*TOKENS, *FIELDS)
    for template in templates:
        if template.slots - set(slots):
            raise ArgumentError("described", f"{template.id}: slots are {', '.join(slots)}")
        if column in template.slots:
            raise ArgumentError("described", f"{template.id} tells the answer, {column!r}")
    return Task(name, kind, templates, column, described.get("source"))
