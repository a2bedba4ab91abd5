"""How good vectors are, before anything is built on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from metatoken.data.links import Links
from metatoken.data.ragged import check_rows
from metatoken.errors import ArgumentError
from metatoken.tokens.vectors.skipgram import Embeddings

if TYPE_CHECKING:
    from metatoken.data import Sequences

# Similarities that are held at once.
_AT_ONCE = 1 << 25


def link_auc(
    embeddings: Embeddings,
    users: ArrayLike,
    items: ArrayLike,
    seed: int = 0,
    *,
    known: Sequences | None = None,
    negatives: int | Literal["all"] = "all",
) -> float:
    """Probability that a held-out item is closer to its user than an item that the user never met.

    Closeness is the cosine; a tie counts one half. With `negatives="all"` each held-out pair (u, i) is compared with
    every non-edge of u, that is every item but those of `known` and the held-out ones of u: its term is the normalised
    rank `(#{closer to u are fewer} + #{ties} / 2) / #{non-edges}`, and the result is the mean of the terms. Exact.

    Args:
        embeddings: Users and items in one space.
        users: User rows, int `[m]`.
        items: The held-out item row of each, int `[m]`; not part of the training edges.
        seed: Seed of a sample of negatives.
        known: Items of each user that are no negatives: the training history.
        negatives: `"all"` non-edges, or this many drawn uniformly from them for each pair (with replacement).

    Raises:
        ArgumentError: No pair, unequal lengths, a row out of range, fewer than one negative; or no user has a non-edge.
    """
    user_rows, item_rows = _pairs(embeddings, users, items)
    if negatives != "all" and negatives < 1:
        raise ArgumentError("negatives", f"expected 'all' or at least 1, got {negatives}")
    order = np.argsort(user_rows, kind="stable")
    user_rows, item_rows = user_rows[order], item_rows[order]
    edges = _edges(embeddings, user_rows, item_rows, known)
    if negatives == "all":
        wins = _wins_over_all(embeddings, user_rows, item_rows, edges)
    else:
        wins = _wins_over_sample(embeddings, user_rows, item_rows, edges, negatives, seed)
    if np.isnan(wins).all():
        said = "every item is an edge of every user asked for, so nothing is left to compare with"
        raise ArgumentError("items", said)
    return float(np.nanmean(wins))


class GroupQuality(NamedTuple):
    """Share of the k nearest rows that share a group with the row, and that of rows drawn at random.

    Both are means over the `rows` that have a group.
    """

    same: float
    chance: float
    rows: int


def same_group_at(vectors: ArrayLike, groups: ArrayLike, k: int = 10) -> float:
    """`group_quality(...).same` where the group of each row is an integer, `[n]`; rows with a negative one have none.

    Raises:
        ArgumentError: Shapes disagree, or there are not more than k rows.
    """
    points, labels = np.asarray(vectors), np.asarray(groups)
    if points.ndim != 2 or labels.shape != (len(points),):
        raise ArgumentError("groups", f"expected one per row of vectors {points.shape}, got {labels.shape}")
    rows = np.flatnonzero(labels >= 0).astype(np.int32)
    names, values = np.unique(labels[rows], return_inverse=True)
    links = Links("item", rows, values.astype(np.int32), tuple(map(str, names)))
    return group_quality(points, links, k).same


def group_quality(vectors: ArrayLike, groups: Links, k: int = 10) -> GroupQuality:
    """Whether the k nearest rows by cosine share a group with the row, itself left out.

    Args:
        vectors: float `[n, dim]`.
        groups: Groups of the rows; rows without any are neither asked nor found.
        k: Neighbours per row.

    Raises:
        ArgumentError: A row is out of range, or not more than k rows have a group.
    """
    points = np.asarray(vectors)
    if len(groups) and int(groups.rows.max()) >= len(points):
        raise ArgumentError("groups", f"expected rows in 0..{len(points)}, got {groups.rows.max()}")
    rows, place = np.unique(groups.rows, return_inverse=True)
    if not 1 <= k < len(rows):
        raise ArgumentError("k", f"expected a number from 1 to {len(rows) - 1} (rows with a group - 1), got {k}")
    shape = (len(rows), len(groups.names))
    member = sparse.coo_array((np.ones(len(groups)), (place, groups.values)), shape=shape).tocsr()
    points = _normalised(points[rows])
    hits, friends = 0, 0
    block = max(1, _AT_ONCE // len(points))
    for begin in range(0, len(points), block):
        similar = points[begin : begin + block] @ points.T
        asked = np.arange(len(similar))
        similar[asked, begin + asked] = -np.inf
        nearest = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        mine = member[begin : begin + len(similar)]
        both = mine[np.repeat(asked, k)].multiply(member[nearest.ravel()])
        hits += int((both.sum(axis=1) > 0).sum())
        friends += int((mine @ member.T).count_nonzero()) - len(similar)
    n = len(points)
    return GroupQuality(hits / (n * k), friends / (n * (n - 1)), n)


def _pairs(embeddings: Embeddings, users: ArrayLike, items: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    user_rows, item_rows = np.asarray(users), np.asarray(items)
    if user_rows.shape != item_rows.shape or user_rows.ndim != 1 or user_rows.size == 0:
        raise ArgumentError("users", f"expected as many users as items, at least one, got {user_rows.shape}")
    if embeddings.n_items < 2:
        raise ArgumentError("embeddings", f"expected at least 2 items, got {embeddings.n_items}")
    return check_rows(user_rows, embeddings.n_users), check_rows(item_rows, embeddings.n_items, "items")


def _edges(
    embeddings: Embeddings, users: NDArray[np.int64], items: NDArray[np.int64], known: Sequences | None
) -> sparse.csr_array:
    """What each user met, known or held out, as a 0/1 matrix `[n_users, n_items]`."""
    if known is not None:
        users = np.concatenate([users, known.owners])
        items = np.concatenate([items, known.items])
    shape = (embeddings.n_users, embeddings.n_items)
    matrix = sparse.coo_array((np.ones(len(users)), (users, items)), shape=shape).tocsr()
    matrix.sort_indices()
    return matrix


def _wins_over_all(
    embeddings: Embeddings, users: NDArray[np.int64], items: NDArray[np.int64], edges: sparse.csr_array
) -> NDArray[np.float64]:
    """Normalised rank of each held-out pair among the non-edges of its user, NaN without any; pairs sorted by user."""
    unit_users, unit_items = _normalised(embeddings.users), _normalised(embeddings.items)
    free = embeddings.n_items - np.diff(edges.indptr)
    wins = np.full(len(users), np.nan)
    block = max(1, _AT_ONCE // embeddings.n_items)
    for begin in range(0, len(users), block):
        part = slice(begin, begin + block)
        asked, place = np.unique(users[part], return_inverse=True)
        scores = unit_users[asked] @ unit_items.T
        of_pair = scores[place, items[part]]
        # An edge is no negative: NaN is neither less nor equal.
        met = edges[asked].tocoo()
        scores[met.row, met.col] = np.nan
        for pair, (row, score) in enumerate(zip(place, of_pair, strict=True), start=begin):
            less, ties = np.count_nonzero(scores[row] < score), np.count_nonzero(scores[row] == score)
            if free[users[pair]]:
                wins[pair] = (less + ties / 2) / free[users[pair]]
    return wins


def _wins_over_sample(
    embeddings: Embeddings,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    edges: sparse.csr_array,
    count: int,
    seed: int,
) -> NDArray[np.float64]:
    """The same against a sample of the non-edges.

    With the edges e_0 < e_1 < ... of a user, non-edge number r is item r + j, j the number of k with e_k - k <= r.
    """
    unit_users, unit_items = _normalised(embeddings.users), _normalised(embeddings.items)
    degrees, n = np.diff(edges.indptr), embeddings.n_items
    shifted = edges.indices - (np.arange(edges.nnz) - np.repeat(edges.indptr[:-1], degrees))
    keys = np.repeat(np.arange(len(degrees)), degrees) * np.int64(n + 1) + shifted
    rng = np.random.default_rng(seed)
    wins = np.full(len(users), np.nan)
    block = max(1, _AT_ONCE // (count * unit_items.shape[1]))
    for begin in range(0, len(users), block):
        part = slice(begin, begin + block)
        row, free = users[part, None], (n - degrees)[users[part], None]
        rank = (rng.random((len(row), count)) * free).astype(np.int64)
        drawn = rank + np.searchsorted(keys, row * np.int64(n + 1) + rank, side="right") - edges.indptr[row]
        mine = unit_users[users[part]]
        score = np.einsum("md,md->m", mine, unit_items[items[part]])[:, None]
        other = np.einsum("md,mkd->mk", mine, unit_items[np.minimum(drawn, n - 1)])
        found = ((other < score) + (other == score) / 2).mean(axis=1)
        wins[part] = np.where(free[:, 0] > 0, found, np.nan)
    return wins


def _normalised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    points = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return np.asarray(points / norms, dtype=np.float32)
