"""A model for new tokens that begins where another one stands.

All weights that do not belong to tokens are the old ones, and so is the vector of every item: what the new tokens, and
the new entity vectors, do not say of it is its free part. So the item head ranks as before, and the tokens have places
to learn from: each begins at the mean of what its items have left, level by level, as they were clustered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from metatoken.tokens.vectors.cold import FeatureMap

if TYPE_CHECKING:
    from torch import Tensor, nn

    from metatoken.model.heads.items import ItemVectors
    from metatoken.model.model import MetaTokenModel
    from metatoken.tokens.vocabulary import Vocabulary

REMADE = ("table.", "items.residual", "items.projection.")  # weights that belong to tokens and entity vectors


@torch.no_grad()
def started_from(old: MetaTokenModel, vocabulary: Vocabulary) -> MetaTokenModel:
    """An untrained model over new tokens for the same users and items, with the item vectors of an old one.

    Args:
        old: The model.
        vocabulary: New tokens, in the rows of the old ones.
    """
    from metatoken.model.model import MetaTokenModel

    new = MetaTokenModel(
        vocabulary, old.settings, features=old.item_features, tokenizer=old.tokenizer, ratings=old.ratings
    )
    known = dict(old.network.named_parameters())
    for name, own in new.network.named_parameters():
        if not name.startswith(REMADE):
            own.copy_(known[name])
    _take_vectors(new.network.items, old.network.items())
    return new.eval()


def _take_vectors(items: ItemVectors, vectors: Tensor) -> None:
    """Gives items these vectors, float `[n_items, d]`, by their tokens, projections and free parts."""
    table = items.table[0]
    for weights in (items.residual, table.weight):
        weights.zero_()
    for layer in (items.projection, table.projection):
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    left = vectors - items()  # what features say is known already
    tokens = torch.zeros_like(table.weight)
    for level in range(items.tokens.shape[1]):
        ids = items.tokens[:, level]
        has = ids >= 0
        count = torch.zeros(len(tokens), dtype=left.dtype, device=left.device).index_add(
            0, ids[has], left.new_ones(int(has.sum()))
        )
        mean = torch.zeros_like(tokens).index_add(0, ids[has], left[has]) / count.clamp_min(1)[:, None]
        tokens += mean
        left = torch.where(has[:, None], left - mean[ids.clamp_min(0)], left)
    used = tokens.abs().sum(dim=1) > 0
    _fit(table.projection, table.centroids[used], tokens[used])
    # Tokens of no item, as users may have, begin at their projected centroids.
    table.weight.copy_(torch.where(used[:, None], tokens - table.alpha * table.projection(table.centroids), 0.0))
    _fit(items.projection, items.entities, left)
    items.residual.copy_(vectors - items())


def _fit(layer: nn.Linear, x: Tensor, y: Tensor) -> None:
    """The ridge map from rows `[n, c]` to rows `[n, d]`; one row alone says nothing."""
    if len(x) < 2:
        return
    found = FeatureMap.fit(x.numpy(), y.numpy())
    layer.weight.copy_(torch.from_numpy(found.weight.T))
    layer.bias.copy_(torch.from_numpy(found.mean - found.centre @ found.weight))
