"""Dropout that takes a quarter of a random number for each value instead of a whole one.

On a processor most of what dropout takes is drawing. A value is dropped where 16 random bits are below `2^16 p`, so one
draw of 64 bits serves four values; `p` is thereby rounded to a multiple of `2^-16`. The draws are torch's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

BITS = 16


class QuickDropout(nn.Dropout):
    """`nn.Dropout` for float32 on a processor; elsewhere what it is by name."""

    def forward(self, x: Tensor) -> Tensor:
        """Values of which a share of `p` is zero and the others are larger by `1 / (1 - p)`, while training."""
        if not self.training or x.device.type != "cpu" or not 0 < round(self.p * (1 << BITS)) < 1 << BITS:
            return super().forward(x)
        return x * kept(self.p, x.shape)


def kept(p: float, shape: Sequence[int]) -> Tensor:
    """What values are multiplied with: a share of `p` is zero, the others `1 / (1 - p)`."""
    least = min(round(p * (1 << BITS)), (1 << BITS) - 1)
    count = math.prod(shape)
    draws = torch.empty(-(-count * BITS // 64), dtype=torch.int64).random_(-(1 << 63), None)
    signed = draws.view(torch.int16)[:count].view(shape)
    # Into floats at once, and multiplied: the processor's selections by a mask are an order slower.
    found = torch.ge(signed, least - (1 << (BITS - 1)), out=torch.empty(shape))
    return found.mul_(1 / (1 - least / (1 << BITS)))


def quicken(model: nn.Module) -> nn.Module:
    """Puts `QuickDropout` in the place of every `nn.Dropout`; returns the model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, QuickDropout(child.p))
    return model
