"""A trained model with more items, users and tokens: what it has learned stays, row by row, and new rows begin here.

A new item is recommended without training. A ridge map from what is known of an item, the direction of its entity
vector and the logarithm of its interactions, to its whole vector is fitted to the items that were trained; the free
vector of a new item is what brings it there. (How often an item is taken a cosine cannot say by length, so directions
do.) What its features say comes on top, as for every item. A token that was appended begins with its projected
centroid alone.

An item that an earlier extension brought without interactions to learn from begins anew when the first ones come: its
tokens and its entity vector stay where they are, and its free vector brings it to where it would have begun with them.

The map belongs to the weights: an extension that is not trained on keeps it, so that two extensions give what one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from metatoken.errors import ArgumentError
from metatoken.tokens.vectors.cold import FeatureMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metatoken.model.heads.items import ItemVectors
    from metatoken.tasks.rating_base import RatingBase

GROWN = {"items.residual", "table.weight", "narrow.weight"}  # weights with a row for each item, and for each token


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
        late: Rows of old items that begin anew, and float32 `[m, c]` the entity vectors that they would have by now.
    """

    n_users: int
    n_items: int
    counts: np.ndarray
    trained: np.ndarray
    features: np.ndarray | None = None
    late: tuple[np.ndarray, np.ndarray] | None = None

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
        for name in GROWN & found.keys():
            rows = found[name]
            found[name] = torch.cat([rows, rows.new_zeros(len(own[name]) - len(rows), rows.shape[1])])
        return found


@torch.no_grad()
def begin(items: ItemVectors, growth: Growth, found: FeatureMap | None) -> FeatureMap | None:
    """Sets the free vectors of new items, and of those that begin anew.

    Args:
        items: Of a model that has grown, all other weights in place.
        growth: What it has grown by.
        found: The map of an earlier extension, where nothing was trained since.

    Returns:
        The map; None where there are fewer than two items to fit it to.
    """
    trained, counts = growth.trained, growth.counts
    known = np.flatnonzero(trained)
    if found is None and len(known) > 1:
        y = items(torch.from_numpy(known)) - items.of_features(torch.from_numpy(known))
        found = FeatureMap.fit(_traits(items.entities[known], trained[known]), y.numpy())
    new = np.arange(len(trained), len(counts))
    late, vectors = growth.late or (new[:0], items.entities[:0].numpy())
    rows = np.concatenate([new, late])
    if found is None or len(rows) == 0:
        return found
    x = _traits(torch.cat([items.entities[new], F.normalize(torch.from_numpy(vectors), dim=1)]), counts[rows])
    # What nobody could take yet is not thereby seldom: it counts as the average item.
    x[counts[rows] == 0, -1] = found.centre[-1]
    places = torch.from_numpy(rows)
    items.residual[places] += torch.from_numpy(found(x)) + items.of_features(places) - items(places)
    return found


def _traits(entities: torch.Tensor, counts: np.ndarray) -> np.ndarray:
    """What is known of items, float32 `[n, c + 1]`: unit vectors, and log counts about as long as one dimension."""
    counted = np.log1p(counts) / np.sqrt(entities.shape[1])
    return np.concatenate([entities.numpy(), counted[:, None].astype(np.float32)], axis=1)
