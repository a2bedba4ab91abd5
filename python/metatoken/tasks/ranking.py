"""Tasks whose answer is an item: what their prompts hold, their training rows, prompts of held-out items.

A user's own tokens were made from the user's items, so a row with user tokens supervises only what they have not seen;
`user_tokens` has the rules.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from metatoken.data.ragged import offsets_of
from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.examples import Example, ExampleBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metatoken.data import Sequences
    from metatoken.tasks.reader import Reader
    from metatoken.tasks.task import Task, Template
    from metatoken.tasks.user_tokens import UserTokens, Window

    Ids = np.ndarray


class RankingRows(ABC):
    """Training rows of a task that ranks.

    Args:
        task: The task.
        histories: Train items of every user.
        builder: Makes examples.
        tokens: User tokens of the epoch.

    Attributes:
        rows: int64 `[n, 3]`: user row, end of the window in the history, how many of its last items are targets.
    """

    reads_history: ClassVar[bool]
    needs_user: ClassVar[bool]

    def __init__(self, task: Task, histories: Sequences, builder: ExampleBuilder, tokens: UserTokens) -> None:
        self.task, self.histories, self.builder, self.tokens = task, histories, builder, tokens
        self.rows = np.array(self._windows(), dtype=np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.rows)

    @abstractmethod
    def _windows(self) -> list[tuple[int, int, int]]:
        """The rows, in the order of the users."""

    @abstractmethod
    def sizes(self) -> Ids:
        """About how many items each row reads, int64 `[n]`."""

    @abstractmethod
    def supervised(self) -> Ids:
        """What each row is expected to supervise in an epoch, float64 `[n, 4]`, see `Batch.normaliser`."""

    def newest(self) -> Ids:
        """Row of the training log that the last item of each window is, int64 `[n]`."""
        rows: Ids = self.histories.offsets[self.rows[:, 0]] + self.rows[:, 1] - 1
        return rows

    def _supervised(self, first: Ids, end: Ids) -> Ids:
        """The same for rows that supervise places `first..end` of their users' histories, int `[n]` each."""
        encoder = self.builder.encoder
        titles = encoder.written.lengths - encoder.items.lengths
        before = offsets_of(titles[self.histories.items])  # text tokens of titles before each place of all histories
        begin = self.histories.offsets[self.rows[:, 0]]
        text = before[begin + end] - before[begin + first]
        answers = np.ones_like(text) if encoder.compact else end - first
        return np.stack([end - first, text, np.zeros_like(text), answers], axis=1).astype(np.float64)

    def example(self, row: int, rng: np.random.Generator) -> Example:
        """The example of a row, its template and what else is free drawn by `rng`."""
        template = self.task.seen[rng.integers(len(self.task.seen))]
        user, end, targets = self.rows[row].tolist()
        return self._example(template, user, end, targets, rng)

    @abstractmethod
    def _example(self, template: Template, user: int, end: int, targets: int, rng: np.random.Generator) -> Example:
        """The example of a window with a template."""


