"""Fusion: one list from the item head, the generation head and the transition prior.

    p(i | user) = w_item p_item(i) + w_generation p_generation(i) + w_prior p_prior(i)

A mixture of distributions, its weights chosen on validation users by NDCG@10 and stored with the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metatoken.artifacts import atomic_file, read_json, write_json
from metatoken.errors import ArtifactError
from metatoken.model.heads.ranking import target_ranks

STEPS = 10  # the grid has multiples of 1 / STEPS


@dataclass(frozen=True)
class Fusion:
    """Weights of the mixture; they sum to 1.

    Attributes:
        item: Of the item head.
        generation: Of the generation head.
        prior: Of the transition prior.
        users: Validation users that they were chosen on; 0 for the default.
    """

    item: float = 0.5
    generation: float = 0.0
    prior: float = 0.5
    users: int = 0

    def mix(self, item: Tensor, generation: Tensor, prior: Tensor) -> Tensor:
        """The mixture of three distributions, each float `[B, n_items]`."""
        return self.item * item + self.generation * generation + self.prior * prior

    def save(self, path: str | Path) -> None:
        """Writes a JSON file."""
        with atomic_file(path) as work:
            write_json(work, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Fusion:
        """Reads a JSON file.

        Raises:
            ArtifactError: It is missing or not what `save` writes.
        """
        values = read_json(Path(path))
        try:
            fusion = cls(**values)
            sound = math.isclose(fusion.item + fusion.generation + fusion.prior, 1.0, abs_tol=1e-6)
        except TypeError:
            sound = False
        if not sound:
            raise ArtifactError(f"{path}: expected fusion weights that sum to 1")
        return fusion


Candidates = tuple[Tensor, Tensor, Tensor, Tensor, list[np.ndarray]]
"""item, generation and prior distributions `[B, n_items]`, targets `[B]`, seen item rows of each user."""


def choose(batches: Iterable[Candidates]) -> Fusion:
    """The weights with the best NDCG@10 over all batches; among equals the one that leans on the item head most.

    Args:
        batches: Validation users.
    """
    grid = [
        (i / STEPS, g / STEPS, (STEPS - i - g) / STEPS)
        for i, g in product(range(STEPS, -1, -1), range(STEPS + 1))
        if i + g <= STEPS
    ]
    gain = np.zeros(len(grid))
    users = 0
    for item, generation, prior, targets, seen in batches:
        users += len(targets)
        for n, weights in enumerate(grid):
            ranks = target_ranks(Fusion(*weights).mix(item, generation, prior), targets, seen)
            gain[n] += float(torch.where(ranks <= 10, 1.0 / torch.log2(ranks + 1.0), 0.0).sum())
    return Fusion(*grid[int(gain.argmax())], users=users) if users else Fusion()
