"""Lists as a user would see them: some that hold the item, some that miss it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from metatoken.evaluate.metrics import BASELINE
from metatoken.evaluate.predictions import ANSWERS, read_table
from metatoken.report.subject import labels_of

if TYPE_CHECKING:
    from metatoken.report.subject import Subject

EACH, SHOWN, LAST = 3, 5, 5  # lists of a kind; items of a list; items of a history
HIGH = 3  # rank up to which a list is a good one
LONG = 400  # characters of a text


def list_examples(subject: Subject, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Good and bad lists of the served model, drawn among all of their kind; nothing where nothing ranks.

    A good list has the held-out item among its first three, a bad one lacks it.

    Args:
        subject: The run.
        seed: Of the draw.
    """
    if subject.main is None:
        return {}
    labels = labels_of(subject.main)
    lists, places = subject.lists(labels), subject.ranks(labels)
    rival = None if subject.rival is None else subject.ranks(labels_of(subject.rival))
    order = np.random.default_rng(seed).permutation(len(places))
    good = [n for n in order.tolist() if 0 < places[n] <= HIGH]
    if rival is not None:
        good.sort(key=lambda n: 0 < rival[n] <= HIGH)  # first those that the best baseline has not; a stable order
    bad = [n for n in order.tolist() if places[n] == 0]
    histories = subject.data.split.history(subject.part)
    return {
        kind: [_example(subject, n, lists[n], int(places[n]), histories[subject.targets.users[n]]) for n in chosen]
        for kind, chosen in (("good", good[:EACH]), ("bad", bad[:EACH]))
    }


def _example(subject: Subject, n: int, listed: Any, place: int, history: Any) -> dict[str, Any]:
    users, target = subject.data.split.log.users.raw, int(subject.targets.items[n])
    items = [row for row in listed.tolist() if row >= 0][: max(SHOWN, place)]
    return {
        "user": users[subject.targets.users[n]],
        "earlier": max(0, len(history) - LAST),
        "history": [subject.title(row) for row in history[-LAST:].tolist()],
        "target": subject.title(target),
        "seen": int(subject.popularity[target]),
        "items": [{"title": subject.title(row), "hit": row == target} for row in items],
    }


def answer_examples(subject: Subject, seed: int = 0) -> list[dict[str, str]]:
    """Ratings and texts of the model beside what is true, some of each task; nothing where no task has any."""
    if not subject.folder.answers.is_file():
        return []
    table = read_table(subject.folder.answers, ANSWERS).filter(pl.col("template") != BASELINE, split=subject.part)
    found = []
    for task in table["task"].unique(maintain_order=True).to_list():
        part = table.filter(task=task)
        part = part.filter(template=part["template"][0], model=part["model"][0])
        rows = np.random.default_rng(seed).permutation(part.height)[:EACH]
        for row in part[rows.tolist()].iter_rows(named=True):
            item = subject.data.catalogue.items.find(pl.Series([row["item"]]))[0]
            title = subject.title(int(item)) if item >= 0 else row["item"]
            told = {name: row[name] if len(row[name]) <= LONG else f"{row[name][:LONG]}…" for name in ANSWER}
            found.append({"task": task, "user": row["user"], "item": title} | told)
    return found


ANSWER = ("answer", "reference")
