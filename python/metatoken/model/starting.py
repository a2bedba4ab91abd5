"""Where item vectors start: from those of another run, or as the free parts and projections of a new model do.

What the tokens, the projection of the entity vectors and the features do not say of an item is its free part, so that
every item that the other run knows has its vector there, whatever tokens it has here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metatoken.artifacts import MANIFEST
from metatoken.artifacts.failures import reachable
from metatoken.errors import ArtifactError, ConfigError, MetatokenError
from metatoken.tokens.vectors.cold import FeatureMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from metatoken.model.heads.items import ItemVectors
    from metatoken.model.network import Network

PARTS = ("vocabulary", "model")  # of a run, that are read


@dataclass(frozen=True)
class KnownItems:
    """Item vectors of a trained model.

    Attributes:
        rows: int64 `[m]`, rows of the new vocabulary's items that the model knows.
        vectors: float `[m, w]`, their vectors, of any length.
    """

    rows: Tensor
    vectors: Tensor


def check_start(folder: str | None) -> None:
    """Refuses, before any work, a folder that is no trained run: `ConfigError`."""
    if folder is None:
        return
    try:
        place = reachable(folder)
    except ArtifactError as error:
        raise ConfigError(f"model.items_from: {error}") from error
    missing = [name for name in PARTS if not (place / name / MANIFEST).is_file()]
    if missing:
        said = "no such folder" if not place.is_dir() else f"it has no {missing[0]}/"
        raise ConfigError(f"model.items_from: expected the folder of a finished run, got {folder}; {said}")


def known_items(folder: str | Path, items: Sequence[str]) -> KnownItems:
    """Reads the vectors of a trained run.

    Args:
        folder: The run.
        items: Raw ids of the items of a new model.

    Raises:
        ConfigError: The folder holds no finished run, or it knows none of the items.
    """
    from metatoken.model.store.saving import load_model
    from metatoken.tokens.vocabulary import Vocabulary

    check_start(str(folder))
    try:
        vocabulary = Vocabulary.load(Path(folder) / "vocabulary")
        model = load_model(Path(folder) / "model", vocabulary)
    except MetatokenError as error:
        raise ConfigError(f"model.items_from: expected the folder of a finished run; {error}") from error
    theirs = vocabulary.items.find(list(items))
    found = np.flatnonzero(theirs >= 0)
    if len(found) == 0:
        raise ConfigError(
            f"model.items_from: {folder} knows none of the items of this log; name a run on the same ones"
        )
    with torch.no_grad():
        vectors = model.network.items(torch.from_numpy(theirs[found]))
    return KnownItems(torch.from_numpy(found), vectors)


@torch.no_grad()
def start_items(network: Network, known: KnownItems) -> None:
    """Gives a new model these item vectors; tokens that are read and written start at what they say in them."""
    items = network.items
    take_vectors(items, known)
    if network.bridge.maps:
        network.table.projection.weight.zero_()
        network.table.projection.bias.zero_()
        network.table.weight.copy_(network.bridge.outputs(items.table[0]()))


@torch.no_grad()
def take_vectors(items: ItemVectors, known: KnownItems) -> None:
    """Gives items these vectors by their tokens, projections and free parts; others have none of their own."""
    table, rows, vectors = items.table[0], known.rows, known.vectors
    for weights in (items.residual, table.weight):
        weights.zero_()
    for layer in (items.projection, table.projection):
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    left = vectors - items(rows)  # what features say is known already
    tokens = torch.zeros_like(table.weight)
    for level in range(items.tokens.shape[1]):
        ids = items.tokens[rows, level]
        has = ids >= 0
        count = left.new_zeros(len(tokens)).index_add(0, ids[has], left.new_ones(int(has.sum())))
        mean = torch.zeros_like(tokens).index_add(0, ids[has], left[has]) / count.clamp_min(1)[:, None]
        tokens += mean
        left = torch.where(has[:, None], left - mean[ids.clamp_min(0)], left)
    used = tokens.abs().sum(dim=1) > 0
    _fit(table.projection, table.centroids[used], tokens[used])
    # Tokens of no item, as users may have, begin at their projected centroids.
    table.weight.copy_(torch.where(used[:, None], tokens - table.alpha * table.projection(table.centroids), 0.0))
    _fit(items.projection, items.entities[rows], left)
    items.residual[rows] = vectors - items(rows)


def _fit(layer: nn.Linear, x: Tensor, y: Tensor) -> None:
    """The ridge map from rows `[n, c]` to rows `[n, d]`; one row alone says nothing."""
    if len(x) < 2:
        return
    found = FeatureMap.fit(x.numpy(), y.numpy())
    layer.weight.copy_(torch.from_numpy(found.weight.T))
    layer.bias.copy_(torch.from_numpy(found.mean - found.centre @ found.weight))
