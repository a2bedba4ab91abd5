"""Scores ratings and texts of a model and of untrained baselines on the rows that a random split holds out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from metatoken.decode.settings import TextOptions
from metatoken.decode.text import write
from metatoken.errors import ArgumentError
from metatoken.evaluate.answer_table import SCHEMA, answers_table
from metatoken.evaluate.factorization import Factorization
from metatoken.evaluate.ratings import GlobalMean, RatingBias, rating_metrics
from metatoken.evaluate.text import NearestPair, NearestText, text_metrics
from metatoken.model.answers import RatingBase, rating_values
from metatoken.tasks.answers import AnswerRows, QuestionEncoder
from metatoken.tasks.families import Family, Question, families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from metatoken.data import RowSplit
    from metatoken.model.module import MetaTokenModule

    Progress = Callable[[int, int], None]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
ROWS_OF_CHOICE = 2000  # held-out ratings that choose the share of the head


@dataclass(frozen=True)
class Told:
    """Answers of one model to all held-out rows of a task.

    Attributes:
        template: Id of the question, "-" for a baseline.
        model: Who answered.
        answers: float64 `[n]` ratings, or texts.
    """

    template: str
    model: str
    answers: np.ndarray | list[str]

    def texts(self) -> list[str]:
        """The answers as text; `float` of a rating's text gives it back exactly."""
        return (
            [repr(float(rating)) for rating in self.answers] if isinstance(self.answers, np.ndarray) else self.answers
        )


@dataclass(frozen=True)
class AnswerResult:
    """What an evaluation found.

    Attributes:
        rows: A row for each task, question and model, keys as in `metrics.json`.
        answers: `answers_table` of them all.
    """

    rows: list[dict[str, Any]]
    answers: pl.DataFrame


