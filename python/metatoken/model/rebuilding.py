"""A model for new tokens that begins where another one stands.

All weights that do not belong to tokens are the old ones, and so is the vector of every item: what the new tokens, and
the new entity vectors, do not say of it is its free part. So the item head ranks as before, and the tokens have places
to learn from: each begins at the mean of what its items have left, level by level, as they were clustered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from metatoken.model.starting import KnownItems, start_items

if TYPE_CHECKING:
    from metatoken.model.model import MetaTokenModel
    from metatoken.tokens.vocabulary import Vocabulary

# Weights that belong to tokens and entity vectors.
REMADE = ("table.", "narrow.", "items.residual", "items.projection.")


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
    rows = torch.arange(vocabulary.n_items)
    start_items(new.network, KnownItems(rows, old.network.items()))
    return new.eval()
