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
from metatoken.tasks.prompts import TASKS, seen_templates
from metatoken.tasks.user_tokens import UserTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data import Sequences
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
    ) -> None:
        self.rows, self.histories, self.vocabulary, self.builder = rows, histories, vocabulary, builder
        self.batch_size, self.seed, self.user_tokens = batch_size, seed, user_tokens
        self.templates = {task: seen_templates(TASKS[task]) for task in np.unique(rows[:, 0]).tolist()}
        needed = DIRECT in self.templates or user_tokens != "none"
        self.tokens = UserTokens(user_tokens, histories, vocabulary, builder.encoder, needed=needed)
        self._direct = np.flatnonzero(rows[:, 0] == DIRECT)
        self._others = np.flatnonzero(rows[:, 0] != DIRECT)
        if len(self._others):
            self._n_direct = math.ceil(direct_share * len(self._direct))
        else:
            self._n_direct = len(self._direct)
        self.parts = parts
        n_rows = len(self._others) + self._n_direct
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
        counts = [sum(len(e.targets) for e in examples), sum(len(e.text) for e in examples)]
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
        direct = rng.choice(self._direct, self._n_direct, replace=False)
        order = rng.permutation(np.concatenate([self._others, direct]))
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
