"""How good vectors are, before anything is built on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken.errors import ArgumentError
from metatoken.tokens.skipgram import Embeddings

# Rows whose similarities to all others are held at once.
_BLOCK = 1024


def link_auc(embeddings: Embeddings, users: ArrayLike, items: ArrayLike, seed: int = 0) -> float:
    """Probability that a held-out item is closer to its user than a random item is.

    Closeness is the cosine; a tie counts one half. Every pair is compared with one item drawn uniformly from the
    others. 0.5 is chance; the standard error is at most `0.5 / sqrt(m)`.

    Args:
        embeddings: Users and items in one space.
        users: User rows, int `[m]`.
        items: The held-out item row of each, int `[m]`; not part of the training edges.
        seed: Seed of the random items.

    Raises:
        ArgumentError: No pair, unequal lengths, a row out of range, or fewer than two items.
    """
    user_rows, item_rows = np.asarray(users), np.asarray(items)
    if user_rows.shape != item_rows.shape or user_rows.ndim != 1 or user_rows.size == 0:
        raise ArgumentError("users", f"expected as many users as items, at least one, got {user_rows.shape}")
    if embeddings.n_items < 2:
        raise ArgumentError("embeddings", f"expected at least 2 items, got {embeddings.n_items}")
    for name, rows, count in (("users", user_rows, embeddings.n_users), ("items", item_rows, embeddings.n_items)):
        if rows.min() < 0 or rows.max() >= count:
            raise ArgumentError(name, f"expected rows in 0..{count}, got {rows.min()}..{rows.max()}")
    rng = np.random.default_rng(seed)
    others = rng.integers(0, embeddings.n_items - 1, size=item_rows.size)
    others += others >= item_rows
    user_vectors = _normalised(embeddings.users)[user_rows]
    item_vectors = _normalised(embeddings.items)
    held_out = np.einsum("md,md->m", user_vectors, item_vectors[item_rows])
    random = np.einsum("md,md->m", user_vectors, item_vectors[others])
    return float(np.mean((held_out > random) + 0.5 * (held_out == random)))


def same_group_at(vectors: ArrayLike, groups: ArrayLike, k: int = 10) -> float:
    """Share of the k nearest rows by cosine that belong to the row's own group, averaged over rows.

    Args:
        vectors: float `[n, dim]`.
        groups: Group of each row, int `[n]`; rows with a negative group are neither asked nor found.
        k: Neighbours per row, itself left out.

    Raises:
        ArgumentError: Shapes disagree, or there are not more than k rows.
    """
    points, labels = np.asarray(vectors), np.asarray(groups)
    if points.ndim != 2 or labels.shape != (len(points),):
        raise ArgumentError("groups", f"expected one per row of vectors {points.shape}, got {labels.shape}")
    points, labels = _normalised(points[labels >= 0]), labels[labels >= 0]
    if not 1 <= k < len(points):
        raise ArgumentError("k", f"expected a number from 1 to {len(points) - 1} (rows with a group - 1), got {k}")
    hits = 0
    for begin in range(0, len(points), _BLOCK):
        similar = points[begin : begin + _BLOCK] @ points.T
        rows = np.arange(len(similar))
        similar[rows, begin + rows] = -np.inf
        nearest = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        hits += int((labels[nearest] == labels[begin + rows, None]).sum())
    return hits / (len(points) * k)


def _normalised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    points = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return np.asarray(points / norms, dtype=np.float32)
