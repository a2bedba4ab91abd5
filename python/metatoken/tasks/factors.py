"""Factors of what biases leave over of ratings, by alternating least squares.

With `e_ui` what is left over of a rating, `p_u . q_i` is fitted to it by minimising

    sum_ui (e_ui - p_u . q_i)^2 + lambda (sum_u n_u |p_u|^2 + sum_i n_i |q_i|^2)

(Zhou et al., "Large-scale parallel collaborative filtering for the Netflix prize", 2008): with the factors of all items
fixed, those of a user are a ridge regression over the `n_u` ratings of that user, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    Float64 = NDArray[np.float64]

FACTORS, SWEEPS = 32, 8
ROWS = 1 << 14  # ratings that are solved together
START = 0.1  # standard deviation of the first factors of items


@dataclass(frozen=True)
class RatingFactors:
    """`p_u` and `q_i`.

    Attributes:
        user: float32 `[n_users, k]`, zeros for users without ratings.
        item: float32 `[n_items, k]`.
    """

    user: NDArray[np.float32]
    item: NDArray[np.float32]

    @classmethod
    def fit(cls, left: sparse.csr_array, regularization: float, *, seed: int = 0) -> Self:
        """Fits the factors.

        Args:
            left: What is left over of each training rating, `[n_users, n_items]`.
            regularization: `lambda`, above 0.
            seed: Seed of where the factors of items begin.
        """
        n_items = left.shape[1]
        item = np.random.default_rng(seed).normal(scale=START, size=(n_items, FACTORS))
        by_item = left.T.tocsr()
        for _ in range(SWEEPS):
            user = _solved(left, item, regularization)
            item = _solved(by_item, user, regularization)
        return cls(user.astype(np.float32), item.astype(np.float32))

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Products float64 `[n]` of user rows `[n]` and item rows `[n]`."""
        found: Float64 = np.einsum("nk,nk->n", self.user[users], self.item[items]).astype(np.float64)
        return found

    def grown(self, n_users: int, n_items: int) -> Self:
        """Zeros behind what is there, for users and items that have come since."""
        sides = (self.user, n_users), (self.item, n_items)
        return type(self)(*(np.pad(rows, ((0, n - len(rows)), (0, 0))) for rows, n in sides))


def _solved(left: sparse.csr_array, other: Float64, regularization: float) -> Float64:
    """The best factors of the rows of `left`, the factors of its columns `[columns, k]` being given.

    With `X` the factors of what a row rated, `n` of them, `(X^T X + r I)^-1 X^T e = X^T (X X^T + r I)^-1 e`. The second
    is the smaller system where `n <= k`, as in most rows of most logs, and rows of one length are solved together.
    """
    n_factors = other.shape[1]
    found, lengths = np.zeros((left.shape[0], n_factors)), np.diff(left.indptr)
    for n in np.unique(lengths[lengths > 0]).tolist():
        rows = np.flatnonzero(lengths == n)
        for part in np.array_split(rows, -(-len(rows) * n // ROWS)):
            at = left.indptr[part][:, None] + np.arange(n)
            x, e = other[left.indices[at]], left.data[at][:, :, None]
            turned, penalty = x.transpose(0, 2, 1), regularization * n
            if n <= n_factors:
                solved = turned @ np.linalg.solve(x @ turned + penalty * np.eye(n), e)
            else:
                solved = np.linalg.solve(turned @ x + penalty * np.eye(n_factors), turned @ e)
            found[part] = solved[:, :, 0]
    return found
