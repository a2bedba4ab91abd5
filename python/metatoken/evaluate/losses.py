"""Losses of the held-out items: how surprised a model is by the item that comes, and by the words of its title.

Ranking metrics say where an item stands; a loss also moves when it does not. Both are read from one pass: the held-out
item stands behind its history as in training, its title behind its tokens, and nothing else is supervised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.tasks.examples import collate
from metatoken.tasks.prompts import TASKS, seen_templates

if TYPE_CHECKING:
    from metatoken.data import Split
    from metatoken.evaluate.runner import Part
    from metatoken.model.module import MetaTokenModule


@torch.no_grad()
def held_out_losses(
    module: MetaTokenModule, split: Split, part: Part = "validation", *, batch_size: int = 32
) -> dict[str, float]:
    """Mean negative log-likelihoods (nats) of the held-out items of the task `sequential`, without user tokens.

    Args:
        module: The model; it is put into evaluation mode.
        split: Of the log, in the rows of the model's vocabulary.
        part: Which targets.
        batch_size: Prompts in a batch.

    Returns:
        `item` of the item head, `generation` summed over an item's tokens, each a mean over users; with titles also
        `text`, a mean over the tokens of the held-out items' titles.
    """
    module.eval()
    builder, template = module.builder, seen_templates("sequential")[0]
    targets, history = split.targets(part), split.history(part)
    order = np.argsort(history.lengths[targets.users], kind="stable")
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for begin in range(0, len(order), batch_size):
        examples = []
        for row in order[begin : begin + batch_size]:
            seen, target = history[targets.users[row]][-builder.max_history :], int(targets.items[row])
            if builder.encoder.encoder_decoder:
                examples.append(builder.prompt(template, None, seen, target))
            else:
                examples.append(builder.causal(template, None, np.append(seen, target), len(seen)))
        batch = collate(examples, [TASKS.index("sequential")] * len(examples), builder.encoder.pad_id)
        scores = module.network(batch, shared=False)
        found = {
            "item": (float(-scores.item.mean()), len(examples)),
            "generation": (float(-torch.stack(scores.tokens).sum(0).mean()), len(examples)),
        }
        if scores.text is not None:
            found["text"] = float(scores.text), len(batch.text_ids)
        for name, (mean, count) in found.items():
            sums[name] = sums.get(name, 0.0) + mean * count
            counts[name] = counts.get(name, 0) + count
    return {name: sums[name] / counts[name] for name in sums}
