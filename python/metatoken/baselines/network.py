"""SASRec's network: a causal transformer over items, its output tied to the item table (Kang and McAuley 2018).

    x_0 = sqrt(dim) (item + position),   y = LayerNorm(x_l + attention(q, x_l, x_l)) with q = LayerNorm(x_l),
    x_{l+1} = y + ffn(y),

and item j has the logit `LayerNorm(x_L) . item_j`. The factor at the input lets item vectors that start with a
deviation of .02 be heard beside what the first block adds. A norm in its place would make an item that was hardly
trained as loud as any other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from metatoken.baselines.settings import SASRecSettings

DEVIATION = 0.02  # of the vectors of items and places at the start


class Block(nn.Module):
    """Attention to what came before, then a feed-forward part of the same width.

    Args:
        settings: Width, heads and dropout.
    """

    def __init__(self, settings: SASRecSettings) -> None:
        super().__init__()
        dim = settings.dim
        self.heads, self.dropout = settings.heads, nn.Dropout(settings.dropout or 0.0)
        self.asking, self.attended = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.memory, self.write = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for linear in (self.query, self.memory, self.write, self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """States float `[b, length, dim]` of states of the same shape."""
        x = self.attended(x + self._attention(x))
        inner = functional.relu(self.dropout(self.inner(x)))
        fed: Tensor = x + self.dropout(self.outer(inner))
        return fed

    def _attention(self, x: Tensor) -> Tensor:
        query = self.query(self.asking(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = self.memory(x).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
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
        for table in (self.items, self.places):
            nn.init.normal_(table.weight, std=DEVIATION)
        self.dropout, self.norm = nn.Dropout(settings.dropout or 0.0), nn.LayerNorm(settings.dim)
        self.blocks = nn.Sequential(*(Block(settings) for _ in range(settings.layers)))

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
        x = math.sqrt(self.items.embedding_dim) * (self.items(items) + self.places(places.clamp(max=last - 1)))
        states: Tensor = self.norm(self.blocks(self.dropout(x)))
        return states
