"""Scores of all items for a batch of prompts, and the rank of the held-out one among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metatoken.data.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.model.network import Network
    from metatoken.model.prefix import Prefix
    from metatoken.tasks.batch import Batch


@torch.no_grad()
def item_scores(network: Network, batch: Batch, prefix: Prefix | None = None) -> Tensor:
    """Log-probabilities of the item head, float `[B, n_items]` in item-row order.

    `prefix` is the result of `network.start(batch)`, if the prompts were read already.
    """
    state = (network.start(batch) if prefix is None else prefix).last
    # The vectors have unit length already.
    queries, vectors = network.bridge.queries(state) / network.item_head.temperature, network.leaf_vectors()
    # Whichever is less goes from leaf order to item-row order: the vectors or the scores.
    few = len(queries) < vectors.shape[1]
    logits = queries @ (vectors if few else vectors[network.index.leaf_of]).T
    scores = torch.log_softmax(logits, dim=1)
    return scores[:, network.index.leaf_of] if few else scores


def target_ranks(scores: Tensor, targets: Tensor, seen: Sequence[np.ndarray]) -> Tensor:
    """Rank from 1 of each target among the unseen items, int64 `[B]`; one that was seen, or has a NaN, is behind all.

    Args:
        scores: float `[B, n_items]`.
        targets: int64 `[B]` item rows.
        seen: Item rows to leave out, one array per row.
    """
    out, scores = Ragged.of(seen), scores.clone()
    scores[torch.from_numpy(out.owners), torch.from_numpy(out.values)] = -torch.inf
    own = scores.gather(1, targets[:, None])
    # Ties go to the lower item row, as in every ranking of this package.
    before = torch.arange(scores.shape[1], device=scores.device)[None, :] < targets[:, None]
    ranks = 1 + (scores > own).sum(1) + ((scores == own) & before).sum(1)
    lost = own.isneginf() | own.isnan()
    return torch.where(lost.squeeze(1), scores.shape[1] + 1, ranks)
