"""SASRec's network: a causal transformer over items, its output tied to the item table (Kang and McAuley 2018).

    x_0 = LayerNorm(item + position),   y = LayerNorm(x_l + attention(x_l)),   x_{l+1} = LayerNorm(y + ffn(y)),

and item j has the logit `x . item_j` behind the state x. The norm at the input gives every place the length
`sqrt(dim)`: item vectors that start with a deviation of .02 would else be drowned by what the first block adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from metatoken.baselines.settings import SASRecSettings

DEVIATION = 0.02  # of all weights at the start


class Block(nn.Module):
    """Attention to what came before, then a feed-forward part; each is added to its input and normalised.

    Args:
        settings: Width, heads and dropout.
    """

    def __init__(self, settings: SASRecSettings) -> None:
        super().__init__()
        dim = settings.dim
        self.heads, self.dropout = settings.heads, nn.Dropout(settings.dropout)
        self.read, self.write = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.attended, self.fed = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """States float `[b, length, dim]` of states of the same shape."""
        x = self.attended(x + self.dropout(self._attention(x)))
        fed: Tensor = self.fed(x + self.dropout(self.narrow(functional.gelu(self.widen(x)))))
        return fed

    def _attention(self, x: Tensor) -> Tensor:
        query, key, value = self.read(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropped = self.dropout.p if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped, is_causal=True)
        written: Tensor = self.write(mixed.transpose(1, 2).flatten(2))
        return written


class SASRecNetwork(nn.Module):
    """States of histories.

    Args:
        settings: Its shape.
        n_items: Items of the catalogue.
    """

    def __init__(self, settings: SASRecSettings, n_items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, settings.dim)
        self.places = nn.Embedding(settings.max_history, settings.dim)
        self.norm, self.dropout = nn.LayerNorm(settings.dim), nn.Dropout(settings.dropout)
        self.blocks = nn.Sequential(*(Block(settings) for _ in range(settings.layers)))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=DEVIATION)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Reads histories.

        Args:
            items: int64 `[b, length]` item rows, oldest first; what stands behind the end of a row is not looked at.
            lengths: int64 `[b]`, items of each row.

        Returns:
            Float `[b, length, dim]`: the state of each place, which knows the items up to it.
        """
        # Places are counted from the end: the newest item stands at the same one in every history.
        last = self.places.num_embeddings
        places = last - lengths[:, None] + torch.arange(items.shape[1], device=items.device)
        x = self.items(items) + self.places(places.clamp(max=last - 1))
        states: Tensor = self.blocks(self.dropout(self.norm(x)))
        return states
