"""Between a backbone and item vectors of another width.

A language model is wider than what interactions say of an item: 576 numbers against 64. With item vectors of width w
and a backbone of width d, an item is read as `R v_i`, and a state h asks for it by `A h`:

    input of item i:  R v_i, at the length of OOV vectors
    logit of item i:  (A h) . u_i / tau = h . (A^T u_i) / tau,    u_i = v_i / |v_i|

`A h` is not brought to unit length, so that a plain model whose output rows are `A^T u_i / tau` scores the same. The
item softmax then takes w products for each item in place of d, and the vectors of a smaller model fit.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F


class ItemBridge(nn.Module):
    """Maps item vectors to what a backbone reads, and its states to what item vectors are compared with.

    Args:
        dim: Width of the backbone, d.
        width: Width of item vectors, w. Where it is the same, they are the backbone's own, and there is no map.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.maps = width != dim
        if self.maps:
            self.reads = nn.Linear(width, dim, bias=False)
            self.asks = nn.Linear(dim, width, bias=False)
            nn.init.orthogonal_(self.reads.weight)
            # A unit state in no particular direction then asks by a vector of about unit length.
            nn.init.orthogonal_(self.asks.weight, gain=math.sqrt(dim / min(dim, width)))

    def inputs(self, vectors: Tensor) -> Tensor:
        """Directions that the backbone reads for item vectors `[..., w]` of any length: `[..., d]`, of unit length."""
        return F.normalize(self.reads(vectors) if self.maps else vectors, dim=-1)

    def queries(self, states: Tensor) -> Tensor:
        """What unit item vectors are multiplied with for unit states `[..., d]`: `[..., w]`."""
        asked: Tensor = self.asks(states) if self.maps else states
        return asked

    def outputs(self, vectors: Tensor) -> Tensor:
        """What states are multiplied with for item vectors `[n, w]`: `[n, d]`."""
        return vectors @ self.asks.weight if self.maps else vectors
