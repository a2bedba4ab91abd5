"""Vectors for users who are known only by their items: a ridge map from the mean item vector to the user vector.

With m_u the mean vector of the items of training user u and v_u the user's own vector, both less their means over the
training users (rows of M and V), the map W minimises

    |M W - V|^2 + ridge |W|^2,   whose gradient 2 M'(M W - V) + 2 ridge W is zero at   W = (M'M + ridge I)^-1 M'V.

The ridge is a thousandth of the mean of the diagonal of M'M, so that the unit of the vectors does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metatoken.config import expect
from metatoken.data import Sequences

RIDGE = 1e-3
ROWS_AT_ONCE = 1 << 14
SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class FoldIn:
    """Map from a mean item vector to a user vector: `m @ weight + bias`, float32 `[dim, dim]` and `[dim]`.

    A user of whom nothing is known has the vector `mean_user`, float32 `[dim]`.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    mean_user: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        users: NDArray[np.float32],
        items: NDArray[np.float32],
        trained_users: NDArray[np.bool_],
        trained_items: NDArray[np.bool_],
    ) -> Self:
        """Fit the map on users with a trained vector and at least one trained item among their training items.

        Vectors are float32 `[n, dim]`, `trained_*` bool `[n]`, both by row.
        """
        means, known = mean_items(sequences, items, trained_items)
        known &= trained_users
        if not known.any():
            return cls.identity(items, trained_items)
        m, v = means[known], users[known].astype(np.float64)
        centre_m, centre_v = m.mean(axis=0), v.mean(axis=0)
        m -= centre_m
        v -= centre_v
        gram = _product(m, m)
        ridge = RIDGE * max(float(np.trace(gram)) / len(gram), SMALLEST)
        weight = np.linalg.solve(gram + ridge * np.eye(len(gram)), _product(m, v)).astype(np.float64)
        bias = centre_v - _product(centre_m[:, None], weight)[0]
        return cls(weight.astype(np.float32), bias.astype(np.float32), centre_v.astype(np.float32))

    @classmethod
    def identity(cls, items: NDArray[np.float32], trained_items: NDArray[np.bool_]) -> Self:
        """The map where there are no users to learn from: a user is the mean of their items."""
        dim = items.shape[1]
        some = items[trained_items] if trained_items.any() else items
        mean = some.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(np.eye(dim, dtype=np.float32), np.zeros(dim, np.float32), mean)

    def __call__(
        self, sequences: Sequences, items: NDArray[np.float32], trained_items: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Vectors of users by their items, float32 `[len(sequences), dim]`."""
        expect("sequences", sequences, Sequences)
        means, known = mean_items(sequences, items, trained_items)
        x = np.empty(means.shape, np.float32)
        weight, bias = self.weight.astype(np.float64), self.bias.astype(np.float64)
        for begin in range(0, len(means), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            x[part] = np.einsum("ni,ij->nj", means[part], weight) + bias
        x[~known] = self.mean_user
        return x


def mean_items(
    sequences: Sequences, items: NDArray[np.float32], trained_items: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean vector of each user's trained items, float64 `[n_users, dim]`, zero without any; and who has some, bool."""
    weight = trained_items[sequences.items].astype(np.float64)
    shape = (len(sequences), len(items))
    matrix = sparse.csr_array((weight, sequences.items, sequences.offsets), shape=shape)
    count = np.asarray(matrix.sum(axis=1), np.float64)
    means: NDArray[np.float64] = (matrix @ items.astype(np.float64)) / np.maximum(count, 1.0)[:, None]
    return means, count > 0


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`a.T @ b` by NumPy's own loops: BLAS sums in an order that depends on its number of threads."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for begin in range(0, len(a), ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        total += np.einsum("ni,nj->ij", a[part], b[part])
    return total
