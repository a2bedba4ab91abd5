"""Training on histories in shards, of which each process reads its own: `ShardedDataModule`.

A step of the optimizer has rows of every shard, drawn for the step and the shard alone. A process makes those of its
shards, and gradients are averaged over processes as ever, so one process that reads all shards and several that read
some each learn the same.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from metatoken.bounds import check_integer
from metatoken.config import expect
from metatoken.data.history_shards import HistoryShard, HistoryShards, sum_of
from metatoken.errors import ArgumentError
from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.mixture import TrainingBatches
from metatoken.tasks.ranking import EvaluationBatches, SequentialRows
from metatoken.tasks.sampling import EvaluationSampler, ResumableLoader, StepSampler, place_of
from metatoken.tasks.task import find_task
from metatoken.tasks.user_tokens import UserTokens
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from metatoken.data.ragged import Sequences
    from metatoken.tasks.reader import Reader

VALIDATION_BATCH = 256  # prompts


class ShardedDataModule(L.LightningDataModule):
    """Batches of the sequential task from a folder of `write_histories`.

    Process `r` of `n` opens the shards `r`, `r + n`, ... and no other. The model must read without user tokens
    (`user_tokens="none"`, `tasks=("sequential",)`), which are made of all histories.

    Args:
        folder: The histories.
        vocabulary: Of the same items.
        batch_size: Rows in a step of the optimizer, over all processes and accumulated batches.
        seed: Seed of every draw.

    Raises:
        ArgumentError: The vocabulary has other items, or an integer is out of its range.
        ArtifactError: The folder is none of histories.
    """

    def __init__(self, folder: str | Path, vocabulary: Vocabulary, *, batch_size: int = 256, seed: int = 0) -> None:
        super().__init__()
        expect("vocabulary", vocabulary, Vocabulary)
        self.histories, self.vocabulary = HistoryShards.load(folder), vocabulary
        self.batch_size, self.seed = batch_size, seed
        check_integer("batch_size", batch_size)
        check_integer("seed", seed, 0)
        if sum_of(vocabulary.items) != self.histories.item_ids:
            raise ArgumentError("vocabulary", f"expected the items of {folder}, in their order")
        self._read: dict[int, HistoryShard] = {}
        self._reader: Reader | None = None
        self._loader: ResumableLoader | None = None
        self._place_to_load: dict[str, Any] | None = None

    def own_shards(self, rank: int, ranks: int) -> dict[int, HistoryShard]:
        """The shards of a process, by number; read when they are first asked for.

        Raises:
            ArgumentError: There are fewer shards than processes.
        """
        if self.histories.shards < ranks:
            said = f"{self.histories.folder} has {self.histories.shards} shards, fewer than {ranks} processes"
            raise ArgumentError("folder", f"{said}; write the histories in more shards")
        own = range(rank, self.histories.shards, ranks)
        self._read = {shard: self._read.get(shard) or self.histories.read(shard) for shard in own}
        return self._read

    def _connected(self) -> tuple[Any, Reader]:
        """The trainer, and how its model reads."""
        if self.trainer is None:
            raise RuntimeError("ShardedDataModule needs a Trainer: call Trainer.fit(model, data)")
        trainer: Any = self.trainer
        reader: Reader = trainer.lightning_module.reader
        if reader.user_tokens != "none":
            said = f"histories in shards are read without user tokens, got {reader.user_tokens!r}; use 'none'"
            raise ArgumentError("user_tokens", said)
        return trainer, reader

    def train_dataloader(self) -> DataLoader[Batch]:  # noqa: D102
        trainer, reader = self._connected()
        ranks, accumulate = trainer.world_size, trainer.accumulate_grad_batches
        shards = self.own_shards(trainer.global_rank, ranks)
        rows = {number: self._rows(shard, reader) for number, shard in shards.items()}
        own = np.sum([[len(table), *table.supervised().sum(axis=0)] for table in rows.values()], axis=0)
        # What a step is divided by counts the rows of all processes, which no process has.
        total = trainer.strategy.reduce(torch.tensor(own, dtype=torch.float64), reduce_op="sum").tolist()
        steps = max(1, math.ceil(total[0] / self.batch_size))
        tables = [self._batches(number, table, reader, steps) for number, table in rows.items() if len(table)]
        normaliser = torch.tensor(total[1:]).float() / steps
        batches = ShardBatches(tables, normaliser, steps, ranks, accumulate, reader.builder.encoder.pad_id)
        plan = {
            "rows": int(total[0]), "batch_size": self.batch_size, "seed": self.seed, "shards": self.histories.shards,
            "devices": ranks, "accumulate_grad_batches": accumulate,
        } | ({"reworded": reader.reworded} if reader.reworded else {})  # fmt: skip
        sampler = StepSampler(steps, accumulate=accumulate, ranks=ranks, rank=trainer.global_rank)
        self._loader = ResumableLoader(batches, sampler, plan, lambda: place_of(trainer))
        if self._place_to_load is not None:
            self._loader.load_state_dict(self._place_to_load)
            self._place_to_load = None
        return self._loader

    def _rows(self, shard: HistoryShard, reader: Reader) -> SequentialRows:
        tokens = UserTokens("none", shard.histories, self.vocabulary, reader.builder.encoder, needed=False)
        return SequentialRows(find_task("sequential"), shard.histories, reader.builder, tokens)

    def _batches(self, number: int, rows: SequentialRows, reader: Reader, steps: int) -> TrainingBatches:
        return TrainingBatches(
            [rows], [len(rows)], rows.tokens, batch_size=self.batch_size, seed=(self.seed, number), steps=steps,
            pad_id=reader.builder.encoder.pad_id, rewording=(reader.reworded, reader.builder.encoder.base),
        )  # fmt: skip

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Held-out items of the users of this process's shards."""
        trainer, reader = self._connected()
        shards = self.own_shards(trainer.global_rank, trainer.world_size).values()
        histories = _joined([shard.histories for shard in shards])
        held = _joined([shard.held_out for shard in shards])
        task = find_task("sequential")
        data = EvaluationBatches(
            reader, task.templates[0], held.owners, held.items, histories, batch_size=VALIDATION_BATCH
        )
        return [DataLoader(data, batch_size=None, sampler=EvaluationSampler(len(data)))]

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, for a checkpoint."""
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from that place, see `TaskDataModule.load_state_dict`."""
        self._place_to_load = state_dict


