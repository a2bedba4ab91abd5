"""What a user gave to items near the one that is asked about, and what users near this one gave to it.

Both are one routine over a matrix `e` of what biases leave over, and its transpose. Two columns are as near as what is
left over there is alike for those who rated both, `R`, shrunk where these are few (Koren 2008):

    s_ij = max(0, sum_R e_ui e_uj / sqrt(sum_R e_ui^2 sum_R e_uj^2)) * |R| / (|R| + shrinkage)

and the nearest of what a user rated speak for an item by `sum_j s_ij e_uj / (damping + sum_j s_ij)`.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy import sparse

    Float64 = NDArray[np.float64]

NEAREST, SHRINKAGE, DAMPING = 40, 30.0, 2.0
CELLS = 1 << 22  # of a block of nearness
MOST, WIDEST = 2_000_000, 50_000  # ratings, and columns, above which comparing takes too long


class Neighbourhood:
    """Near columns of a matrix.

    Args:
        left: What is left over of each training rating, float32 `[n_rows, n_columns]`: users by items for near items,
            its transpose for near users.
    """

    def __init__(self, left: sparse.csr_array) -> None:
        self.left = left

    @property
    def is_affordable(self) -> bool:
        """Whether the matrix is small enough to compare its columns."""
        return self.left.nnz <= MOST and self.left.shape[1] <= WIDEST

    def predict(self, rows: NDArray[Any], columns: NDArray[Any]) -> Float64:
        """What near columns say, float64 `[n]`; 0 where none is near, and never by the cell itself.

        Args:
            rows: int `[n]`, who is asked about.
            columns: int `[n]`, what.
        """
        found = np.zeros(len(rows))
        pointers, indices, values = self.left.indptr, self.left.indices, self.left.data
        order = np.argsort(columns, kind="stable")
        for begin, near in self._blocks(columns[order]):
            for place, of in enumerate(near, begin):
                at = order[place]
                here = slice(pointers[rows[at]], pointers[rows[at] + 1])
                weights, own = of[indices[here]], values[here]
                if len(weights) > NEAREST:
                    chosen = np.argpartition(-weights, NEAREST)[:NEAREST]
                    weights, own = weights[chosen], own[chosen]
                found[at] = float(weights @ own) / (float(weights.sum()) + DAMPING)
        return found

    def _blocks(self, columns: NDArray[Any]) -> Iterator[tuple[int, Iterator[NDArray[np.float32]]]]:
        """For sorted columns, the place that each block begins at, and the nearness of all columns to each of it."""
        names, starts = np.unique(columns, return_index=True)
        ends = np.append(starts[1:], len(columns))
        step = max(1, CELLS // max(1, self.left.shape[1]))
        for at in range(0, len(names), step):
            part = slice(at, at + step)
            near = self._near(names[part])
            times = (ends[part] - starts[part]).tolist()
            yield int(starts[at]), chain.from_iterable(repeat(one, n) for one, n in zip(near, times, strict=True))

    def _near(self, columns: NDArray[Any]) -> NDArray[np.float32]:
        """Nearness of columns to all, float32 `[len(columns), n_columns]`; none of a column to itself."""
        values, squares, ones = self._powers
        own, own_squares, own_ones = (one[columns] for one in self._turned)
        both = (own_ones @ ones).toarray()
        power = (own_squares @ ones).toarray() * (own_ones @ squares).toarray()
        alike = (own @ values).toarray().clip(min=0)
        near: NDArray[np.float32] = alike / np.sqrt(np.maximum(power, 1e-12)) * (both / (both + np.float32(SHRINKAGE)))
        near[np.arange(len(columns)), columns] = 0
        return near

    @cached_property
    def _powers(self) -> tuple[sparse.csr_array, ...]:
        """The matrix, its squares, and ones where it has a value."""
        parts = (self.left.copy() for _ in range(3))
        found = []
        for power, part in zip((1, 2, 0), parts, strict=True):
            part.data = part.data**power
            found.append(part)
        return tuple(found)

    @cached_property
    def _turned(self) -> tuple[sparse.csr_array, ...]:
        return tuple(one.T.tocsr() for one in self._powers)