class SequentialRows(RankingRows):
    """The history is read, every item of it but the first is a target.

    A history longer than `max_history` is cut into overlapping windows, so that every item but the first is a target
    once an epoch, with at least half a window before it. An encoder-decoder model has a row for each target.
    """

    reads_history, needs_user = True, False

    def _windows(self) -> list[tuple[int, int, int]]:
        longest, per_target = self.builder.max_history, self.builder.encoder.encoder_decoder
        stride = 1 if per_target else max(1, longest // 2)
        rows: list[tuple[int, int, int]] = []
        for user, length in enumerate(self.histories.lengths.tolist()):
            end = length
            while end >= 2:
                whole = not per_target and end <= longest
                rows.append((user, end, end - 1 if whole else stride))
                end = 0 if whole else end - stride
        return rows

    def sizes(self) -> Ids:
        """Items of the window."""
        return np.minimum(self.rows[:, 1], self.builder.max_history)

    def supervised(self) -> Ids:
        """Those of the windows, which depend on the cuts or folds that the epoch has drawn."""
        windows = [self._window(*row)[1] for row in self.rows.tolist()]
        places = np.array([(window.first, window.end) for window in windows], dtype=np.int64).reshape(-1, 2)
        return self._supervised(*places.T)

    def _window(self, user: int, end: int, targets: int) -> tuple[int, Window]:
        """Where a row begins to read, and what it supervises."""
        start = max(0, end - self.builder.max_history - int(self.builder.encoder.encoder_decoder))
        return start, self.tokens.sequential(user, start, max(start + 1, end - targets), end)

    def _example(self, template: Template, user: int, end: int, targets: int, _rng: np.random.Generator) -> Example:
        items, (start, window) = self.histories[user], self._window(user, end, targets)
        if self.builder.encoder.encoder_decoder:
            made = self.builder.prompt(template, window.ids, items[start : end - 1], int(items[end - 1]))
        else:
            made = self.builder.causal(template, window.ids, items[start : window.end], window.first - start)
        return made._replace(place=int(self.histories.offsets[user]) + window.first)


class DirectRows(RankingRows):
    """The user's tokens are read alone; the target is an item that they have not seen."""

    reads_history, needs_user = False, True

    def _windows(self) -> list[tuple[int, int, int]]:
        lengths = self.histories.lengths
        return [(user, int(lengths[user]), 1) for user in np.flatnonzero(lengths >= 2).tolist()]

    def sizes(self) -> Ids:
        """One item, the target."""
        return np.ones(len(self), dtype=np.int64)

    def supervised(self) -> Ids:
        """One target; its title has the mean length of those of the history that it is drawn from."""
        lengths = self.rows[:, 1]
        found = self._supervised(np.zeros_like(lengths), lengths) / lengths[:, None]
        found[:, 3] = 1  # the target is the last item of its row
        return found

    def _example(self, template: Template, user: int, _end: int, _targets: int, rng: np.random.Generator) -> Example:
        ids, taken, place = self.tokens.direct(user, rng)
        target = self.histories[user][place : place + 1]
        if self.builder.encoder.encoder_decoder:
            return self.builder.prompt(template, ids, target[:0], int(target[0]), taken)
        return self.builder.causal(template, ids, target, 0, taken)


RANKING: dict[str, type[RankingRows]] = {"sequential": SequentialRows, "direct": DirectRows}
"""What the prompts of each task hold, and how it is trained; in the order in which their rows are drawn."""


@dataclass(frozen=True)
class Evaluation:
    """Prompts with their held-out items.

    Attributes:
        batch: The prompts.
        targets: int64 `[B]` item rows.
        seen: For each prompt the item rows that may not be recommended.
        users: int `[B]` user rows.
    """

    batch: Batch
    targets: torch.Tensor
    seen: list[Ids]
    users: Ids

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Evaluation:
        """The same on a device."""
        return Evaluation(self.batch.to(device, non_blocking), self.targets.to(device), self.seen, self.users)


class EvaluationBatches(Dataset[Evaluation]):
    """Prompts of held-out targets with one template, in the order of the targets.

    Args:
        reader: How the model reads.
        template: Words of a task that ranks.
        users: int `[m]` user rows.
        targets: int `[m]` item rows.
        histories: What each user has seen, by user row.
        batch_size: Prompts in a batch.
    """

    def __init__(
        self, reader: Reader, template: Template, users: Ids, targets: Ids, histories: Sequences, *, batch_size: int
    ) -> None:
        self.builder, self.template = reader.builder, template
        self.users, self.targets, self.histories, self.batch_size = users, targets, histories, batch_size
        self.reads_history = RANKING[template.task].reads_history
        self.with_user = reader.user_tokens != "none" or RANKING[template.task].needs_user

    def __len__(self) -> int:
        """Batches in all."""
        return math.ceil(len(self.users) / self.batch_size)

    def __iter__(self) -> Iterator[Evaluation]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Evaluation:
        """Batch `number`."""
        chosen = slice(number * self.batch_size, (number + 1) * self.batch_size)
        users = self.users[chosen]
        seen = [self.histories[user] for user in users]
        encoder = self.builder.encoder
        prompts = [
            self.builder.prompt(
                self.template,
                encoder.users[user] if self.with_user else None,
                history if self.reads_history else history[:0],
                taken=history[:0] if self.reads_history else history,
            )
            for user, history in zip(users, seen, strict=True)
        ]
        targets = torch.from_numpy(self.targets[chosen].astype(np.int64))
        return Evaluation(collate(prompts, encoder.pad_id), targets, seen, users)
