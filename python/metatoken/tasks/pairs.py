"""Pairs of a user and an item that are asked about: the fields a template may use, and the answer where it is known.

Texts are tokenized once; a question is spliced from ids, never from strings. A text is cut to `max_text` tokens, which
bounds the length of every prompt, and an answer ends with the tokenizer's end token unless it was cut.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from metatoken.data.ragged import Ragged
from metatoken.errors import ArgumentError
from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.examples import Example
from metatoken.tasks.prompts import text_ids
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.rewording import Rewording
from metatoken.tasks.task import FIELDS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.data import Interactions
    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.telling import TellingWords

    Ids = np.ndarray


def rating_text(rating: float) -> str:
    """A rating as questions have it."""
    return f"{rating:g}"


@dataclass(frozen=True)
class Texts:
    """Token ids of many texts.

    Attributes:
        tokens: A row for each text.
        cut: bool `[n]`, whether the text was longer.
    """

    tokens: Ragged
    cut: Ids

    @classmethod
    def encode(cls, tokenizer: Any, texts: Sequence[str], max_tokens: int) -> Texts:
        """Tokenizes each text once, with a space before it as inside a sentence; empty texts have no tokens."""
        distinct = sorted({text for text in texts if text})
        found = text_ids(tokenizer, [f" {text}" for text in distinct])
        by_text = dict(zip(distinct, found, strict=True))
        parts = [by_text.get(text, []) for text in texts]
        cut = np.array([len(part) > max_tokens for part in parts], dtype=np.bool_)
        return cls(Ragged.of(part[:max_tokens] for part in parts), cut)

    def take(self, rows: Ids) -> Texts:
        """The texts with these numbers, in this order."""
        return Texts(self.tokens.take(rows), self.cut[rows])


@dataclass(frozen=True)
class Pairs:
    """What can be asked in one task.

    Attributes:
        task: The task.
        rows: int64 `[n]` rows of the log part's frame.
        users: int64 `[n]` user rows.
        items: int64 `[n]` item rows.
        ratings: float64 `[n]`, or None where they are not known.
        fields: Texts of each field that the log has, rows as in `users`.
        written: The same fields as plain text, `[n]` each.
    """

    task: Task
    rows: Ids
    users: Ids
    items: Ids
    ratings: Ids | None
    fields: dict[str, Texts]
    written: dict[str, tuple[str, ...]]

    @classmethod
    def of(
        cls, task: Task, log: Interactions, tokenizer: Any, max_text: int, telling: TellingWords | None = None
    ) -> Pairs:
        """Collects the rows of `log` in which every needed column has a value.

        Args:
            task: The task.
            log: A part of a log.
            tokenizer: Tokenizer of the backbone.
            max_text: Most tokens of a text.
            telling: What a text may be about where a row has no feature; None for nothing.

        Raises:
            ArgumentError: The log lacks a column that the task needs.
        """
        frame = log.frame
        for column in sorted(task.columns - set(frame.columns)):
            said = f"the task {task.name!r} needs the column {column!r}; name it as data.{column} of the log"
            raise ArgumentError("log", said)
        columns = {name: frame[name].to_list() for name in FIELDS if name in frame.columns and name != "rating"}
        keep = np.ones(frame.height, dtype=np.bool_)
        for name in task.columns & set(columns):
            keep &= np.array([bool((text or "").strip()) for text in columns[name]], dtype=np.bool_)
        if "rating" in task.columns:
            keep &= frame["rating"].is_not_null().to_numpy()
        users, items = (frame[name].to_numpy().astype(np.int64)[keep] for name in ("user", "item"))
        rows = np.flatnonzero(keep)
        written = {name: [(texts[row] or "") for row in rows] for name, texts in columns.items()}
        if (titles := log.titles()) is not None:
            written["title"] = [titles[item] for item in items.tolist()]
        ratings = frame["rating"].to_numpy().astype(np.float64)[keep] if "rating" in frame.columns else None
        if ratings is not None:
            written["rating"] = ["" if math.isnan(rating) else rating_text(rating) for rating in ratings.tolist()]
        if telling is not None and "feature" in task.slots:
            told = written.get("feature") or [""] * len(users)
            written["feature"] = [own or words for own, words in zip(told, telling.about(users, items), strict=True)]
        return cls(task, rows, users, items, ratings, *_encoded(written, tokenizer, max_text))

    @classmethod
    def ask(
        cls, task: Task, users: Ids, items: Ids, fields: Mapping[str, Sequence[str]], tokenizer: Any, max_text: int
    ) -> Pairs:
        """Pairs whose answers are not known.

        Args:
            task: The task.
            users: int `[n]` user rows.
            items: int `[n]` item rows.
            fields: Texts `[n]` each, "" where there is none; nothing is read of the answer's own column.
            tokenizer: Tokenizer of the backbone.
            max_text: Most tokens of a text.

        Raises:
            ArgumentError: A field is unknown, or one that every template needs is empty.
        """
        for name in sorted(set(fields) - set(FIELDS)):
            raise ArgumentError("fields", f"{name!r} is no field of a question; those are {', '.join(FIELDS)}")
        written = {name: list(texts) for name, texts in fields.items() if name != task.column}
        for name in sorted(task.columns - {task.column}):
            if not all(text.strip() for text in written.get(name, [""])):
                raise ArgumentError("fields", f"the task {task.name!r} needs a {name} in every row")
        users, items = users.astype(np.int64), items.astype(np.int64)
        return cls(task, np.arange(len(users)), users, items, None, *_encoded(written, tokenizer, max_text))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def known(self) -> Sequence[str]:
        """The true answers as text, `[n]`."""
        return self.written[str(self.task.column)]

    def true_ratings(self) -> Ids:
        """The true ratings, float64 `[n]`.

        Raises:
            ArgumentError: They are not known.
        """
        if self.ratings is None:
            raise ArgumentError("pairs", "expected pairs of a log with ratings")
        return self.ratings

    def take(self, rows: Ids) -> Pairs:
        """The pairs with these numbers, in this order."""
        return replace(
            self,
            rows=self.rows[rows],
            users=self.users[rows],
            items=self.items[rows],
            fields={name: texts.take(rows) for name, texts in self.fields.items()},
            ratings=None if self.ratings is None else self.ratings[rows],
            written={name: tuple(texts[row] for row in rows.tolist()) for name, texts in self.written.items()},
        )

    def slots(self, row: int) -> dict[str, Ids]:
        """Token ids of each text that a row has, but for the answer's own."""
        found = {name: texts.tokens[row] for name, texts in self.fields.items() if name != self.task.column}
        return {name: ids for name, ids in found.items() if len(ids)}