class ShardBatches(Dataset[Batch]):
    """Batches of one process by (epoch, number), as `StepSampler` numbers them over all processes.

    Args:
        shards: Those of the process; each has the same number of steps.
        normaliser: float32 `[4]`, of a step over all processes, see `Batch.normaliser`.
        steps: Steps of an epoch.
        ranks: Processes.
        accumulate: Batches of a step that a process reads.
        pad_id: Fills short rows.

    Raises:
        ArgumentError: A step may have no row for one of the batches.
    """

    def __init__(
        self,
        shards: list[TrainingBatches],
        normaliser: torch.Tensor,
        steps: int,
        ranks: int,
        accumulate: int,
        pad_id: int,
    ) -> None:
        self.shards, self.normaliser, self.steps, self.pad_id = shards, normaliser, steps, pad_id
        self.ranks, self.accumulate = ranks, accumulate
        least = sum(sum(shard.wanted) // steps for shard in shards)
        if least < accumulate:
            said = (
                f"a step of it has as few as {least} rows of the shards of a process, which reads {accumulate} batches"
            )
            raise ArgumentError("batch_size", f"{said}; give a larger one, or write fewer shards")

    def __len__(self) -> int:
        """Batches per epoch, over all processes."""
        return self.steps * self.accumulate * self.ranks

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Batch `number` of `epoch`."""
        epoch, number = key
        step, part = divmod(number // self.ranks, self.accumulate)
        examples = [one for shard in self.shards for one in shard.examples(epoch, step)]
        batch = collate(examples[part :: self.accumulate], self.pad_id)
        # The loss of a step is the mean of its parts' losses.
        batch.normaliser = self.normaliser / (self.ranks * self.accumulate)
        return batch


def _joined(parts: list[Sequences]) -> Sequences:
    """Rows of several shards, one behind the other."""
    return type(parts[0]).of([row for part in parts for row in part])