@dataclass(frozen=True)
class AnswerRunner:
    """Evaluates the rating and text tasks of one model.

    Attributes:
        module: The model, whose settings name its tasks.
        rows: The log in three parts; the baselines learn from `rows.train`.
        part: "validation" or "test".
        batch_size: Questions in a batch.
        limit: Most held-out texts that are written for a question, drawn once; None writes all.
        options: How texts are written.
        seed: Of the draw.
    """

    module: MetaTokenModule
    rows: RowSplit
    part: str = "test"
    batch_size: int = 64
    limit: int | None = 500
    options: TextOptions | None = None
    seed: int = 0

    def tasks(self) -> list[Family]:
        """The rating and text tasks of the model."""
        return [families()[task] for task in self.module.tasks if task in families()]

    def run(self, *, unseen: bool = True, progress: Progress | None = None) -> AnswerResult:
        """Scores the model with its first seen question and its unseen ones, and untrained baselines."""
        rows: list[dict[str, Any]] = []
        tables = [SCHEMA.to_frame()]
        tasks = self.tasks()
        for done, family in enumerate(tasks):
            held = self._held(family)
            if len(held) == 0:
                continue
            for told in self._told(family, held, [q for q in self._questions(family) if q.seen or unseen]):
                labels = {"template": told.template, "model": told.model}
                rows.append({"task": family.name, "users": len(held)} | labels | self._metrics(told, held))
                tables.append(answers_table(self.rows.train, held, told.texts(), split=self.part, **labels))
            if progress is not None:
                progress(done + 1, len(tasks))
        return AnswerResult(rows, pl.concat(tables))

    def _told(self, family: Family, held: AnswerRows, questions: Sequence[Question]) -> Iterator[Told]:
        model, ask = ("rating_head", self.predict) if family.answer == "rating" else ("written", self.write)
        for question in questions:
            yield Told(question.id, model, ask(held, question))
        if family.column == "rating":
            yield from self._rated(held)
            return
        train = AnswerRows.of(family, self.rows.train, self.module.tokenizer, self.module.settings.max_text)
        for name, texts in _nearest(self.module, family, train, held).items():
            yield Told("-", name, texts)

    def _rated(self, held: AnswerRows) -> Iterator[Told]:
        """Ratings by baselines."""
        train, validation = self.rows.train, self.rows.validation
        yield Told("-", "global_mean", GlobalMean.fit(train).predict(held.users, held.items))
        yield Told("-", "biases", RatingBias.choose(train, validation).predict(held.users, held.items))
        if find_spec("lenskit") is not None:
            chosen = Factorization.choose(train, validation)
            yield Told("-", "matrix_factorization", chosen.predict(held.users, held.items))

    def _metrics(self, told: Told, held: AnswerRows) -> dict[str, float]:
        if held.family.column != "rating":
            return text_metrics(told.texts(), held.written[held.family.column])
        if isinstance(told.answers, np.ndarray):
            return rating_metrics(told.answers, _ratings_of(held))
        # What is no number counts as the mean, and its share is reported.
        values = np.array([number_in(text) for text in told.answers])
        filled = np.where(np.isnan(values), GlobalMean.fit(self.rows.train).mean, values)
        return rating_metrics(filled, _ratings_of(held)) | {"no_number": float(np.isnan(values).mean())}

    def _questions(self, family: Family) -> list[Question]:
        return [family.questions[0], *[q for q in family.questions if not q.seen]]

    def _held(self, family: Family) -> AnswerRows:
        rows = AnswerRows.of(family, self.rows.part(self.part), self.module.tokenizer, self.module.settings.max_text)
        if family.answer == "text" and self.limit is not None and len(rows) > self.limit:
            chosen = np.sort(np.random.default_rng(self.seed).choice(len(rows), self.limit, replace=False))
            rows = rows.take(chosen)
        return rows

    def predict(self, rows: AnswerRows, question: Question) -> np.ndarray:
        """Ratings of the rows, float64 `[n]`: the biases and the head's part, cut to what can occur."""
        values = np.concatenate([np.zeros(0), *self._values(rows, question)])
        return self._base().predict(rows.family.name, rows.users, rows.items, values)

    def _base(self) -> RatingBase:
        if self.module.ratings is None:
            raise ArgumentError("module", "a rating task needs MetaTokenModule(..., ratings=RatingBase.fit(...))")
        return self.module.ratings

    def _values(self, rows: AnswerRows, question: Question) -> Iterator[np.ndarray]:
        encoder = QuestionEncoder(self.module.builder.encoder)
        for at in range(0, len(rows), self.batch_size):
            chosen = range(at, min(at + self.batch_size, len(rows)))
            prompts = [encoder.question(rows, row, question) for row in chosen]
            yield rating_values(self.module.network, prompts, self.module.builder.encoder.pad_id).double().numpy()

    def choose_share(self, family: Family) -> float:
        """The share of the head's part that is best on validation ratings, in 0..1.

        With `e` what the head adds to the biases and `r` what they leave over, `sum (r - w e)^2` is least at
        `w = sum r e / sum e^2`. So a head that learned nothing cannot make the biases worse.
        """
        held = AnswerRows.of(family, self.rows.validation, self.module.tokenizer, self.module.settings.max_text)
        if held.ratings is None or len(held) == 0:
            return 0.0
        held = held.take(np.arange(min(len(held), ROWS_OF_CHOICE)))
        if held.ratings is None:
            raise AssertionError("rows keep their ratings")
        values = np.concatenate([*self._values(held, family.questions[0])])
        rest = held.ratings - self._base().biases.predict(held.users, held.items)
        added = values * self._base().spread
        power = float(added @ added)
        return float(np.clip(added @ rest / power, 0.0, 1.0)) if power > 0 else 0.0

    def write(self, rows: AnswerRows, question: Question) -> list[str]:
        """The texts that the model writes for the rows."""
        encoder = QuestionEncoder(self.module.builder.encoder)
        options = self.options or TextOptions(max_new_tokens=self.module.settings.max_text)
        lengths = [len(encoder.question(rows, row, question)[0]) for row in range(len(rows))]
        order = np.argsort(lengths, kind="stable")  # prompts of like length side by side, for less padding
        found = [""] * len(rows)
        for at in range(0, len(rows), self.batch_size):
            chosen = order[at : at + self.batch_size].tolist()
            prompts = [encoder.question(rows, row, question) for row in chosen]
            texts = write(self.module.network, self.module.tokenizer, prompts, options, seed=self.seed)
            for row, text in zip(chosen, texts, strict=True):
                found[row] = text
        return found


def number_in(text: str) -> float:
    """The first number in a text, NaN where there is none."""
    found = _NUMBER.search(text)
    return float(found[0]) if found else float("nan")


def _ratings_of(held: AnswerRows) -> np.ndarray:
    if held.ratings is None:
        raise AssertionError("a rating task has ratings")
    return held.ratings


def _nearest(module: MetaTokenModule, family: Family, train: AnswerRows, held: AnswerRows) -> dict[str, list[str]]:
    """Texts that are found instead of written: of the nearest pair, and of the nearest source text."""
    vectors, n_users = module.vocabulary.vectors, module.vocabulary.n_users
    pair = NearestPair.fit(vectors[train.users], vectors[n_users + train.items], train.written[family.column])
    found = {"nearest_pair": pair.predict(vectors[held.users], vectors[n_users + held.items])}
    if family.source is not None:
        index = NearestText.fit(train.written[family.source], train.written[family.column])
        found["nearest_text"] = index.predict(held.written[family.source])
    return found
