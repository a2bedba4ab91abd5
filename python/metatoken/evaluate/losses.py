"""Losses of the held-out items: how surprised a model is by the item that comes, and by the words of its title.

Ranking metrics say where an item stands; a loss also moves when it does not. Both come from one pass: the held-out item
stands behind its history as in training, its title behind its tokens, and nothing else is supervised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.model.heads.columns import all_columns
from metatoken.model.heads.ranking import target_ranks
from metatoken.model.objective import target_scores
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from metatoken.data import Split
    from metatoken.data.split import Part
    from metatoken.model.model import MetaTokenModel
    from metatoken.tasks.batch import Batch


@torch.no_grad()
def held_out_losses(
    module: MetaTokenModel,
    split: Split,
    part: Part = "validation",
    *,
    batch_size: int = 32,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Losses (nats) and ranking of the held-out items of the task `sequential`, without user tokens.

    Args:
        module: The model; it is put into evaluation mode.
        split: The log, split, in the rows of the model's vocabulary.
        part: Which targets.
        batch_size: Prompts in a batch.
        limit: Targets at most, drawn once and for all; None takes every one.
        progress: Called with (prompts done, prompts in all).

    Returns:
        Negative log-likelihoods: `item` of the item head, `generation` summed over an item's tokens, each a mean over
        users; with titles also `text`, a mean over the tokens of the held-out items' titles. And `hr@10` and `ndcg@10`
        of the item head over the full catalogue, seen items removed.
    """
    module.eval()
    (targets, _), history = split.by_length(part), split.history(part)
    order = np.arange(len(targets))
    if limit is not None and limit < len(order):
        order = np.sort(np.random.default_rng(0).choice(len(order), limit, replace=False))
    sums, counts = dict.fromkeys(("item", "generation", "text", "hr@10", "ndcg@10"), 0.0), {"text": 0}
    for begin in range(0, len(order), batch_size):
        rows = order[begin : begin + batch_size]
        seen = [history[user] for user in targets.users[rows]]
        for name, (total, count) in _totals(module, _batch(module, seen, targets.items[rows]), seen).items():
            sums[name] += total
            counts[name] = counts.get(name, 0) + count
        if progress is not None:
            progress(begin + len(rows), len(order))
    return {name: total / counts[name] for name, total in sums.items() if counts.get(name)}


def _batch(module: MetaTokenModel, histories: list[np.ndarray], items: np.ndarray) -> Batch:
    builder, template = module.builder, find_task("sequential").templates[0]
    examples = []
    for history, target in zip(histories, items.tolist(), strict=True):
        if builder.encoder.encoder_decoder:
            examples.append(builder.prompt(template, None, history, target))
        else:
            seen = history[max(0, len(history) - builder.max_history) :]
            examples.append(builder.causal(template, None, np.append(seen, target), len(seen)))
    return collate(examples, builder.encoder.pad_id)


def _totals(module: MetaTokenModel, batch: Batch, seen: list[np.ndarray]) -> dict[str, tuple[float, int]]:
    """Sum and count of every number over a batch."""
    network, n = module.network, len(batch.targets)
    item_vectors = network.items()
    levels, text = network.read(batch, item_vectors)
    leaves = item_vectors[network.index.leaf_items]
    scores = target_scores(network, levels, batch, all_columns(network.index, batch.targets), leaves, shared=False)
    logits = network.item_head(network.bridge.queries(levels[0]), leaves)[:, network.index.leaf_of].float()
    ranks = target_ranks(logits, batch.targets, seen)
    hit = (ranks <= 10).float()
    found = {
        "item": (float(-scores.item.sum()), n),
        "generation": (float(-torch.stack(scores.tokens).sum()), n),
        "hr@10": (float(hit.sum()), n),
        "ndcg@10": (float((hit / torch.log2(ranks + 1.0)).sum()), n),
    }
    return found if text is None else found | {"text": (float(text) * len(batch.text_ids), len(batch.text_ids))}
