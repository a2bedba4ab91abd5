"""Scores of all items for a batch of prompts, and the rank of the held-out one among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.model.network import Network
    from metatoken.model.prefix import Prefix
    from metatoken.tasks.examples import Batch


@torch.no_grad()
def item_scores(network: Network, batch: Batch, prefix: Prefix | None = None) -> Tensor:
    """Log-probabilities of the item head, float `[B, n_items]` in item-row order.

    Args:
        network: In evaluation mode.
        batch: Prompts.
        prefix: What `network.start(batch)` returned, if prompts were read already.
    """
    state = (network.start(batch) if prefix is None else prefix).last
    # The vectors have unit length already.
    logits = state @ network.leaf_vectors().T / network.item_head.temperature
    return torch.log_softmax(logits, dim=1)[:, network.index.leaf_of]


def target_ranks(scores: Tensor, targets: Tensor, seen: Sequence[np.ndarray]) -> Tensor:
    """Rank from 1 of each target among the unseen items, int64 `[B]`; a seen target ranks behind all.

    Args:
        scores: float `[B, n_items]`.
        targets: int64 `[B]` item rows.
        seen: For each row the item rows to leave out.
    """
    rows = np.repeat(np.arange(len(seen)), [len(s) for s in seen])
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *seen]).astype(np.int64)
    scores = scores.clone()
    scores[torch.from_numpy(rows), torch.from_numpy(flat)] = -torch.inf
    own = scores.gather(1, targets[:, None])
    # Ties go to the lower item row, as in every ranking of this package.
    before = torch.arange(scores.shape[1], device=scores.device)[None, :] < targets[:, None]
    ranks = 1 + (scores > own).sum(1) + ((scores == own) & before).sum(1)
    return torch.where(own.squeeze(1).isneginf(), scores.shape[1] + 1, ranks)
