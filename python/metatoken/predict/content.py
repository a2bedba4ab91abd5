"""A ranker by what is said about items: those whose categories are like those of the last items, popular ones first.

Categories of items are counted like words of documents (tf-idf): item i has the unit vector

    a_i = b_i / |b_i|,    b_i[c] = log(n_items / n_items with c)  where i has category c,

so a category that nearly everything has says nearly nothing. From item i the step to another item j is

    s(i, j) = (a_i . a_j)^3 sqrt(1 + count of j in train),

kept for the `LIKE` largest j and scaled to sum to 1. A user starts from the last items of their history, as in
`TransitionGraph`. It needs no interaction of an item to recommend it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy import sparse

from metatoken.data.ragged import check_rows
from metatoken.errors import DataError
from metatoken.predict.transitions import start

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.data.ragged import Sequences

    Float32 = NDArray[np.float32]

LIKE = 150  # items that one item leads to
COMMON = 500  # the most popular items with a category stand for all that have it
BLOCK = 256  # items whose steps are computed at once
RECENCY = (1.0, 0.6, 0.36, 0.22, 0.13)  # weights of the last items of a history, newest first


class ContentGraph:
    """Steps from items to items that are alike.

    They are computed for the items that are asked for; once that was as many as there are, for all of them, and kept.
    So a single request does not wait for the whole catalogue, and many do not compute it twice.

    Args:
        incidence: `a`, sparse float32 `[n_items, n_categories]`.
        popular: float32 `[n_items]`, root of 1 plus the count of each item.
    """

    def __init__(self, incidence: sparse.csr_array, popular: Float32) -> None:
        self._incidence, self._popular = incidence, popular
        self._candidates = _most_popular(incidence, popular).T.tocsr()
        self._asked = 0

    @classmethod
    def fit(cls, train: Interactions) -> ContentGraph | None:
        """From the categories of the item table and the popularity in `train`; None where there are no categories."""
        found = _incidence(train)
        if found is None:
            return None
        counts = np.bincount(train.sequences().items, minlength=train.n_items)
        return cls(found, np.sqrt(1.0 + counts).astype(np.float32))

    def scores(self, history: Sequences, users: NDArray[Any]) -> Float32:
        """Distribution over the items for a batch of users, float32 `[b, n_items]`.

        A row is zero where nothing is like the user's last items; otherwise as `TransitionGraph.scores`.
        """
        begin = start(history, check_rows(users, len(history)), RECENCY, len(self._popular))
        items = np.unique(begin.indices).astype(np.int64)
        self._asked += len(items)
        few = self._asked <= len(self._popular)
        walked = begin[:, items] @ self._steps(items) if few else begin @ self.steps
        dense: Float32 = walked.toarray()
        mass = dense.sum(axis=1, keepdims=True)
        dense *= np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)
        return dense

    @cached_property
    def steps(self) -> sparse.csr_array:
        """All steps, sparse float32 `[n_items, n_items]`; a row sums to 1, or to 0 where nothing is like the item."""
        return self._steps(np.arange(len(self._popular)))

    def _steps(self, items: NDArray[np.int64]) -> sparse.csr_array:
        """The rows of some items."""
        parts = [items[at : at + BLOCK] for at in range(0, len(items), BLOCK)]
        empty = sparse.csr_array((0, len(self._popular)), dtype=np.float32)
        rows = [_nearest(self._incidence[part] @ self._candidates, part, self._popular) for part in parts]
        return sparse.csr_array(sparse.vstack([empty, *rows], format="csr"))


def _incidence(train: Interactions) -> sparse.csr_array | None:
    """`a`, sparse float32 `[n_items, n_categories]`."""
    table = train.item_table
    if table is None or "categories" not in table.columns:
        return None
    if not isinstance(table["categories"].dtype, pl.List):
        raise DataError(f"column 'categories' holds {table['categories'].dtype}, expected lists of texts")
    pairs = table.select("item", "categories").explode("categories").drop_nulls().unique(maintain_order=True)
    if pairs.is_empty():
        return None
    item = pairs["item"].to_numpy()
    category = pairs["categories"].rank("dense").to_numpy().astype(np.int64) - 1
    n_items = train.n_items
    weight = np.log(n_items / np.bincount(category))[category]
    length = np.sqrt(np.bincount(item, weight**2, minlength=n_items))[item]
    value = np.divide(weight, length, out=np.zeros_like(weight), where=length > 0).astype(np.float32)
    found = sparse.csr_array((value, (item, category)), shape=(n_items, int(category.max()) + 1))
    found.eliminate_zeros()
    return found if found.nnz else None


def _most_popular(incidence: sparse.csr_array, popular: Float32) -> sparse.csr_array:
    """The same for the `COMMON` most popular items of each category, which bounds the time for a large catalogue."""
    pairs = incidence.tocoo()
    item, category = pairs.coords
    order = np.lexsort((item, -popular[item], category))
    sizes = np.bincount(category, minlength=incidence.shape[1])
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[place < COMMON]
    return sparse.csr_array((pairs.data[kept], (item[kept], category[kept])), shape=incidence.shape)


def _nearest(alike: sparse.csr_array, items: NDArray[np.int64], popular: Float32) -> sparse.csr_array:
    """Rows of `steps` from the cosines of some items, `[len(items), n_items]`."""
    alike.sort_indices()
    sizes, item = np.diff(alike.indptr), alike.indices
    row = np.repeat(np.arange(len(sizes)), sizes)
    value = alike.data**3 * popular[item]
    value[items[row] == item] = 0.0
    # Rows as a table, so that the least value that is kept is found for all of them at once.
    real = np.arange(max(LIKE, sizes.max(initial=0))) < sizes[:, None]
    table = np.zeros(real.shape, dtype=np.float32)
    table[real] = value
    least = np.partition(table, -LIKE, axis=1)[:, -LIKE, None]
    # Among equals those of the lowest rows.
    equal = table == least
    room = LIKE - (table > least).sum(axis=1, keepdims=True)
    kept = (((table > least) | (equal & (np.cumsum(equal, axis=1) <= room))) & (table > 0))[real]
    mass = np.bincount(row[kept], value[kept], minlength=len(sizes))
    scaled = (value[kept] / mass[row[kept]]).astype(np.float32)
    return sparse.csr_array((scaled, (row[kept], item[kept])), shape=alike.shape)
