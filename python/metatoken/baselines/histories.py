"""Histories as SASRec reads them: tables of their last items, and the steps of an epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from metatoken.data.ragged import Sequences

NOTHING = -1  # behind the end of a row
POOL = 50  # steps that are shuffled together before histories of like length are put side by side


def last_items(history: Sequences, users: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The last items of histories.

    Args:
        history: Item rows of all users.
        users: int64 `[b]`, rows of `history`.
        most: Items of a history at most.

    Returns:
        int64 `[b, length]` item rows, oldest first, -1 behind the end; at least one column.
    """
    lengths = np.minimum(history.lengths[users], most)[:, None]
    place = np.arange(max(1, lengths.max(initial=0)))
    real = place < lengths
    table = np.full(real.shape, NOTHING, dtype=np.int64)
    table[real] = history.items[(history.offsets[users + 1][:, None] - lengths + place)[real]]
    return table


class Steps:
    """The steps of every epoch: users with histories of like length, each with as many targets as its items have next.

    An epoch is a function of the seed and its number. Steps hold about equally many users.

    Args:
        history: Training items of all users; those with fewer than two have nothing to predict.
        batch_size: Users in a step.
        max_history: Items that are read at most.
        seed: Seed of every draw.

    Attributes:
        count: Steps in an epoch.
        targets: Mean number of targets in a step.
    """

    def __init__(self, history: Sequences, *, batch_size: int, max_history: int, seed: int) -> None:
        self.history, self.batch_size, self.most, self.seed = history, batch_size, max_history + 1, seed
        self.users = np.flatnonzero(history.lengths >= 2)
        self._lengths = np.minimum(history.lengths[self.users], self.most) - 1
        self.count = math.ceil(len(self.users) / batch_size)
        self.targets = float(self._lengths.sum() / max(1, self.count))

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Items that are read and the next ones, -1 behind the end, each int64 `[b, length]`."""
        rng = np.random.default_rng([self.seed, number])
        order, pool = rng.permutation(len(self.users)), self.batch_size * POOL
        pools = [order[at : at + pool] for at in range(0, len(order), pool)]
        # An empty log has no pool.
        sorted_pools = [one[np.argsort(self._lengths[one], kind="stable")] for one in pools]
        batches = np.array_split(np.concatenate(sorted_pools), self.count) if pools else []
        for step in rng.permutation(self.count):
            table = torch.from_numpy(last_items(self.history, self.users[batches[step]], self.most))
            yield table[:, :-1], table[:, 1:]
