"""The rating head: a number from the state behind a question.

It tells what user and item biases leave over, `r = bias(u, i) + spread * head(h)`, with `spread` the standard deviation
of that rest in training. The last layer starts at zero, so an untrained head answers with the biases alone.
"""

from __future__ import annotations

import math

from torch import Tensor, nn


class RatingHead(nn.Module):
    """Two layers on a unit state."""

    def __init__(self, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.scale = math.sqrt(dim)
        self.hidden = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Values `[P]` in spreads of the rest, of unit states `[P, d]`."""
        hidden = nn.functional.gelu(self.hidden(states * self.scale))
        value: Tensor = self.out(self.dropout(hidden)).squeeze(-1)
        return value
