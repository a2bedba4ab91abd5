"""Fusion: one list from the item head, the generation head and the transition prior.

    p(i | user) = w_item p_item(i) + w_generation p_generation(i) + w_prior p_prior(i)

A mixture of distributions, its weights chosen on validation users by NDCG@10 and stored with the model.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metatoken.artifacts import atomic_file, read_json, write_json
from metatoken.data.ragged import Ragged
from metatoken.errors import ArtifactError, MetatokenWarning
from metatoken.model.heads.ranking import target_ranks
from metatoken.predict.ranker import WIDTH, Reading
from metatoken.predict.transitions import TransitionGraph
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from metatoken.data.split import Part, Split
    from metatoken.model.module import MetaTokenModule

STEPS = 10  # the grid has multiples of 1 / STEPS
LEAST = 1 / STEPS  # weight below which the model as good as does not count
K = 10  # the place in NDCG@10


@dataclass(frozen=True)
class Fusion:
    """Weights of the mixture; they sum to 1.

    Attributes:
        item: Weight of the item head.
        generation: Weight of the generation head.
        prior: Weight of the transition prior.
        users: Validation users that they were chosen on; 0 for the default.
    """

    item: float = 0.5
    generation: float = 0.0
    prior: float = 0.5
    users: int = 0

    def mix(self, item: Tensor, generation: Tensor, prior: Tensor) -> Tensor:
        """The mixture of three distributions, each float `[B, n_items]`."""
        return self.item * item + self.generation * generation + self.prior * prior

    @property
    def idle(self) -> bool:
        """Whether the model as good as does not count, so that fused lists are those of the prior."""
        return self.item + self.generation < LEAST - 1e-9

    def sentence(self) -> str:
        """The weights, for a person."""
        return f"{self.item:g} item head, {self.generation:g} generation, {self.prior:g} transitions"

    def warn(self) -> None:
        """Warns where the model as good as does not count: `MetatokenWarning`, with what to try."""
        if self.idle:
            weight = "no weight" if self.prior == 1 else f"a weight of {self.item + self.generation:g} in all"
            warnings.warn(
                f"the fusion gives the model {weight}, so what is served is the transition graph alone; try more "
                "epochs (trainer.max_epochs, trainer.patience), less dropout, or more data; the list item_head is the "
                "model's own",
                MetatokenWarning,
                stacklevel=3,
            )

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
        with suppress(TypeError):
            fusion = cls(**values)
            if math.isclose(fusion.item + fusion.generation + fusion.prior, 1.0, abs_tol=1e-6):
                return fusion
        raise ArtifactError(f"{path}: expected fusion weights that sum to 1")


Candidates = tuple[Tensor, Tensor, Tensor, Tensor, list[np.ndarray]]
"""item, generation and prior distributions `[B, n_items]`, targets `[B]`, seen item rows of each user."""


def choose(batches: Iterable[Candidates]) -> Fusion:
    """The weights with the best NDCG@10 over all batches; among equals the one that leans on the item head most."""
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
            gain[n] += float(torch.where(ranks <= K, 1.0 / torch.log2(ranks + 1.0), 0.0).sum())
    return Fusion(*grid[int(gain.argmax())], users=users) if users else Fusion()


class QuickChoice:
    """Weights of item head and prior alone, chosen batch by batch at a fraction of the cost of `choose`.

    For every epoch of a training: nothing is generated, a user whom ten items precede under both distributions has no
    gain whatever the weights, and for the others only items that precede the target under one of them are mixed.

    Attributes:
        gain: Sum of NDCG@10 over users by weight of the prior, float64 `[STEPS + 1]`.
        users: How many users.
    """

    def __init__(self) -> None:
        self.gain, self.users = torch.zeros(STEPS + 1, dtype=torch.float64), 0

    def add(self, item: Tensor, prior: Tensor, targets: Tensor, seen: Sequence[np.ndarray]) -> None:
        """Adds a batch; arguments as in `Candidates`."""
        self.users += len(targets)
        out = Ragged.of(seen)
        gone = torch.from_numpy(out.owners), torch.from_numpy(out.values)
        both = torch.stack([scores.index_put(gone, scores.new_tensor(-1.0)) for scores in (item, prior)])
        own = both.gather(2, targets.expand(2, -1)[:, :, None])
        lost = (own[0, :, 0] < 0) | ((both > own).all(0).sum(1) >= K)
        rest = torch.nonzero(~lost)[:, 0]
        both, own, targets = both[:, rest], own[:, rest, 0], targets[rest]
        row, column = torch.nonzero((both >= own[:, :, None]).any(0), as_tuple=True)
        near, lower = both[:, row, column], column < targets[row]
        for n in range(STEPS + 1):
            mixed, target = (((STEPS - n) / STEPS) * one[0] + (n / STEPS) * one[1] for one in (near, own))
            ahead = (mixed > target[row]) | ((mixed == target[row]) & lower)
            ranks = 1 + torch.bincount(row[ahead], minlength=len(rest))
            self.gain[n] += float(torch.where(ranks <= K, 1.0 / torch.log2(ranks + 1.0), 0.0).sum())


@torch.no_grad()
def choose_fusion(
    module: MetaTokenModule,
    split: Split,
    part: Part = "validation",
    *,
    limit: int = 5000,
    width: int = WIDTH,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Fusion:
    """Weights for a model from held-out items; needs the task sequential, without which the item head is alone.

    Args:
        module: The model; it is put into evaluation mode.
        split: The log, split.
        part: Which held-out items.
        limit: Users at most, drawn once.
        width: Beams at least.
        batch_size: Prompts in a batch.
        seed: Seed of the draw.
        progress: Called with (batches done, batches in all).
    """
    if "sequential" not in module.tasks:
        return Fusion(1.0, 0.0, 0.0)
    targets, _ = split.by_length(part)
    if len(targets) == 0:
        return Fusion()
    chosen = np.arange(len(targets))
    if len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    history, prior = split.history(part), TransitionGraph.fit(split.train)
    template = find_task("sequential").templates[0]
    users, items = targets.users[chosen], targets.items[chosen]
    data = EvaluationBatches(module.eval().reader, template, users, items, history, batch_size=batch_size)

    def candidates() -> Iterator[Candidates]:
        for done, one in enumerate(data, 1):
            reading = Reading(module.network, one.batch, one.seen, width=width)
            known = torch.from_numpy(prior.scores(history, one.users))
            yield reading.probabilities, reading.generated(), known, one.targets, one.seen
            if progress is not None:
                progress(done, len(data))

    return choose(candidates())
