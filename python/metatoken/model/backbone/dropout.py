"""Dropout that takes a quarter of a random number for each value instead of a whole one.

On a processor most of what dropout takes is drawing. A value is dropped where 16 random bits are below `2^16 p`, so one
draw of 64 bits serves four values; `p` is thereby rounded to a multiple of `2^-16`. The draws are torch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BITS = 16


class QuickDropout(nn.Dropout):
    """`nn.Dropout` for float32 on a processor; elsewhere what it is by name."""

    def forward(self, x: Tensor) -> Tensor:
        """Values of which a share of `p` is zero and the others are larger by `1 / (1 - p)`, while training."""
        least = round(self.p * (1 << BITS))
        if not self.training or x.device.type != "cpu" or not 0 < least < 1 << BITS:
            return super().forward(x)
        dropped: Tensor = Dropped.apply(x, least)
        return dropped


class Dropped(torch.autograd.Function):
    """Drops values whose 16 bits are below `least`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: int) -> Tensor:  # noqa: D102
        draws = torch.empty(-(-x.numel() * BITS // 64), dtype=torch.int64).random_(-(1 << 63), None)
        signed = draws.view(torch.int16)[: x.numel()].view(x.shape)
        ctx.dropped = signed < least - (1 << (BITS - 1))
        ctx.scale = 1 / (1 - least / (1 << BITS))
        return x.mul(ctx.scale).masked_fill_(ctx.dropped, 0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        return grads[0].mul(ctx.scale).masked_fill_(ctx.dropped, 0.0), None


def quicken(model: nn.Module) -> nn.Module:
    """Puts `QuickDropout` in the place of every `nn.Dropout`; returns the model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, QuickDropout(child.p))
    return model
