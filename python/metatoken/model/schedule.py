"""The optimizer of a model, and its learning rate over a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from metatoken.model.embedding import TokenTable
from metatoken.model.heads.items import ItemVectors
from metatoken.model.row_adamw import RowAdamW

if TYPE_CHECKING:
    from metatoken.model.settings import ModelSettings


def make_optimizer(module: nn.Module, settings: ModelSettings, *, fused: bool, rows: bool = False) -> torch.optim.AdamW:
    """AdamW over the weights of a model that train; `decaying` says which of them decay.

    Args:
        module: The model.
        settings: Learning rate and weight decay.
        fused: As in `torch.optim.AdamW`.
        rows: Whether weights may have sparse gradients, whose rows alone are moved.
    """
    if settings.learning_rate is None:
        raise AssertionError("a model's own settings leave nothing open")
    decays = {id(weight) for weight in decaying(module)}
    trainable = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) in decays], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if id(p) not in decays], "weight_decay": 0.0},
    ]
    kind = RowAdamW if rows else torch.optim.AdamW
    return kind(groups, lr=settings.learning_rate, fused=fused)


def decaying(module: nn.Module) -> list[nn.Parameter]:
    """The trainable weights that decay: matrices that multiply states or vectors.

    Biases and norms do not, nor do tables, from which single rows are taken: words, positions, OOV tokens, the items'
    own vectors. Decay would shrink a row at every step, also while no batch asks for it, so that a seldom item would
    lose what it has learnt.
    """
    rows = set()
    for part in module.modules():
        if isinstance(part, nn.Embedding | TokenTable):
            rows.add(id(part.weight))
        if isinstance(part, ItemVectors):
            rows.add(id(part.residual))
    return [p for p in module.parameters() if p.requires_grad and p.ndim > 1 and id(p) not in rows]


def rate(settings: ModelSettings, step: int, total: float) -> float:
    """Share of the learning rate at a step, from 0: linear warm-up, then constant or half a cosine to zero.

    The cosine reaches zero at the end of `max_epochs`, wherever patience may end training before that. Where the total
    of steps is not known, infinite, every schedule is constant.
    """
    # A short run must not end within its warm-up.
    warm = min(1.0, (step + 1) / max(1.0, min(settings.warmup_steps, 0.1 * total)))
    if settings.schedule == "constant" or not math.isfinite(total):
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1.0, total))))
