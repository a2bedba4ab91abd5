"""The memorization and diversity scores as META ID (Huang et al., ICML 2025) released them, for comparison only.

They do not measure what they are named for, which is why `scores` uses others. Their "adjusted cosine" multiplies
sums, (sum_u d_ui)(sum_u d_uj), where the definition sums products over co-raters; both it and the score's scale favour
representations that are all alike; the diversity grows with the length of the vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metatoken.tokens.quality.memorization import Matrix, pair_cosine

PAIRS = 10_000


def published_memorization(centred: Matrix, x: NDArray[np.float32], seed: int) -> float | None:
    """Mean squared difference of their item similarity, scaled to 0..1, and the cosine of reduced representations.

    With a_i = sum_u d_ui / sqrt(sum_u d_ui^2) and d_ui the rating less the user's mean, their similarity is a_i a_j.
    There is none for users: the deviations from a user's own mean sum to zero, so what the released code compares is
    rounding noise.

    `centred` is `[items, users]`. The released code takes all pairs, this draws 10,000. Smaller is meant to be better;
    `None` where their similarity is the same for all pairs.
    """
    square = np.asarray(centred.multiply(centred).sum(axis=1), np.float64)
    total = np.asarray(centred.sum(axis=1), np.float64)
    a = np.divide(total, np.sqrt(square), out=np.zeros_like(total), where=square > 1e-12)
    if len(a) < 2:
        return None
    # The extreme products of two different entries lie among the ends of the sorted list.
    low = np.sort(a)
    ends = (low[0] * low[1], low[-1] * low[-2], low[0] * low[-1])
    if max(ends) - min(ends) < 1e-9:
        return None
    first, second = _pairs(len(a), seed)
    scaled = (a[first] * a[second] - min(ends)) / (max(ends) - min(ends))
    return float(np.mean((scaled - pair_cosine(_reduced(x), first, second)) ** 2))


def published_diversity(x: NDArray[np.float32], seed: int) -> float | None:
    """Mean symmetric Kullback-Leibler divergence of the softmax of representations, over 10,000 random pairs.

    With p, q the softmax of two rows, (KL(p, q) + KL(q, p)) / 2 = sum (p - q)(log p - log q) / 2. Larger is meant to be
    better; `None` with fewer than two rows.
    """
    if len(x) < 2:
        return None
    first, second = _pairs(len(x), seed)
    z = x.astype(np.float64) - x.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    return float(np.mean(np.sum((p[first] - p[second]) * (log_p[first] - log_p[second]), axis=1)) / 2)


def _pairs(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random pairs of two different rows."""
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=PAIRS)
    return first, (first + rng.integers(1, n, size=PAIRS)) % n


def _reduced(x: NDArray[Any]) -> NDArray[np.float32]:
    """Columns standardised, then the fewest principal components that hold more than 95 % of the variance."""
    x = x.astype(np.float64)
    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    variance, axes = np.linalg.eigh(z.T @ z)
    variance, axes = variance[::-1].clip(min=0), axes[:, ::-1]
    share = np.cumsum(variance) / max(variance.sum(), np.finfo(np.float64).tiny)
    keep = int(np.searchsorted(share, 0.95, side="right")) + 1
    return np.asarray(z @ axes[:, :keep], np.float32)
