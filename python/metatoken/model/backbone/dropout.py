"""Dropout that takes a quarter of a random number for each value instead of a whole one.

On a processor most of what dropout takes is drawing. A value is dropped where 16 random bits are below `2^16 p`, so one
draw of 64 bits serves four values; `p` is thereby rounded to a multiple of `2^-16`. The draws are torch's.
"""

from __future__ import annotations

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
        draws = torch.empty(-(-x.numel() * BITS // 64), dtype=torch.int64).random_(-(1 << 63), None)
        signed = draws.view(torch.int16)[: x.numel()].view(x.shape)
        # Into floats at once, and multiplied: the processor's selections by a mask are an order slower.
        kept = torch.ge(signed, least - (1 << (BITS - 1)), out=x.new_empty(x.shape))
        return x * kept.mul_(1 / (1 - least / (1 << BITS)))


def quicken(model: nn.Module) -> nn.Module:
    """Puts `QuickDropout` in the place of every `nn.Dropout`; returns the model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, QuickDropout(child.p))
    return model
