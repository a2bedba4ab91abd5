"""The optimizer of a model, and its learning rate over a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from metatoken.model.settings import ModelSettings


def make_optimizer(parameters: Iterable[nn.Parameter], settings: ModelSettings, *, fused: bool) -> torch.optim.AdamW:
    """AdamW over the weights that train; only matrices decay."""
    if settings.learning_rate is None:
        raise AssertionError("a model's own settings leave nothing open")
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=fused)


def rate(settings: ModelSettings, step: int, total: float) -> float:
    """Share of the learning rate at a step, from 0: linear warm-up, then constant or half a cosine to zero.

    Where the total of steps is not known, infinite, every schedule is constant.
    """
    # A short run must not end within its warm-up.
    warm = min(1.0, (step + 1) / max(1.0, min(settings.warmup_steps, 0.1 * total)))
    if settings.schedule == "constant" or not math.isfinite(total):
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1.0, total))))
