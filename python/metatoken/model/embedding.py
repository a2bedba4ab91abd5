"""The OOV token table and its place inside the backbone's embedding layer.

`e(t) = E[t] + alpha (W c_t + b)`: `E[t]` a free row, `c_t` the frozen centroid of the token, `W, b` one linear layer
shared by all tokens (META ID, equation 5). It is applied wherever the table is used, so training, decoding and export
can never differ (docs/design.md, decision 1). The rows live beside the backbone's own table, which stays as it is:
nothing is resized, a frozen table stays frozen, and text logits cannot change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TokenTable(nn.Module):
    """Vectors of all OOV tokens.

    Args:
        centroids: float `[n_tokens, c]`, frozen.
        dim: Width of the backbone.
        alpha: Weight of the projected centroid.
        norm: Length that rows have at the input (cosine heads ignore length).
        learned: How many tokens the scale of the centroids is taken from, by default all; those behind were appended
            to a trained table, which must not change for that.
    """

    centroids: Tensor

    def __init__(
        self, centroids: Tensor, dim: int, *, alpha: float = 1.0, norm: float, learned: int | None = None
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.norm = norm
        # Unit mean length: the scale of the skip-gram space says nothing about the scale of the backbone.
        scale = centroids[:learned].norm(dim=1).mean().clamp_min(1e-12)
        self.register_buffer("centroids", (centroids / scale).to(torch.float32))
        self.weight = nn.Parameter(torch.randn(centroids.shape[0], dim) * 0.02)
        self.projection = nn.Linear(centroids.shape[1], dim)

    def forward(self) -> Tensor:
        """Composed vectors `[n_tokens, dim]`, before any normalization."""
        projected: Tensor = self.projection(self.centroids)
        return self.weight + self.alpha * projected

    def inputs(self) -> Tensor:
        """Vectors as the backbone reads them, `[n_tokens, dim]`."""
        return F.normalize(self(), dim=-1) * self.norm


class MetaEmbedding(nn.Embedding):
    """A backbone's embedding layer that also knows the OOV ids `base + local token id`.

    Made in place from the backbone's own layer by `install`, as a subclass of that layer's class (Gemma's scales its
    rows), so names, ties and saving stay plain.
    """

    own: type[nn.Embedding]
    base: int
    _table: list[TokenTable]

    def forward(self, input_ids: Tensor) -> Tensor:  # noqa: D102
        is_oov = input_ids >= self.base
        text = super().forward(input_ids.masked_fill(is_oov, 0))
        oov = F.embedding((input_ids - self.base).clamp_min(0), self._table[0].inputs())
        return torch.where(is_oov.unsqueeze(-1), oov.to(text.dtype), text)


def install(backbone: nn.Module, table: TokenTable, base: int) -> None:
    """Makes every embedding layer of a Hugging Face model that reads token ids know the OOV ids, from `base` on.

    The table stays outside the backbone's module tree, so it is saved once, by its owner. A T5 has three such layers
    (shared, encoder, decoder), over one storage or not.
    """
    for layer in readers(backbone):
        own = type(layer)
        layer.__class__ = MetaEmbedding if own is nn.Embedding else type(own.__name__, (MetaEmbedding, own), {})
        layer.own = own
        layer.base = base
        # In a list, so that nn.Module does not register the table below the backbone as well.
        layer._table = [table]  # noqa: SLF001


def uninstall(backbone: nn.Module) -> None:
    """Gives every embedding layer its own class back, so that the backbone is as it was before `install`."""
    for layer in readers(backbone):
        if isinstance(layer, MetaEmbedding):
            plain: Any = layer
            plain.__class__ = layer.own
            del layer.own, layer.base, layer._table  # noqa: SLF001


def readers(backbone: Any) -> list[Any]:
    """The embedding layers that read token ids, each once; those of a T5 share one table."""
    parts = [backbone]
    if backbone.config.is_encoder_decoder:
        parts += [backbone.get_encoder(), backbone.get_decoder()]
    return list({id(layer): layer for layer in (part.get_input_embeddings() for part in parts)}.values())