def _encoded(
    written: Mapping[str, Sequence[str]], tokenizer: Any, max_text: int
) -> tuple[dict[str, Texts], dict[str, tuple[str, ...]]]:
    fields = {name: Texts.encode(tokenizer, texts, max_text) for name, texts in written.items()}
    return fields, {name: tuple(texts) for name, texts in written.items()}


class PairRows(ABC):
    """Training rows of a task about pairs; each kind says what an example supervises.

    Args:
        pairs: Pairs of the task.
        encoder: Splices ids.
        reworded: Chance that a training row is asked in part by other words of its task.
    """

    def __init__(self, pairs: Pairs, encoder: PromptEncoder, *, reworded: float = 0.0) -> None:
        self.task, self.pairs, self.encoder = pairs.task, pairs, QuestionEncoder(encoder)
        self.rewording = Rewording.of(pairs.task, encoder, reworded)

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self) -> Ids:
        """About how long each row is in items, int64 `[n]`."""
        return np.asarray(self.lengths() // self.encoder.encoder.depth)

    def lengths(self) -> Ids:
        """About how many tokens each row takes, int64 `[n]`: its texts, which is what differs."""
        asked = (self.task.columns | {self.task.column, "feature"}) - {"rating"}
        lengths = [texts.tokens.lengths for name, texts in self.pairs.fields.items() if name in asked]
        total: Ids = np.sum([np.zeros(len(self), dtype=np.int64), *lengths], axis=0)
        return total

    def newest(self) -> Ids:
        """Row of the log part that each pair is, int64 `[n]`."""
        return self.pairs.rows

    @abstractmethod
    def supervised(self) -> Ids:
        """Targets, text tokens, ratings and answers that each row supervises, float64 `[n, 4]`."""

    def example(self, row: int, rng: np.random.Generator | None) -> Example:
        """The example of a row with a seen template, drawn by `rng`; None takes the first."""
        seen = self.task.seen
        template = seen[0 if rng is None else int(rng.integers(len(seen)))]
        change = None if rng is None else self.rewording.draw(rng)
        return self.answered(row, *self.encoder.question(self.pairs, row, template, change=change))

    @abstractmethod
    def answered(self, row: int, ids: Ids, items: Ids) -> Example:
        """The question of a row with what it supervises."""


class HeldOutPairs(Dataset[Batch]):
    """Batches of held-out pairs, asked with the first seen template.

    Args:
        rows: The pairs.
        pad_id: Fills short rows.
        limit: Pairs at most, drawn once; None takes all.
        seed: Seed of the draw.
        batch_size: Pairs in a batch.
    """

    def __init__(self, rows: PairRows, pad_id: int, *, limit: int | None, seed: int, batch_size: int = 64) -> None:
        self.source, self.pad_id, self.batch_size = rows, pad_id, batch_size
        chosen = np.arange(len(rows))
        if limit is not None and len(chosen) > limit:
            chosen = np.random.default_rng(seed).choice(chosen, limit, replace=False)
        self.rows = chosen[np.argsort(rows.lengths()[chosen], kind="stable")]

    def __len__(self) -> int:
        """Batches in all."""
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`."""
        chosen = self.rows[number * self.batch_size : (number + 1) * self.batch_size].tolist()
        return collate([self.source.example(row, None) for row in chosen], self.pad_id)
