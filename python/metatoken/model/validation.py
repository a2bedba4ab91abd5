"""What is measured on held-out batches after an epoch, by kind of task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from metatoken.errors import REMEDY, DivergedError
from metatoken.model.heads.ranking import item_scores, target_ranks
from metatoken.model.objective import loss_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from metatoken.model.network import Network
    from metatoken.model.settings import Weights
    from metatoken.tasks.batch import Batch
    from metatoken.tasks.ranking import Evaluation
    from metatoken.tasks.task import Kind

K = 10


@dataclass(frozen=True)
class Measured:
    """What was measured on a batch.

    Attributes:
        values: Means by name.
        size: How many rows they are means over.
        scores: Log-probabilities of the item head, float `[B, n_items]`, where items were ranked.
    """

    values: dict[str, Tensor]
    size: int
    scores: Tensor | None = None


def ranked(network: Network, batch: Evaluation, _weights: Weights) -> Measured:
    """Hit rate and NDCG of the item head."""
    scores = item_scores(network, batch.batch)
    if not torch.isfinite(scores[:, 0]).all():  # one NaN in a softmax makes the whole row NaN
        raise DivergedError(f"training diverged: the item head's scores are no numbers; {REMEDY}")
    ranks = target_ranks(scores, batch.targets, batch.seen)
    hit = (ranks <= K).float()
    values = {f"hr@{K}": hit.mean(), f"ndcg@{K}": (hit / torch.log2(ranks + 1.0)).mean()}
    return Measured(values, len(ranks), scores)


def rated(network: Network, batch: Batch, weights: Weights) -> Measured:
    """Squared error of the rating head, in spreads."""
    return Measured({"loss": loss_parts(network(batch), weights)["rating"]}, len(batch.ratings))


def written(network: Network, batch: Batch, weights: Weights) -> Measured:
    """Cross-entropy of the answers' tokens."""
    return Measured({"loss": loss_parts(network(batch), weights)["text"]}, len(batch.text_ids))


VALIDATION: dict[Kind, Callable[[Network, Any, Weights], Measured]] = {"rank": ranked, "rate": rated, "write": written}
