"""A trained model with more items, users and tokens: what it has learned stays, row by row, and new rows begin here.

A new item is recommended without training: its vector is the sum of its tokens' vectors, of its projected entity vector
and of its projected features, all of which were learned on other items, and of a free vector of its own. That begins
where a ridge map from entity vectors to free vectors puts it, which is fitted to the items that the tokens were learned
with. So it depends on nothing that came by an extension. A token that was appended begins in the same way, by its
centroid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.errors import ArgumentError
from metatoken.tokens.vectors.cold import WALKED, FeatureMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metatoken.model.heads.items import ItemVectors
    from metatoken.tasks.biases import RatingBase
    from metatoken.tokens.vocabulary import Vocabulary

GROWN = ("items.residual", "table.weight")  # weights with a row for each item, and for each token


@dataclass(frozen=True)
class Growth:
    """What is appended to a model.

    Attributes:
        n_users: Users, old and new.
        n_items: Items, old and new.
        features: Features of the new items, float32 `[new items, f]`, where the model has features; None where nothing
            is known of them.
    """

    n_users: int
    n_items: int
    features: np.ndarray | None = None

    def item_features(self, known: np.ndarray) -> np.ndarray:
        """Features of all items, float32 `[n_items, f]`; zeros where nothing is known.

        Raises:
            ArgumentError: Those of the new items have another length.
        """
        shape = (self.n_items - len(known), known.shape[1])
        if self.features is not None and self.features.shape != shape:
            raise ArgumentError("features", f"expected {list(shape)} as the model has, got {list(self.features.shape)}")
        return np.concatenate([known, np.zeros(shape, known.dtype) if self.features is None else self.features])

    def rating_base(self, known: RatingBase) -> RatingBase:
        """Biases of all users and items, 0 for new ones."""
        biases = known.biases
        user, item = (
            np.pad(rows, (0, n - len(rows))) for rows, n in ((biases.user, self.n_users), (biases.item, self.n_items))
        )
        return replace(known, biases=replace(biases, user=user, item=item))

    def weights(self, known: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Saved weights in the shapes of a model that has grown, whose own are `own`."""
        found = dict(known)
        for name in GROWN:
            rows = found[name]
            found[name] = torch.cat([rows, rows.new_zeros(len(own[name]) - len(rows), rows.shape[1])])
        return found


@torch.no_grad()
def begin(items: ItemVectors, vocabulary: Vocabulary) -> None:
    """Sets the free vectors of the items, and the free rows of the tokens, of the last extension of a vocabulary.

    Args:
        items: Those of a model that has grown; all other weights are in place.
        vocabulary: Its tokens.
    """
    _, n_items, n_tokens = vocabulary.earlier[-1]
    learned, table = vocabulary.n_learned_items, items.table[0]
    walked = vocabulary.origins[vocabulary.nodes("item")][:learned] == WALKED
    used = torch.unique(items.tokens[:learned])
    _continue(items.residual, items.entities, torch.from_numpy(np.flatnonzero(walked)), n_items)
    _continue(table.weight, table.centroids, used[used >= 0], n_tokens)


def _continue(rows: torch.Tensor, x: torch.Tensor, learned: torch.Tensor, n_known: int) -> None:
    """Sets rows `[n, d]` from `n_known` on as the ridge map from `x` `[n, c]` has it that fits the learned ones."""
    if n_known < len(rows) and len(learned) > 1:
        found = FeatureMap.fit(x[learned].numpy(), rows[learned].numpy())
        rows[n_known:] = torch.from_numpy(found(x[n_known:].numpy()))
