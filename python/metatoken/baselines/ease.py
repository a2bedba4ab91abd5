"""ease: the linear autoencoder that is solved in closed form (Steck, WWW 2019).

With X who met what, `P = (X^T X + regularization I)^-1` and

    W = I - P diag(1 / P_jj),

the weights that best say each item of a history by its others. W is dense; each row keeps its largest entries, which
is also what is saved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from metatoken.baselines.neighbors import Neighbors, users_by_items
from metatoken.baselines.settings import EASESettings
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions

BLOCK = 1024  # rows of the weights that are cut at once


class EASE(Neighbors):
    """See the module's text."""

    name = "ease"
    options = EASESettings

    @classmethod
    def candidates(cls, train: Interactions, settings: EASESettings) -> Iterator[tuple[EASESettings, Any]]:
        """See `Neighbors`.

        Raises:
            ArgumentError: The catalogue has more items than the settings allow.
        """
        if train.n_items > settings.max_items:
            need = f"a matrix of {train.n_items:,} items takes {4e-9 * train.n_items**2:.1f} GB"
            said = f"{need}, and max_items allows {settings.max_items:,}; raise it where memory does, or leave ease out"
            raise ArgumentError("train", said)
        matrix = users_by_items(train)
        for regularization in settings.regularization:
            one = replace(settings, regularization=(regularization,))
            yield one, weights(matrix, regularization, settings.neighbors)


def weights(matrix: sparse.csr_array, regularization: float, k: int) -> sparse.csr_array:
    """W, sparse float32 `[n_items, n_items]`, of who met what `[n_users, n_items]`, k entries a row."""
    lower = _inverse(matrix, regularization)
    diagonal, n_items = lower.diagonal().copy(), len(lower)
    parts = []
    for at in range(0, n_items, BLOCK):
        end = min(at + BLOCK, n_items)
        # Rows of P: LAPACK fills the lower triangle, and P is symmetric.
        rows = np.concatenate([lower[at:end, :end], lower[end:, at:end].T], axis=1)
        square = np.tril(rows[:, at:end])
        rows[:, at:end] = square + np.tril(square, -1).T
        rows /= -diagonal
        rows[np.arange(end - at), np.arange(at, end)] = 0.0
        kept = np.argpartition(-np.abs(rows), min(k, n_items - 1), axis=1)[:, :k]
        owners = np.repeat(np.arange(end - at), kept.shape[1])
        values = np.take_along_axis(rows, kept, axis=1).ravel()
        parts.append(sparse.csr_array((values, (owners, kept.ravel())), shape=rows.shape))
    found = sparse.csr_array(sparse.vstack(parts, format="csr"))
    found.sort_indices()
    return found


def _inverse(matrix: sparse.csr_array, regularization: float) -> NDArray[np.float32]:
    """P in the lower triangle of float32 `[n_items, n_items]`, computed in place."""
    gram: NDArray[np.float32] = (matrix.T @ matrix).toarray(order="F")
    gram[np.diag_indices(len(gram))] += np.float32(regularization)
    gram, failed = lapack.spotrf(gram, lower=1, clean=0, overwrite_a=1)
    if not failed:
        gram, failed = lapack.spotri(gram, lower=1, overwrite_c=1)
    if failed:
        raise ArgumentError("regularization", f"{regularization:g} is too small for this log; give a larger one")
    return gram
