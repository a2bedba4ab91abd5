"""Training and validation data as Lightning wants them.

One mixed dataset holds the rows of all tasks; a batch is a pure function of (seed, epoch, number), so a run can be
resumed or repeated exactly. Prompts, direct targets and user prefixes are drawn afresh every epoch.

A user's own token knows what the user took, so a row with a user token supervises only what that token has not seen;
`user_tokens` has the rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from metatoken.errors import ArgumentError
from metatoken.tasks.examples import Batch, Example, ExampleBuilder, collate
from metatoken.tasks.prompts import TASKS, seen_templates
from metatoken.tasks.user_tokens import UserTokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metatoken.data import Sequences, Split
    from metatoken.tokens.vocabulary import Vocabulary

SEQUENTIAL, DIRECT = TASKS.index("sequential"), TASKS.index("direct")
POOL = 50  # batches that are shuffled together before rows of like length are put side by side


@dataclass(frozen=True)
class Evaluation:
    """Prompts with their held-out items.

    Attributes:
        batch: The prompts.
        targets: int64 `[B]` item rows.
        seen: For each prompt the item rows that may not be recommended.
    """

    batch: Batch
    targets: torch.Tensor
    seen: list[np.ndarray]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Evaluation:
        """The same on a device."""
        return Evaluation(self.batch.to(device, non_blocking), self.targets.to(device), self.seen)


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

    Args:
        rows: Of `training_rows`.
        histories: Train items of every user.
        vocabulary: Gives user tokens for prefixes.
        builder: Makes examples.
        batch_size: Rows in a batch.
        seed: Of every draw.
        user_tokens: One of `user_tokens.MODES`: whether sequential prompts hold user tokens, and from what.
        direct_share: Share of the users who give a direct row in an epoch, drawn afresh; all of them where it is the
            only task.
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
        self._epoch = -1
        self._order: list[np.ndarray] = []

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil((len(self._others) + self._n_direct) / self.batch_size)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Batch `number` of `epoch`."""
        epoch, number = key
        if epoch != self._epoch:
            self._begin(epoch)
        chosen = self._order[number]
        rng = np.random.default_rng([self.seed, epoch, 1 + number])
        examples = [self._example(self.rows[row], rng) for row in chosen]
        return collate(examples, self.rows[chosen, 0].tolist(), self.builder.encoder.pad_id)

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
        batches = [flat[at : at + self.batch_size] for at in range(0, len(flat), self.batch_size)]
        self._order = [batches[i] for i in rng.permutation(len(batches))]
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


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, number); Lightning calls `set_epoch`."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Moves to an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every batch once; their order within an epoch is already drawn."""
        return ((self.epoch, number) for number in range(self.length))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.length


class EvaluationBatches(Dataset[Evaluation]):
    """Prompts of held-out targets with one template, in the order of the targets.

    Args:
        task: `sequential` or `direct`.
        template_id: Whose words to use.
        users: int `[m]` user rows.
        targets: int `[m]` item rows.
        histories: What each user has seen, by user row.
        vocabulary: Gives user tokens.
        builder: Makes examples.
        batch_size: Prompts in a batch.
        with_user: Put user tokens into sequential prompts.
    """

    def __init__(
        self,
        task: str,
        template_id: str,
        users: np.ndarray,
        targets: np.ndarray,
        histories: Sequences,
        builder: ExampleBuilder,
        *,
        batch_size: int,
        with_user: bool = False,
    ) -> None:
        from metatoken.tasks.prompts import find_template

        self.template = find_template(template_id)
        if self.template.task != task:
            raise ArgumentError(
                "template_id", f"{template_id!r} belongs to the task {self.template.task!r}, not {task!r}"
            )
        self.task, self.users, self.targets = task, users, targets
        self.histories, self.builder, self.batch_size = histories, builder, batch_size
        self.with_user = with_user or task == "direct"

    def __len__(self) -> int:
        """Batches in all."""
        return math.ceil(len(self.users) / self.batch_size)

    def __getitem__(self, number: int) -> Evaluation:
        """Batch `number`."""
        chosen = slice(number * self.batch_size, (number + 1) * self.batch_size)
        users = self.users[chosen]
        seen = [self.histories[user] for user in users]
        examples = [
            self.builder.prompt(
                self.template,
                self.builder.encoder.users.one(user) if self.with_user else None,
                history[:0] if self.task == "direct" else history,
            )
            for user, history in zip(users, seen, strict=True)
        ]
        batch = collate(examples, [TASKS.index(self.task)] * len(examples), self.builder.encoder.pad_id)
        return Evaluation(batch, torch.from_numpy(self.targets[chosen].astype(np.int64)), seen)


class TaskDataModule(L.LightningDataModule):
    """Train and validation batches for `MetaTokenModule`, which gives it the tokenizer when it is fitted.

    Args:
        split: Of the log.
        vocabulary: Fitted on `split.train`.
        tasks: Task families.
        batch_size: Rows in a batch.
        seed: Of every draw.
        direct_share: Share of the users who give a row of the direct task in an epoch. A user has one such row but many
            sequential targets, so a small share keeps the tasks in balance.
        validation_users: How many users (drawn once) are scored after an epoch; None scores all.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        *,
        tasks: Sequence[str] = ("sequential", "direct"),
        batch_size: int = 128,
        seed: int = 0,
        direct_share: float = 0.25,
        validation_users: int | None = 2000,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ArgumentError("batch_size", f"expected at least 1, got {batch_size}")
        if not (split.train.sequences().lengths >= 2).any():
            raise ArgumentError("split", "no user has two training interactions, so there is nothing to learn from")
        self.split, self.vocabulary, self.tasks = split, vocabulary, tuple(tasks)
        if not 0 < direct_share <= 1:
            raise ArgumentError("direct_share", f"expected a share above 0 and at most 1, got {direct_share}")
        self.batch_size, self.seed, self.direct_share = batch_size, seed, direct_share
        self.validation_users = validation_users

    def _model(self) -> Any:
        if self.trainer is None:
            raise RuntimeError("TaskDataModule needs a Trainer: call Trainer.fit(model, data)")
        return self.trainer.lightning_module

    def train_dataloader(self) -> DataLoader[Batch]:  # noqa: D102
        model = self._model()
        histories = self.split.train.sequences()
        rows = training_rows(
            histories,
            self.tasks,
            model.builder.max_history,
            per_target=model.builder.encoder.encoder_decoder,
        )
        batches = TrainingBatches(
            rows,
            histories,
            self.vocabulary,
            model.builder,
            batch_size=self.batch_size,
            seed=self.seed,
            user_tokens=model.user_tokens,
            direct_share=self.direct_share,
        )
        return DataLoader(batches, batch_size=None, sampler=EpochSampler(len(batches)))

    def val_dataloader(self) -> list[DataLoader[Evaluation]]:  # noqa: D102
        model = self._model()
        targets = self.split.validation
        chosen = np.arange(len(targets.users))
        if self.validation_users is not None and len(chosen) > self.validation_users:
            chosen = np.sort(np.random.default_rng(self.seed).choice(chosen, self.validation_users, replace=False))
        histories = self.split.history("validation")
        return [
            DataLoader(
                EvaluationBatches(
                    task,
                    seen_templates(task)[0].id,
                    targets.users[chosen],
                    targets.items[chosen],
                    histories,
                    model.builder,
                    batch_size=256,
                    with_user=model.user_tokens != "none",
                ),
                batch_size=None,
            )
            for task in self.tasks
        ]
