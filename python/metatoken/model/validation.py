"""What is measured on held-out batches after an epoch, by kind of task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from metatoken.model.heads.ranking import item_scores, target_ranks
from metatoken.model.objective import loss_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from metatoken.model.network import Network
    from metatoken.model.settings import Weights
    from metatoken.tasks.examples import Batch
    from metatoken.tasks.ranking import Evaluation
    from metatoken.tasks.task import Kind

K = 10
Measured = tuple[dict[str, "Tensor"], int]
"""Values by name, and how many rows they are means over."""


def ranked(network: Network, batch: Evaluation, _weights: Weights) -> Measured:
    """Hit rate and NDCG of the item head."""
    ranks = target_ranks(item_scores(network, batch.batch), batch.targets, batch.seen)
    hit = (ranks <= K).float()
    return {f"hr@{K}": hit.mean(), f"ndcg@{K}": (hit / torch.log2(ranks + 1.0)).mean()}, len(ranks)


def rated(network: Network, batch: Batch, weights: Weights) -> Measured:
    """Squared error of the rating head, in spreads."""
    return {"loss": loss_parts(network(batch), weights)["rating"]}, len(batch.ratings)


def written(network: Network, batch: Batch, weights: Weights) -> Measured:
    """Cross-entropy of the answers' tokens."""
    return {"loss": loss_parts(network(batch), weights)["text"]}, len(batch.text_ids)


VALIDATION: dict[Kind, Callable[[Network, Any, Weights], Measured]] = {"rank": ranked, "rate": rated, "write": written}
