"""Memorization: do representations that are close belong to ids that the log says are close?

The reference is a similarity of pairs of rows of the training log. With ratings it is the adjusted cosine over
co-raters (Sarwar et al., WWW 2001): for items i, j and the users U who rated both, with m_u the mean rating of u,

    s_ij = sum_U (r_ui - m_u)(r_uj - m_u) / sqrt( sum_U (r_ui - m_u)^2  sum_U (r_uj - m_u)^2 ).

For users the roles swap: m_i is the mean rating of the item. Without ratings it is the co-occurrence cosine
|U_i and U_j| / sqrt(|U_i| |U_j|). Only pairs with a minimum number of co-raters have a reference worth comparing with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metatoken.data.ragged import join
from metatoken.tokens.vectors.matrix import unit_rows

Matrix = sparse.csr_array[Any, tuple[int, int]]
Rows = NDArray[np.int64]

ADJUSTED_COSINE = "adjusted cosine"
COOCCURRENCE = "co-occurrence cosine"

# Co-occurrences to look at before pairs are drawn: about 2 s, 300 MB.
BUDGET = 10_000_000
BLOCK = 1_000_000
PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Memorization:
    """Agreement of a reference similarity with the cosine of representations, over pairs of one kind.

    Attributes:
        reference: `"adjusted cosine"` or `"co-occurrence cosine"`.
        pairs: Number of pairs compared.
        spearman: Rank correlation, -1 to 1; `None` with fewer than two pairs or where all values are equal.
        auc: Chance that a similar pair has the larger cosine than a dissimilar one (.5: no memory). Similar and
            dissimilar are positive and not positive adjusted cosine; without ratings, pairs that co-occur and the
            same ids paired at random so that they never do. `None` where one side is empty.
    """

    reference: str
    pairs: int
    spearman: float | None
    auc: float | None


def memorization(
    binary: Matrix, centred: Matrix | None, x: NDArray[np.float32], *, min_support: int, max_pairs: int, seed: int
) -> Memorization:
    """Compare a log (both `scores.log_matrices`) with representations of its rows, float32 `[n, dim]`."""
    rng = np.random.default_rng(seed)
    first, second, support = supported_pairs(binary, min_support, max_pairs, rng)
    cosines = pair_cosine(x, first, second)
    if centred is None:
        degree = np.diff(binary.indptr).astype(np.float64)
        reference = support / np.sqrt(degree[first] * degree[second])
        # The same ids, paired anew: their popularity is equal, so popularity alone cannot tell the two sides apart.
        other = rng.permutation(second)
        apart = (first != other) & (pair_products(binary, binary, first, other) == 0)
        auc_ = auc(cosines, pair_cosine(x, first[apart], other[apart]))
        return Memorization(COOCCURRENCE, len(first), spearman(reference, cosines), auc_)
    reference = adjusted_cosine(binary, centred, first, second)
    known = np.isfinite(reference)
    reference, cosines = reference[known], cosines[known]
    similar = reference > 0
    auc_ = auc(cosines[similar], cosines[~similar])
    return Memorization(ADJUSTED_COSINE, len(reference), spearman(reference, cosines), auc_)


def supported_pairs(
    binary: Matrix, min_support: int, max_pairs: int, rng: np.random.Generator, budget: int = BUDGET
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of rows with enough columns in common: first row, second row, support, int64 `[pairs]`, each pair once.

    Row i meets sum of degree(column) others; where all rows together would meet more than `budget`, a random part of
    them is taken, each with all its partners.
    """
    n = binary.shape[0]
    weight = np.bincount(binary.indices, minlength=binary.shape[1])
    cost = binary @ weight
    order = rng.permutation(n)
    anchors = np.sort(order[: max(1, int(np.searchsorted(np.cumsum(cost[order]), budget, side="right")))])
    is_anchor = np.zeros(n, bool)
    is_anchor[anchors] = True
    transposed = binary.T.tocsr()
    parts: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
    cuts = np.flatnonzero(np.diff(np.cumsum(cost[anchors]) // BLOCK)) + 1
    for rows in np.split(anchors, cuts):
        met = (binary[rows] @ transposed).tocoo()
        i, j = rows[met.coords[0]], met.coords[1].astype(np.int64)
        keep = (met.data >= min_support) & (i != j) & (~is_anchor[j] | (i < j))
        parts.append(np.stack([i[keep], j[keep], met.data[keep].astype(np.int64)]))
    pairs = np.concatenate(parts, axis=1)
    pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    if pairs.shape[1] > max_pairs:
        pairs = pairs[:, np.sort(rng.choice(pairs.shape[1], max_pairs, replace=False))]
    return pairs[0], pairs[1], pairs[2]


def adjusted_cosine(
    binary: Matrix, centred: Matrix, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Adjusted cosine of pairs of rows over the columns they share, float64 `[pairs]`; NaN where it is 0/0."""
    squares = centred.multiply(centred).tocsr()
    product = pair_products(centred, centred, first, second)
    # `squares` times `binary` sums one side's squares over the shared columns only.
    left = pair_products(squares, binary, first, second)
    right = pair_products(binary, squares, first, second)
    scale = np.sqrt(left * right)
    # A rating at its column's mean leaves rounding noise of 1e-16, not a zero; and pairs with one co-rater all have a
    # similarity of exactly 1 or -1, whose ties must not be broken by noise either.
    known = scale > 1e-9
    return np.where(known, np.round(product / np.where(known, scale, 1.0), 9), np.nan)


def pair_products(a: Matrix, b: Matrix, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dot products of row `first[k]` of `a` with row `second[k]` of `b`, float64 `[pairs]`."""
    return _by_parts(lambda i, j: np.asarray(a[i].multiply(b[j]).sum(axis=1), np.float64), first, second)


def pair_cosine(x: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cosine of pairs of rows, float64 `[pairs]`; 0 where a row is zero."""
    unit = unit_rows(x)
    return _by_parts(lambda i, j: np.einsum("pd,pd->p", unit[i], unit[j]), first, second)


def _by_parts(product: Callable[[Rows, Rows], NDArray[np.float64]], first: Rows, second: Rows) -> NDArray[np.float64]:
    begins = range(0, len(first), PAIRS_AT_ONCE)
    return join([product(first[n : n + PAIRS_AT_ONCE], second[n : n + PAIRS_AT_ONCE]) for n in begins], np.float64)


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Rank correlation with mean ranks for ties; `None` where it is not defined."""
    if len(a) < 2:
        return None
    ranks = [mean_ranks(v) - (len(v) + 1) / 2 for v in (a, b)]
    scale = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / scale if scale > 0 else None


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float | None:
    """Chance that a positive exceeds a negative, ties counting half (Mann-Whitney); `None` where a side is empty.

    The ranks of the positives among all sum to (pairs won) + (ranks among themselves), P (P + 1) / 2.
    """
    p, n = len(positive), len(negative)
    if p == 0 or n == 0:
        return None
    ranks = mean_ranks(np.concatenate([positive, negative]))
    return float((ranks[:p].sum() - p * (p + 1) / 2) / (p * n))


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs (scipy.stats has this, but takes 1 s to import)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
