"""item_knn: the nearest items of a user's history (Deshpande and Karypis 2004), by a cosine with shrinkage.

    W[i, j] = c_ij / (sqrt(c_i c_j) + shrinkage),

with c_i the users of item i and c_ij those of both; each row keeps its largest entries and nothing on the diagonal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from metatoken.baselines.neighbors import Neighbors, users_by_items
from metatoken.baselines.settings import ItemKNNSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metatoken.data.interactions import Interactions

BLOCK = 1024  # items whose similarities to all others are counted at once


class ItemKNN(Neighbors):
    """See the module's text."""

    name = "item_knn"
    options = ItemKNNSettings

    @classmethod
    def candidates(cls, train: Interactions, settings: ItemKNNSettings) -> Iterator[tuple[ItemKNNSettings, Any]]:
        """See `Neighbors`."""
        matrix = users_by_items(train)
        for shrinkage in settings.shrinkage:
            most = similarities(matrix, shrinkage, max(settings.neighbors))
            for neighbors in settings.neighbors:
                one = replace(settings, shrinkage=(shrinkage,), neighbors=(neighbors,))
                yield one, keep(most, neighbors)


def similarities(matrix: sparse.csr_array, shrinkage: float, k: int) -> sparse.csr_array:
    """W, sparse float32 `[n_items, n_items]`, of who met what `[n_users, n_items]`, k entries a row."""
    users = matrix.tocsc()
    counts = np.asarray(matrix.sum(axis=0), dtype=np.float32)
    parts = []
    for at in range(0, len(counts), BLOCK):
        both = sparse.csr_array(users[:, at : at + BLOCK].T @ matrix)
        row = at + np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
        both.data /= np.sqrt(counts[row] * counts[both.indices]) + np.float32(shrinkage)
        both.data[row == both.indices] = 0.0
        parts.append(keep(both, k))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def keep(matrix: sparse.csr_array, k: int) -> sparse.csr_array:
    """The k largest entries above 0 of each row; among equals those of the lowest columns."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    order = order[(np.arange(len(row)) - matrix.indptr[row] < k) & (matrix.data[order] > 0)]
    kept = sparse.csr_array((matrix.data[order], (row[order], matrix.indices[order])), shape=matrix.shape)
    kept.sort_indices()
    return kept
