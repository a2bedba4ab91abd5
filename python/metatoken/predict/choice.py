"""How much of either of two opinions makes the best lists: `(1 - w) first + w second` for w on a grid, by NDCG@10."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metatoken.data.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

STEPS = 20  # the grid has multiples of 1 / STEPS
K = 10  # the place in NDCG@10


class Choice:
    """The weight of the second of two opinions, chosen batch by batch.

    A user whom ten items precede under both opinions has no gain whatever the weights, and for the others only items
    that precede the target under one of them are looked at.

    Attributes:
        gain: Sum of NDCG@10 over users by weight of the second, float64 `[STEPS + 1]`.
        users: How many users.
    """

    def __init__(self) -> None:
        self.gain, self.users = torch.zeros(STEPS + 1, dtype=torch.float64), 0

    def add(self, first: Tensor, second: Tensor, targets: Tensor, seen: Sequence[np.ndarray]) -> None:
        """Adds a batch.

        Args:
            first: float `[B, n_items]`, scores.
            second: float `[B, n_items]`, scores.
            targets: int64 `[B]` item rows.
            seen: Seen item rows of each user.
        """
        self.users += len(targets)
        out = Ragged.of(seen)
        gone = torch.from_numpy(out.owners), torch.from_numpy(out.values)
        both = torch.stack([scores.index_put(gone, scores.new_tensor(-torch.inf)) for scores in (first, second)])
        own = both.gather(2, targets.expand(2, -1)[:, :, None])
        lost = own[0, :, 0].isneginf() | ((both > own).all(0).sum(1) >= K)
        rest = torch.nonzero(~lost)[:, 0]
        both, own, targets = both[:, rest], own[:, rest, 0], targets[rest]
        row, column = torch.nonzero((both >= own[:, :, None]).any(0), as_tuple=True)
        near, lower = both[:, row, column], column < targets[row]
        for n in range(STEPS + 1):
            mixed, target = (((STEPS - n) / STEPS) * one[0] + (n / STEPS) * one[1] for one in (near, own))
            ahead = (mixed > target[row]) | ((mixed == target[row]) & lower)
            ranks = 1 + torch.bincount(row[ahead], minlength=len(rest))
            self.gain[n] += float(torch.where(ranks <= K, 1.0 / torch.log2(ranks + 1.0), 0.0).sum())

    @property
    def weight(self) -> float:
        """The weight of the second with the best NDCG@10, among equals the least; 0 without users."""
        return int(self.gain.argmax()) / STEPS
