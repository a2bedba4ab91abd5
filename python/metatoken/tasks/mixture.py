"""Training batches of all tasks, mixed.

A batch is a pure function of (seed, epoch, number), so a run can be resumed or repeated exactly. Prompts, direct
targets and user prefixes are drawn afresh every epoch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from metatoken.data.ragged import offsets_of
from metatoken.errors import ArgumentError
from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.examples import Example
from metatoken.tasks.ranking import RANKING
from metatoken.tasks.rewording import reworded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.tasks.label_walks import LabelWalks
    from metatoken.tasks.task import Task
    from metatoken.tasks.user_tokens import UserTokens

POOL = 50  # batches that are shuffled together before rows of like length are put side by side


class TaskRows(Protocol):
    """Training rows of one task, of whatever kind."""

    task: Task

    def __len__(self) -> int: ...

    def sizes(self) -> np.ndarray:
        """About how long each row is, in the same unit for all tasks that are mixed, int64 `[n]`."""

    def supervised(self) -> np.ndarray:
        """What each row is expected to supervise in the epoch, float64 `[n, 4]`, see `Batch.normaliser`."""

    def newest(self) -> np.ndarray:
        """Row of the training log that the newest interaction of each row is, int64 `[n]`."""

    def example(self, row: int, rng: np.random.Generator) -> Example:
        """The example of a row; `rng` draws what is free."""


class TrainingBatches(Dataset[Batch]):
    """Batches by (epoch, number).

    A step of the optimizer reads `batch_size` rows, in `parts` batches of every `parts`-th row. All draws are made for
    the step, so the number of parts changes nothing about it. Steps hold about equally many rows, but not equally many
    targets, since rows of like length stand together. Their sums are all divided by the epoch's mean number of targets
    a step: by its own number, a target of a short history would weigh more than one of a long history.

    Args:
        tables: Rows of every task.
        wanted: Rows of each table per epoch, drawn afresh where they are not all.
        tokens: User tokens, drawn anew for every epoch.
        batch_size: Rows in a step.
        seed: Seed of every draw.
        pad_id: Fills short rows.
        parts: Batches in a step.
        walks: Draws labels beside the targets of a step; None for none.
        walk_share: Part of each target's weight that goes to its label.
        steps: Steps of an epoch, where other rows than these are in them, too (`tasks/sharded_datamodule`); by default
            so many that each has `batch_size` rows at most.
        rewording: Chance that words of a template are others in a step, and how many token ids are text.

    Raises:
        ArgumentError: A step would have fewer rows than parts.
    """

    def __init__(
        self,
        tables: Sequence[TaskRows],
        wanted: Sequence[int],
        tokens: UserTokens,
        *,
        batch_size: int,
        seed: int | tuple[int, ...],
        pad_id: int,
        parts: int = 1,
        walks: LabelWalks | None = None,
        walk_share: float = 0.0,
        steps: int | None = None,
        rewording: tuple[float, int] = (0.0, 0),
    ) -> None:
        self.tables, self.wanted, self.tokens = tuple(tables), tuple(wanted), tokens
        self.batch_size, self.pad_id, self.parts = batch_size, pad_id, parts
        self.seeds = seed if isinstance(seed, tuple) else (seed,)
        self.walks, self.walk_share = walks, torch.tensor(walk_share)
        self.rewording = rewording
        self.steps = steps or math.ceil(sum(self.wanted) / batch_size)
        if steps is None and sum(self.wanted) // self.steps < parts:
            step = f"a step of {sum(self.wanted) // self.steps} rows"
            said = f"{step} cannot be cut into {parts} parts (processes x accumulated batches)"
            raise ArgumentError("batch_size", said)
        # Rows are numbered through all tables.
        self._first = offsets_of(np.array([len(table) for table in self.tables]))
        self._sizes = np.concatenate([table.sizes() for table in self.tables])
        self._epoch = -1
        self._drawn: tuple[tuple[int, int], list[Example]] = ((-1, -1), [])
        self._plan: list[np.ndarray] = []
        self._normaliser = torch.zeros(4)

    def __len__(self) -> int:
        """Batches per epoch, over all parts."""
        return self.steps * self.parts

    def __getitem__(self, key: tuple[int, int] | int) -> Batch:
        """Batch `number` of `epoch` (0 where only a number is given): part `number % parts` of a step."""
        epoch, number = key if isinstance(key, tuple) else (0, key)
        step, part = divmod(number, self.parts)
        batch = collate(self.examples(epoch, step)[part :: self.parts], self.pad_id)
        # The loss of a step is the mean of its parts' losses.
        batch.normaliser = self._normaliser / self.parts
        batch.label_share = None if batch.labels is None else self.walk_share
        return batch

    def examples(self, epoch: int, step: int) -> list[Example]:
        """The examples of a step."""
        plan = self.plan(epoch)
        if self._drawn[0] != (epoch, step):
            rng = np.random.default_rng([*self.seeds, epoch, 1 + step])
            examples = [self.tables[table].example(row, rng) for table, row in plan[step].tolist()]
            if self.walks is not None:
                examples = labeled(examples, self.walks, rng)
            if self.rewording[0] > 0:
                examples = reworded(examples, *self.rewording, rng)
            self._drawn = (epoch, step), examples
        return self._drawn[1]

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The examples of every step of an epoch: int64 `[rows, 2]`, number of the table and row of it."""
        if epoch != self._epoch:
            self._plan, self._epoch = self._begin(epoch), epoch
        return self._plan

    def _begin(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([*self.seeds, epoch, 0])
        self.tokens.begin(rng, epoch)
        ranges = [np.arange(begin, end) for begin, end in zip(self._first[:-1], self._first[1:], strict=True)]
        order = rng.permutation(
            np.concatenate([draw(rows, wanted, rng) for rows, wanted in zip(ranges, self.wanted, strict=True)])
        )
        pool = self.batch_size * POOL
        pools = (order[at : at + pool] for at in range(0, len(order), pool))
        flat = np.concatenate([part[np.argsort(self._sizes[part], kind="stable")] for part in pools])
        supervised = np.concatenate([table.supervised() for table in self.tables])
        self._normaliser = torch.from_numpy(supervised[flat].sum(axis=0) / self.steps).float()
        table = np.searchsorted(self._first, flat, side="right") - 1
        batches = np.array_split(np.stack([table, flat - self._first[table]], axis=1), self.steps)
        return [batches[step] for step in rng.permutation(self.steps)]


def labeled(examples: list[Example], walks: LabelWalks, rng: np.random.Generator) -> list[Example]:
    """The examples of a step with labels beside their targets."""
    counts = [len(example.targets) for example in examples]
    first = np.repeat([example.place for example in examples], counts)
    ahead = np.arange(sum(counts)) - np.repeat(offsets_of(np.array(counts))[:-1], counts)
    labels = walks.draw(np.where(first >= 0, first + ahead, -1), rng)
    own = np.split(labels, np.cumsum(counts)[:-1])
    return [example._replace(labels=some) for example, some in zip(examples, own, strict=True)]


def rows_per_task(
    counts: Mapping[str, int], shares: Mapping[str, float] | None = None, temperature: float = 1.0
) -> dict[str, int]:
    """Rows of each task per epoch.

    With `n_t` rows and share `s_t`, task t gets the part `(s_t n_t)^(1/T) / sum_u (s_u n_u)^(1/T)` of
    `sum_u s_u n_u` rows. `T = 1` gives `s_t n_t`; a larger temperature brings the tasks nearer to equal parts (Raffel
    et al. 2020, section 3.5.2).

    Args:
        counts: Rows that there are, by task.
        shares: Weights by task, 1 where left out; below 1 an epoch sees a part of the rows, above 1 some of them twice.
        temperature: At least 1.

    Returns:
        At least one row for every task that has rows.

    Raises:
        ArgumentError: A share is not above 0 or of an unknown task, or the temperature is below 1.
    """
    shares = dict(shares or {})
    if unknown := set(shares) - set(counts):
        raise ArgumentError("shares", f"{', '.join(sorted(unknown))} is no task of the run: {', '.join(counts)}")
    if any(not np.isfinite(share) or share <= 0 for share in shares.values()):
        raise ArgumentError("shares", f"expected numbers above 0, got {shares}")
    if not temperature >= 1:
        raise ArgumentError("temperature", f"expected at least 1, got {temperature}")
    wanted = {task: shares.get(task, 1.0) * n for task, n in counts.items()}
    total = sum(wanted.values())
    powers = {task: n ** (1 / temperature) if n else 0.0 for task, n in wanted.items()}
    whole = sum(powers.values())
    return {task: max(1, round(total * powers[task] / whole)) if counts[task] else 0 for task in counts}


def rows_of_ranking(counts: Mapping[str, int], direct_share: float) -> dict[str, int]:
    """Rows of each task that ranks in an epoch: all, but a share of the users for tasks without a history.

    A user has one such row but many sequential targets, so a small share keeps the tasks in balance; where no other
    task ranks, every user has a row.
    """
    alone = not any(RANKING[task].reads_history for task in counts)
    return {
        task: n if alone or RANKING[task].reads_history else math.ceil(direct_share * n) for task, n in counts.items()
    }


def draw(rows: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """int64 `[wanted]` of the rows `[n]`: all as often as they fit, and a part of them drawn without repeats."""
    whole, rest = divmod(wanted, len(rows))
    # Nothing is drawn where `wanted` is a multiple of n.
    return np.concatenate([rows[:0], *[rows] * whole, *([rng.choice(rows, rest, replace=False)] if rest else [])])
