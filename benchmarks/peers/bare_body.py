"""What a training step costs beside the bare body of its backbone; a part of `benchmarks/training.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from metatoken.model.heads.item_scores import ItemScores
from metatoken.model.module import MetaTokenModule
from metatoken.model.objective import loss_parts
from metatoken.tasks.batch import Batch


def best_of(repeat: int, clock: Callable[[], float], *works: Callable[[], Any]) -> list[float]:
    """Best seconds of each, run in turns."""
    seconds = [float("inf")] * len(works)
    for _ in range(repeat + 1):
        for place, work in enumerate(works):
            begin = clock()
            work()
            seconds[place] = min(seconds[place], clock() - begin)
    return seconds


def overhead(module: MetaTokenModule, batch: Batch, repeat: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of forward and backward, of everything and of its parts, on one batch."""
    network = module.train().network
    bare: Any = network.backbone.bare()
    mask = network.passage(batch, network.items()).whole_mask  # the body reads the words of every row
    width = (*mask.shape, network.backbone.dim)
    vectors, slope = torch.randn(width), torch.randn(width)

    def body() -> None:
        module.zero_grad()
        inputs = vectors.requires_grad_()
        out = bare.base_model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        out.backward(slope)

    def ours() -> None:
        module.zero_grad()
        loss_parts(network(batch), module.settings.weights)["loss"].backward()

    states = F.normalize(torch.randn(len(batch.targets), network.backbone.dim), dim=1)

    def catalogue() -> None:
        module.zero_grad()
        leaf = network.index.leaf_of[batch.targets]
        logits = network.item_head(states.requires_grad_(), network.items())
        F.cross_entropy(logits, leaf).backward()

    def catalogue_in_one() -> None:
        module.zero_grad()
        leaf = network.index.leaf_of[batch.targets]
        unit = F.normalize(network.items(), dim=-1) / network.item_head.temperature
        own, total, _ = ItemScores.apply(states.requires_grad_(), unit, leaf, leaf, leaf + 1)
        (total - own).mean().backward()

    bare_s, ours_s, plain_s, head_s = best_of(repeat, clock, body, ours, catalogue, catalogue_in_one)
    return {
        "positions": mask.numel(), "targets": len(batch.targets), "bare_body_s": round(bare_s, 4),
        "step_s": round(ours_s, 4), "item_head_s": round(head_s, 4), "item_head_plain_s": round(plain_s, 4),
        "overhead_item_head_aside": round((ours_s - head_s) / bare_s - 1, 3),
    }  # fmt: skip
