"""Vectors for items and users that come after a vocabulary was learned, in the space of those that it has.

Nothing that is known moves, and only ids with a vector of their own (walked or given) are asked, so what an id gets
does not depend on which other ids come with it. An item gets, in this order,

- *neighbours*: the mean over its interactions of the mean vector of the known items that its user took before it, the
  `REACH` newest, or after it where there are none before;
- *features*: what a ridge map from features to vectors, fitted on known items, makes of its own;
- *none*: the mean vector of the known items, each as often as it was taken.

A user gets what the fold-in map makes of their items, else the mean user.

What has a vector keeps it. Of an item at the centre whose first interactions come later, `came_late` says where it
would be: its vector and tokens stay, but a model begins with that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metatoken.data.ragged import Sequences
from metatoken.tokens.vectors.cold import FEATURES, NEIGHBOURS, NONE, FeatureMap

if TYPE_CHECKING:
    import polars as pl

    from metatoken.tokens.fold_in import FoldIn

    Float32 = NDArray[np.float32]

REACH = 10  # known items of a history that speak for a new one
VALUES = 256  # values of attributes that are looked at, the most frequent ones


class Newcomers(NamedTuple):
    """Vectors float32 `[n, dim]`, and where each came from, places in `cold.ORIGINS`, uint8 `[n]`."""

    vectors: Float32
    origins: NDArray[np.uint8]


def new_items(
    vectors: Float32, known: NDArray[np.bool_], histories: Sequences, n_items: int, features: NDArray[Any] | None
) -> Newcomers:
    """Vectors of the items behind the last of `vectors`.

    Args:
        vectors: float32 `[n_old, dim]` of the items that are known.
        known: Which of them have a vector of their own, bool `[n_old]`.
        histories: Of all users, over old and new items; some items may be in none.
        n_items: Old and new items, n.
        features: Real numbers `[n, f]` of old and new items; rows with a NaN have none.
    """
    n_old, n = len(vectors), n_items
    counts = np.bincount(histories.items, minlength=n).astype(np.float64)
    sources = known if known.any() else np.ones(n_old, np.bool_)
    weights = np.where(sources, np.maximum(counts[:n_old], 1e-9), 0.0)
    centre = (weights @ vectors.astype(np.float64)) / weights.sum()
    found = np.tile(centre.astype(np.float32), (n - n_old, 1))
    origins = np.full(n - n_old, NONE, np.uint8)
    if features is not None:
        left = ~np.isnan(features).any(axis=1)
        fit_on = left[:n_old] & sources
        if fit_on.sum() > 1 and left[n_old:].any():
            map_ = FeatureMap.fit(features[:n_old][fit_on], vectors[fit_on])
            found[left[n_old:]] = map_(features[n_old:][left[n_old:]])
            origins[left[n_old:]] = FEATURES
    near = contexts(histories, np.pad(sources, (0, n - n_old)), n)
    met = np.flatnonzero(np.diff(near.indptr)[n_old:])
    found[met] = (near[n_old:][met][:, :n_old] @ vectors.astype(np.float64)).astype(np.float32)
    origins[met] = NEIGHBOURS
    return Newcomers(found, origins)


def new_users(fold_in: FoldIn, histories: Sequences, vectors: Float32, known: NDArray[np.bool_]) -> Newcomers:
    """Vectors of new users by their histories over items with vectors float32 `[n, dim]`, `known` bool `[n]`."""
    some = np.bincount(histories.owners, known[histories.items], minlength=len(histories)) > 0
    return Newcomers(fold_in(histories, vectors, known), np.where(some, NEIGHBOURS, NONE).astype(np.uint8))


def came_late(
    vectors: Float32, known: NDArray[np.bool_], histories: Sequences, waiting: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Float32]:
    """Where items would be that are at the centre, by interactions that came since.

    Args:
        vectors: float32 `[n_old, dim]` of the items that are known.
        known: Which of them have a vector of their own, bool `[n_old]`.
        histories: Of all users, over old and new items.
        waiting: Rows of such items, `[w]`.

    Returns:
        Those of them near which something is known, and vectors float32 `[m, dim]`.
    """
    n_old, n = len(vectors), max(len(vectors), int(histories.items.max(initial=-1)) + 1)
    near = contexts(histories, np.pad(known, (0, n - n_old)), n)[waiting]
    met = np.flatnonzero(np.diff(near.indptr))
    return waiting[met], (near[met][:, :n_old] @ vectors.astype(np.float64)).astype(np.float32)


def contexts(histories: Sequences, known: NDArray[np.bool_], n_items: int) -> sparse.csr_array:
    """What stands for each item in the histories: weights of known items, sparse float64 `[n_items, n_items]`.

    A row sums to 1, or to 0 where no known item is near; rows of known items are empty.
    """
    users, own = histories.owners, known[histories.items]
    at = np.flatnonzero(~own)  # interactions with new items
    line = histories.items[own]  # known items of all users, one after the other
    begin = np.concatenate([[0], np.cumsum(own)])[histories.offsets]
    before = np.concatenate([[0], np.cumsum(own)])[at] - begin[users[at]]
    size = (begin[1:] - begin[:-1])[users[at]]
    reach = np.arange(REACH)
    backward = before[:, None] - 1 - reach
    place = np.where((before > 0)[:, None], backward, reach)
    real = (place >= 0) & (place < size[:, None])
    share = 1.0 / np.maximum(real.sum(axis=1), 1)
    edge, column = np.nonzero(real)
    weight = share[edge]
    rows, columns = histories.items[at[edge]], line[begin[users[at[edge]]] + place[edge, column]]
    found = sparse.csr_array((weight, (rows, columns)), shape=(n_items, n_items))
    mass = np.asarray(found.sum(axis=1)).ravel()
    return sparse.csr_array(sparse.diags_array(np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)) @ found)


def attribute_features(table: pl.DataFrame | None, names: list[str], n_old: int, n_items: int) -> Float32 | None:
    """Which of the most frequent values of some columns an item has, 0 or 1, float32 `[n_items, values]`.

    Args:
        table: An item table, see `Interactions.item_table`.
        names: Its columns that count: texts, or lists of texts.
        n_old: Items that are known; a value that none of them has says nothing.
        n_items: Items.

    Returns:
        NaN for items without such a value; None where there are none.
    """
    import polars as pl

    parts = []
    for name in names:
        if table is not None and name in table.columns:
            one = table.select("item", pl.col(name).alias("value"))
            one = one.explode("value") if one["value"].dtype == pl.List else one
            parts.append(one.drop_nulls().with_columns(value=pl.lit(f"{name}\0") + pl.col("value").cast(pl.String)))
    if not parts:
        return None
    pairs = pl.concat(parts).unique()
    often = (
        pairs.filter(pl.col("item") < n_old)["value"].value_counts().sort(["count", "value"], descending=[True, False])
    )
    kept = pairs.join(often.head(VALUES).with_row_index("place"), on="value")
    if kept.is_empty():
        return None
    found = np.full((n_items, min(len(often), VALUES)), np.nan, np.float32)
    found[kept["item"].to_numpy()] = 0.0
    found[kept["item"].to_numpy(), kept["place"].to_numpy()] = 1.0
    return found
