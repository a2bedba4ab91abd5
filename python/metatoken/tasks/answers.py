"""Rows of the tasks whose answer is a rating or a text: who, what, the fields a question may use, and the answer.

Texts are tokenised once; a question is spliced from ids, never from strings. A text is cut to `max_text` tokens, which
bounds the length of every prompt, and an answer ends with the tokenizer's end token unless it was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.errors import ArgumentError
from metatoken.tasks.families import FIELDS, Family, Question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.data import Interactions
    from metatoken.tasks.prompts import PromptEncoder

Ids = np.ndarray


@dataclass(frozen=True)
class Texts:
    """Token ids of many texts as CSR.

    Attributes:
        ids: int64 `[all tokens]`.
        offsets: int64 `[n + 1]`.
        cut: bool `[n]`, whether the text was longer.
    """

    ids: Ids
    offsets: Ids
    cut: Ids

    @classmethod
    def encode(cls, tokenizer: Any, texts: Sequence[str], max_tokens: int) -> Texts:
        """Tokenises each text once, with a space before it as inside a sentence; empty texts have no tokens."""
        distinct = sorted(set(texts))
        spaced = [f" {text}" for text in distinct if text]
        found = tokenizer(spaced, add_special_tokens=False)["input_ids"] if spaced else []
        by_text = dict(zip([text for text in distinct if text], found, strict=True))
        parts = [by_text.get(text, []) for text in texts]
        lengths = np.array([min(len(part), max_tokens) for part in parts], dtype=np.int64)
        flat = [token for part in parts for token in part[:max_tokens]]
        cut = np.array([len(part) > max_tokens for part in parts], dtype=np.bool_)
        return cls(np.array(flat, dtype=np.int64), np.concatenate([[0], np.cumsum(lengths)]), cut)

    def __getitem__(self, row: int) -> Ids:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: Ids) -> Texts:
        """The texts with these numbers, in this order."""
        parts = [self[row] for row in rows.tolist()]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return Texts(np.concatenate([self.ids[:0], *parts]), offsets, self.cut[rows])

    def lengths(self) -> Ids:
        """Tokens of each text, int64 `[n]`."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class AnswerRows:
    """All rows of a log part that can be asked about in one task.

    Attributes:
        family: The task.
        rows: int64 `[n]` rows of the log part's frame.
        users: int64 `[n]` user rows.
        items: int64 `[n]` item rows.
        fields: Texts of each field that the log has, rows as in `users`.
        ratings: float64 `[n]`, or None where the log has none.
        written: The same fields as plain text, `[n]` each.
    """

    family: Family
    rows: Ids
    users: Ids
    items: Ids
    fields: dict[str, Texts]
    ratings: Ids | None
    written: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, family: Family, log: Interactions, tokenizer: Any, max_text: int) -> AnswerRows:
        """Collects the rows of `log` in which every needed column has a value.

        Args:
            family: The task.
            log: A part of a log.
            tokenizer: Of the backbone.
            max_text: Most tokens of a text.

        Raises:
            ArgumentError: The log lacks a column that the task needs.
        """
        frame = log.frame
        for column in sorted(family.columns):
            if column not in frame.columns:
                raise ArgumentError(
                    "log",
                    f"the task {family.name!r} needs the column {column!r}; name it as data.{column} of the log",
                )
        columns = {name: frame[name].to_list() for name in FIELDS if name in frame.columns and name != "rating"}
        keep = np.ones(frame.height, dtype=np.bool_)
        for name in family.columns & set(columns):
            keep &= np.array([bool((text or "").strip()) for text in columns[name]], dtype=np.bool_)
        users, items = (frame[name].to_numpy().astype(np.int64)[keep] for name in ("user", "item"))
        ratings = frame["rating"].to_numpy().astype(np.float64)[keep] if "rating" in frame.columns else None
        written = {name: [(texts[at] or "") for at in np.flatnonzero(keep)] for name, texts in columns.items()}
        titles = log.titles()
        if titles is not None:
            written["title"] = [titles[item] for item in items.tolist()]
        if ratings is not None:
            written["rating"] = [f"{rating:g}" for rating in ratings.tolist()]
        return cls.build(family, np.flatnonzero(keep), users, items, written, ratings, tokenizer, max_text)

    @classmethod
    def ask(
        cls,
        family: Family,
        users: Ids,
        items: Ids,
        fields: Mapping[str, Sequence[str]],
        tokenizer: Any,
        max_text: int,
    ) -> AnswerRows:
        """Rows whose answers are not known.

        Args:
            family: The task.
            users: int `[n]` user rows.
            items: int `[n]` item rows.
            fields: Texts `[n]` each, "" where there is none; of the answer's own column nothing is read.
            tokenizer: Of the backbone.
            max_text: Most tokens of a text.

        Raises:
            ArgumentError: A field is unknown, or one that every question needs is empty.
        """
        unknown = sorted(set(fields) - set(FIELDS))
        if unknown:
            raise ArgumentError("fields", f"{unknown[0]!r} is no field of a question; those are {', '.join(FIELDS)}")
        written = {name: list(texts) for name, texts in fields.items() if name != family.column}
        for name in sorted(family.columns - {family.column}):
            if not all(text.strip() for text in written.get(name, [""])):
                raise ArgumentError("fields", f"the task {family.name!r} needs a {name} in every row")
        users, items = users.astype(np.int64), items.astype(np.int64)
        return cls.build(family, np.arange(len(users)), users, items, written, None, tokenizer, max_text)

    @classmethod
    def build(
        cls,
        family: Family,
        rows: Ids,
        users: Ids,
        items: Ids,
        written: dict[str, list[str]],
        ratings: Ids | None,
        tokenizer: Any,
        max_text: int,
    ) -> AnswerRows:
        """Rows with their texts tokenised; arguments as the attributes."""
        fields = {name: Texts.encode(tokenizer, texts, max_text) for name, texts in written.items()}
        return cls(family, rows, users, items, fields, ratings, {name: tuple(texts) for name, texts in written.items()})

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Ids) -> AnswerRows:
        """The rows with these numbers, in this order."""
        return replace(
            self,
            rows=self.rows[rows],
            users=self.users[rows],
            items=self.items[rows],
            fields={name: texts.take(rows) for name, texts in self.fields.items()},
            ratings=None if self.ratings is None else self.ratings[rows],
            written={name: tuple(texts[row] for row in rows.tolist()) for name, texts in self.written.items()},
        )

    def present(self, row: int) -> frozenset[str]:
        """Slots that have a value in a row; the answer's own column never is one of them."""
        have = {name for name, texts in self.fields.items() if texts.offsets[row + 1] > texts.offsets[row]}
        return frozenset((have | {"user", "item"}) - {self.family.column})


