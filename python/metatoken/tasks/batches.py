"""Training batches of all tasks, mixed.

A batch is a pure function of (seed, epoch, number), so a run can be resumed or repeated exactly. Prompts, direct
targets and user prefixes are drawn afresh every epoch.

A user's own token knows what the user took, so a row with a user token supervises only what that token has not seen;
`user_tokens` has the rules.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from metatoken.errors import ArgumentError
from metatoken.tasks.examples import Batch, Example, ExampleBuilder, collate
from metatoken.tasks.mixture import draw, rows_per_task
from metatoken.tasks.prompts import TASKS, seen_templates
from metatoken.tasks.user_tokens import UserTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.data import Sequences
    from metatoken.tasks.answer_examples import AnswerExamples
    from metatoken.tokens.vocabulary import Vocabulary

SEQUENTIAL, DIRECT = TASKS.index("sequential"), TASKS.index("direct")
POOL = 50  # batches that are shuffled together before rows of like length are put side by side


def training_rows(histories: Sequences, tasks: Sequence[str], max_history: int, *, per_target: bool) -> np.ndarray:
    """What there is to train on, int64 `[rows, 4]`: task, user row, end of the window, number of its last targets.

    A history longer than `max_history` is cut into overlapping windows, so that every item but the first is a target
    once an epoch, with at least half a window before it.

    Args:
        histories: Train items of every user.
        tasks: Task families of the run.
        max_history: Items in a window.
        per_target: One row a target (encoder-decoder models) instead of one a window.
    """
    lengths = np.diff(histories.offsets)
    rows: list[tuple[int, int, int, int]] = []
    stride = 1 if per_target else max(1, max_history // 2)
    for user in np.flatnonzero(lengths >= 2).tolist():
        end = int(lengths[user])
        if "sequential" in tasks:
            while end >= 2:
                whole = not per_target and end <= max_history
                rows.append((SEQUENTIAL, user, end, end - 1 if whole else stride))
                end = 0 if whole else end - stride
        if "direct" in tasks:
            rows.append((DIRECT, user, int(lengths[user]), 1))
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


class TrainingBatches(Dataset[Batch]):
    """Batches by (epoch, number).

    A step of the optimiser reads `batch_size` rows, in `parts` batches of every `parts`-th row. All draws are made for
    the step, so the number of parts changes nothing about it. Steps hold about equally many rows.

    Args:
        rows: Of `training_rows`.
        histories: Train items of every user.
        vocabulary: Gives user tokens for prefixes.
        builder: Makes examples.
        batch_size: Rows in a step.
        seed: Of every draw.
        user_tokens: One of `user_tokens.MODES`: whether sequential prompts hold user tokens, and from what.
        direct_share: Share of the users who give a direct row in an epoch, drawn afresh; all of them where it is the
            only task.
        parts: Batches in a step.
        answers: Rows of the rating and text tasks.
        shares: Weights of those tasks, see `rows_per_task`.
        mixing_temperature: Of `rows_per_task`, over those tasks.

    Raises:
        ArgumentError: A step would have fewer rows than parts.
    """

    def __init__(
        self,
        rows: np.ndarray,
        histories: Sequences,
        vocabulary: Vocabulary,
        builder: ExampleBuilder,
        *,
        batch_size: int,
        seed: int,
        user_tokens: str,
        direct_share: float = 1.0,
        parts: int = 1,
        answers: AnswerExamples | None = None,
        shares: Mapping[str, float] | None = None,
        mixing_temperature: float = 1.0,
    ) -> None:
        self.rows, self.histories, self.vocabulary, self.builder = rows, histories, vocabulary, builder
        self.batch_size, self.seed, self.user_tokens = batch_size, seed, user_tokens
        self.templates = {task: seen_templates(TASKS[task]) for task in np.unique(rows[:, 0]).tolist()}
        self.answers = answers
        self._answer_rows, self._answers_wanted = _answer_rows(answers, len(rows), shares, mixing_temperature)
        if answers is not None:
            self.rows = np.concatenate([rows, *(table for _, table in self._answer_rows)])
        needed = DIRECT in self.templates or user_tokens != "none"
        self.tokens = UserTokens(user_tokens, histories, vocabulary, builder.encoder, needed=needed)
        self._direct = np.flatnonzero(rows[:, 0] == DIRECT)
        self._others = np.flatnonzero(rows[:, 0] != DIRECT)
        if len(self._others):
            self._n_direct = math.ceil(direct_share * len(self._direct))
        else:
            self._n_direct = len(self._direct)
        self.parts = parts
        n_rows = len(self._others) + self._n_direct + sum(self._answers_wanted)
        self.steps = math.ceil(n_rows / batch_size)
        if n_rows // self.steps < parts:
            raise ArgumentError(
                "batch_size", f"a step of {n_rows // self.steps} rows cannot be cut into {parts} parts (processes x "
                "accumulated batches)"
            )  # fmt: skip
        self._epoch = -1
        self._drawn: tuple[tuple[int, int], list[Example]] = ((-1, -1), [])
        self._order: list[np.ndarray] = []

    def __len__(self) -> int:
        """Batches in an epoch, over all parts."""
        return self.steps * self.parts

    def __getitem__(self, key: tuple[int, int] | int) -> Batch:
        """Batch `number` of `epoch` (0 where only a number is given): part `number % parts` of a step."""
        epoch, number = key if isinstance(key, tuple) else (0, key)
        step, part = divmod(number, self.parts)
        examples = self._examples(epoch, step)
        tasks = self.rows[self._order[step], 0]
        batch = collate(examples[part :: self.parts], tasks[part :: self.parts].tolist(), self.builder.encoder.pad_id)
        # The mean over a step's targets is the mean of its parts' losses when each is divided by this.
        counts = [sum(len(getattr(e, name)) for e in examples) for name in ("targets", "text", "rating")]
        batch.normaliser = torch.tensor(counts) / self.parts
        return batch

    def _examples(self, epoch: int, step: int) -> list[Example]:
        if epoch != self._epoch:
            self._begin(epoch)
        if self._drawn[0] != (epoch, step):
            rng = np.random.default_rng([self.seed, epoch, 1 + step])
            self._drawn = (epoch, step), [self._example(self.rows[row], rng) for row in self._order[step]]
        return self._drawn[1]

    def _begin(self, epoch: int) -> None:
        rng = np.random.default_rng([self.seed, epoch, 0])
        self.tokens.begin(rng, epoch)
        size = np.where(self.rows[:, 0] == SEQUENTIAL, np.minimum(self.rows[:, 2], self.builder.max_history), 1)
        answers = self.rows[:, 0] >= len(TASKS)
        size[answers] = self.rows[answers, 2] // self.vocabulary.depth
        direct = rng.choice(self._direct, self._n_direct, replace=False)
        drawn = [
            draw(rows, wanted, rng) for (rows, _), wanted in zip(self._answer_rows, self._answers_wanted, strict=True)
        ]
        order = rng.permutation(np.concatenate([self._others, direct, *drawn]))
        pool = self.batch_size * POOL
        sorted_pools = [
            part[np.argsort(size[part], kind="stable")]
            for part in (order[at : at + pool] for at in range(0, len(order), pool))
        ]
        flat = np.concatenate(sorted_pools)
        batches = np.array_split(flat, self.steps)
        self._order = [batches[i] for i in rng.permutation(self.steps)]
        self._epoch = epoch

    def _example(self, row: np.ndarray, rng: np.random.Generator) -> Example:
        task, user, end, n_targets = row.tolist()
        if task >= len(TASKS) and self.answers is not None:
            return self.answers.example(task - len(TASKS), user, rng)
        words = self.templates[task]
        template = words[rng.integers(len(words))]
        items = self.histories[user]
        if task == DIRECT:
            ids, place = self.tokens.direct(user, rng)
            if self.builder.encoder.encoder_decoder:
                return self.builder.prompt(template, ids, items[:0], int(items[place]))
            return self.builder.causal(template, ids, items[place : place + 1], 0)
        start = max(0, end - self.builder.max_history - int(self.builder.encoder.encoder_decoder))
        window = self.tokens.sequential(user, start, max(start + 1, end - n_targets), end)
        if self.builder.encoder.encoder_decoder:
            return self.builder.prompt(template, window.ids, items[start : end - 1], int(items[end - 1]))
        return self.builder.causal(template, window.ids, items[start : window.end], window.first - start)


def _answer_rows(
    answers: AnswerExamples | None, first: int, shares: Mapping[str, float] | None, temperature: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[int]]:
    """Of each answer task: numbers of its rows behind `first` others and the rows; and how many an epoch holds.

    A row is (task, row of its table, tokens of its texts, 0), tasks counted behind the ranking tasks.
    """
    if answers is None:
        return [], []
    found, at = [], first
    for number, table in enumerate(answers.tables):
        columns = [np.full(len(table), len(TASKS) + number), np.arange(len(table)), answers.sizes(number)]
        found.append((np.arange(at, at + len(table)), np.stack([*columns, np.zeros_like(columns[0])], axis=1)))
        at += len(table)
    counts = {table.family.name: len(table) for table in answers.tables}
    return found, list(rows_per_task(counts, shares, temperature).values())
