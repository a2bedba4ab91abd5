"""Training and validation data as Lightning wants them: `TaskDataModule`, and prompts of held-out items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from metatoken.errors import ArgumentError
from metatoken.tasks.batches import DIRECT, SEQUENTIAL, TrainingBatches, training_rows
from metatoken.tasks.examples import Batch, ExampleBuilder, collate
from metatoken.tasks.prompts import TASKS, find_template, seen_templates
from metatoken.tasks.sampling import EvaluationSampler, ResumableLoader, StepSampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data import Sequences, Split
    from metatoken.tokens.vocabulary import Vocabulary

__all__ = [
    "DIRECT", "SEQUENTIAL", "Evaluation", "EvaluationBatches", "TaskDataModule", "TrainingBatches", "training_rows",
]  # fmt: skip


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
        batch_size: Rows in a step of the optimiser, over all processes and accumulated batches.
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
        self._loader: ResumableLoader | None = None
        self._place_to_load: dict[str, Any] | None = None

    def _trainer(self) -> Any:
        if self.trainer is None:
            raise RuntimeError("TaskDataModule needs a Trainer: call Trainer.fit(model, data)")
        return self.trainer

    def _place(self) -> tuple[int, int]:
        """Epoch and batches of it that are done; counted by the trainer, since a loader may be ahead of it."""
        trainer = self._trainer()
        loop = trainer.fit_loop
        epoch, position = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current.ready
        over = epoch.processed == epoch.started or position >= trainer.num_training_batches
        return (epoch.started, 0) if over else (epoch.processed, position)

    def train_dataloader(self) -> DataLoader[Batch]:  # noqa: D102
        trainer = self._trainer()
        model = trainer.lightning_module
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
            parts=trainer.world_size * trainer.accumulate_grad_batches,
        )
        sampler = StepSampler(
            batches.steps,
            accumulate=trainer.accumulate_grad_batches,
            ranks=trainer.world_size,
            rank=trainer.global_rank,
        )
        plan = {
            "rows": len(rows), "batch_size": self.batch_size, "seed": self.seed, "direct_share": self.direct_share,
            "devices": trainer.world_size, "accumulate_grad_batches": trainer.accumulate_grad_batches,
        }  # fmt: skip
        self._loader = ResumableLoader(batches, sampler, plan, self._place)
        if self._place_to_load is not None:
            self._loader.load_state_dict(self._place_to_load)
            self._place_to_load = None
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, for a checkpoint."""
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from that place.

        Lightning hands it over before it asks for the loader. The loader's own state would come too late: a schedule
        that needs the length of the run makes Lightning set up the data before it restores its loops.
        """
        self._place_to_load = state_dict

    def val_dataloader(self) -> list[DataLoader[Evaluation]]:  # noqa: D102
        trainer = self._trainer()
        model = trainer.lightning_module
        targets = self.split.validation
        chosen = np.arange(len(targets.users))
        if self.validation_users is not None and len(chosen) > self.validation_users:
            chosen = np.sort(np.random.default_rng(self.seed).choice(chosen, self.validation_users, replace=False))
        if len(chosen) >= trainer.world_size:
            chosen = chosen[trainer.global_rank :: trainer.world_size]
        histories = self.split.history("validation")
        loaders = []
        for task in self.tasks:
            batches = EvaluationBatches(
                task,
                seen_templates(task)[0].id,
                targets.users[chosen],
                targets.items[chosen],
                histories,
                model.builder,
                batch_size=256,
                with_user=model.user_tokens != "none",
            )
            loaders.append(DataLoader(batches, batch_size=None, sampler=EvaluationSampler(len(batches))))
        return loaders
