"""What the baselines are chosen by: NDCG@10 on the validation items, seen items removed, over the full catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.data.split import Targets
from metatoken.errors import ArgumentError, DivergedError
from metatoken.model.heads.ranking import target_ranks

if TYPE_CHECKING:
    from metatoken.data.split import Split
    from metatoken.predict.ranker import Ranker

K = 10
BLOCK = 512  # users that are scored at once


class Judge:
    """Scores rankers on the validation items of the same users.

    Args:
        split: The log, split.
        limit: Users at most, drawn once.
        seed: Seed of the draw.

    Attributes:
        targets: The validation items, users with histories of like length side by side.
        history: The earlier items of all users.

    Raises:
        ArgumentError: The split holds nothing out.
    """

    def __init__(self, split: Split, *, limit: int, seed: int = 0) -> None:
        targets, _ = split.by_length("validation")
        if len(targets) == 0:
            raise ArgumentError("split", "holds nothing out to choose on; take leave_last_out of a longer log")
        kept = np.arange(len(targets))
        if len(kept) > limit:
            kept = np.sort(np.random.default_rng(seed).choice(kept, limit, replace=False))
        self.targets = Targets(targets.users[kept], targets.items[kept])
        self.history = split.history("validation")

    def ndcg(self, ranker: Ranker) -> float:
        """Mean NDCG@10; `DivergedError` if a score is no number."""
        gain = 0.0
        for at in range(0, len(self.targets), BLOCK):
            users, items = (part[at : at + BLOCK] for part in (self.targets.users, self.targets.items))
            scores = torch.from_numpy(ranker.scores(self.history, users))
            if not scores.isfinite().all():
                said = f"{type(ranker).__name__} has scores that are no numbers, so it has diverged"
                raise DivergedError(f"{said}; give less extreme settings, such as a smaller learning rate")
            ranks = target_ranks(scores, torch.from_numpy(items).long(), list(self.history.take(users)))
            gain += float(torch.where(ranks <= K, 1.0 / torch.log2(ranks + 1.0), 0.0).sum())
        return gain / len(self.targets)
