"""A trained model with more items, users and tokens: what it has learned stays, row by row, and new rows begin here.

A new item is recommended without training. A ridge map from what is known of an item, the direction of its entity
vector and the logarithm of its interactions, to its whole vector is fitted to the items that were trained; the free
vector of a new item is what brings it there. (How often an item is taken a cosine cannot say by length, so directions
do.) What its features say comes on top, as for every item. A token that was appended begins with its projected
centroid alone.

The map belongs to the weights: an extension that is not trained on keeps it, so that two extensions give what one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.errors import ArgumentError
from metatoken.tokens.vectors.cold import FeatureMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metatoken.model.heads.items import ItemVectors
    from metatoken.tasks.rating_base import RatingBase

GROWN = ("items.residual", "table.weight")  # weights with a row for each item, and for each token


@dataclass(frozen=True)
class Growth:
    """What is appended to a model.

    Attributes:
        n_users: Users, old and new.
        n_items: Items, old and new.
        counts: int `[n_items]`, training interactions of each item.
        trained: int `[n_old]`, those of the log that was there before.
        features: Features of the new items, float32 `[new items, f]`, where the model has features; None where nothing
            is known of them.
    """

    n_users: int
    n_items: int
    counts: np.ndarray
    trained: np.ndarray
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
        """The base of all users and items, which says nothing of new ones."""
        return known.grown(self.n_users, self.n_items)

    def weights(self, known: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Saved weights in the shapes of a model that has grown, whose own are `own`."""
        found = dict(known)
        for name in GROWN:
            rows = found[name]
            found[name] = torch.cat([rows, rows.new_zeros(len(own[name]) - len(rows), rows.shape[1])])
        return found


@torch.no_grad()
def begin(items: ItemVectors, counts: np.ndarray, found: FeatureMap | None, trained: np.ndarray) -> FeatureMap | None:
    """Sets the free vectors of new items.

    Args:
        items: Of a model that has grown, all other weights in place.
        counts: int `[n_items]`, training interactions of each item.
        found: The map of an earlier extension, where nothing was trained since.
        trained: int `[n_old]`, interactions of the items that the model was trained with.

    Returns:
        The map; None where there are fewer than two items to fit it to.
    """
    n = len(trained)
    known = np.flatnonzero(trained)
    if found is None and len(known) > 1:
        y = items(torch.from_numpy(known)) - items.of_features(torch.from_numpy(known))
        found = FeatureMap.fit(_traits(items.entities[known], trained[known]), y.numpy())
    if found is not None and n < len(counts):
        rows = torch.arange(n, len(counts))
        x = _traits(items.entities[n:], counts[n:])
        # What nobody could take yet is not thereby seldom: it counts as the average item.
        x[counts[n:] == 0, -1] = found.centre[-1]
        wanted = torch.from_numpy(found(x)) + items.of_features(rows)
        items.residual[n:] += wanted - items(rows)
    return found


def _traits(entities: torch.Tensor, counts: np.ndarray) -> np.ndarray:
    """What is known of items, float32 `[n, c + 1]`: unit vectors, and log counts about as long as one dimension."""
    counted = np.log1p(counts) / np.sqrt(entities.shape[1])
    return np.concatenate([entities.numpy(), counted[:, None].astype(np.float32)], axis=1)