class QuestionEncoder:
    """Splices questions from words, OOV tokens and texts.

    Args:
        encoder: Knows the tokenizer and the tokens of users and items.
    """

    def __init__(self, encoder: PromptEncoder) -> None:
        self.encoder = encoder
        self._words: dict[str, Ids] = {}

    def question(self, rows: AnswerRows, row: int, question: Question, user_ids: Ids | None = None) -> tuple[Ids, Ids]:
        """Ids of a question, and the item whose last token stands at each place.

        Args:
            rows: The rows of its task.
            row: Which one.
            question: How to ask.
            user_ids: Token ids of the user; None takes those of the vocabulary.

        Returns:
            int64 `[length]` token ids, and int64 `[length]` item rows or -1.
        """
        parts, leaves = [self.encoder.head()], [np.full(len(self.encoder.head()), -1)]
        for kind, name in question.pieces(rows.present(row)):
            if kind == "words":
                ids = self._encode(name)
            elif name == "user":
                ids = self.encoder.users.one(int(rows.users[row])) if user_ids is None else user_ids
            elif name == "item":
                ids = self.encoder.items.one(int(rows.items[row]))
            else:
                ids = rows.fields[name][row]
            leaf = np.full(len(ids), -1, dtype=np.int64)
            if (kind, name) == ("slot", "item"):
                leaf[-1] = rows.items[row]
            parts.append(ids)
            leaves.append(leaf)
        return np.concatenate(parts).astype(np.int64), np.concatenate(leaves).astype(np.int64)

    def answer(self, rows: AnswerRows, row: int) -> Ids:
        """Ids of the written answer, closed by the end token unless it was cut, int64 `[length]`."""
        texts = rows.fields[rows.family.column]
        end = [] if texts.cut[row] else [self.encoder.end_id]
        return np.concatenate([texts[row], np.array(end, dtype=np.int64)]).astype(np.int64)

    def _encode(self, words: str) -> Ids:
        # No token for the space before a slot: OOV tokens and texts bring their own.
        if words not in self._words:
            self._words[words] = self.encoder.words(words.rstrip())
        return self._words[words]
