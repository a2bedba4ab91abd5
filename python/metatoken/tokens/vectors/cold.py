"""Vectors for ids with few or no training edges, and where each vector came from.

*Neighbours*: an id shares things with others: users shared items, items shared users, and both the values of their
attributes. Each shared thing stands for the mean vector of the other ids that have it, and the id gets the mean over
its things. *Features*: a ridge map from given features (such as text vectors) to the vectors of walked ids. With
centred features X and vectors Y, `X'X = V S V'` and `Z = X V`, the ridge `r` predicts

    Y_hat = Z (S + r)^-1 Z'Y,   h_i = 1 / n + sum over j of Z_ij^2 / (S_j + r),

and the residual of row i when the map is fitted without row i is `(Y - Y_hat)_i / (1 - h_i)`, exactly. The ridge with
the least sum of those squares is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from metatoken.config import expect
from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.settings import COLD, TokenSettings
from metatoken.tokens.vectors.matrix import check_scale
from metatoken.tokens.vectors.skipgram import Embeddings

if TYPE_CHECKING:
    from metatoken.data import Interactions

ORIGINS = ("none", "walked", "given", "neighbours", "features")
NONE, WALKED, GIVEN, NEIGHBOURS, FEATURES = range(len(ORIGINS))
# Ridges tried, in units of the mean of S.
RIDGES = np.logspace(-5, 3, 17)
ROWS_AT_ONCE = 1 << 13
# Mapped vectors keep this many bits, so that the rounding of LAPACK, which varies with its threads, does not show.
BITS = 14


class Filled(NamedTuple):
    """Vectors of all ids.

    Attributes:
        vectors: float32 `[n_entities, dim]`, users first; a row without any source has the mean vector of its kind.
        trained: Whether the vector is the id's own (walked or given), bool `[n_entities]`.
        origins: Place in `ORIGINS` of each row, uint8 `[n_entities]`.
        report: Figures of the feature map, if there is one.
    """

    vectors: NDArray[np.float32]
    trained: NDArray[np.bool_]
    origins: NDArray[np.uint8]
    report: dict[str, Any]

    def after(self, n_users: int) -> Filled:
        """Those of the items alone."""
        return Filled(self.vectors[n_users:], self.trained[n_users:], self.origins[n_users:], self.report)


def fill(
    embeddings: Embeddings,
    train: Interactions,
    links: Mapping[str, Links],
    settings: TokenSettings | None = None,
    *,
    features: ArrayLike | None = None,
    given: bool = False,
    **fields: Any,
) -> Filled:
    """Give every id a vector.

    Args:
        embeddings: Vectors of the rows of `train`.
        train: Training interactions.
        links: Attributes of users and items.
        settings: Ready settings, of which `cold` and `min_edges` count.
        features: Features of each item, real numbers `[n_items, f]`; rows with a NaN have none. They come first.
        given: Whether the embeddings were given, not walked.
        **fields: Single settings over the ready ones.

    Raises:
        ArgumentError: No row has a vector; a setting is out of range; features do not fit.
    """
    expect("embeddings", embeddings, Embeddings)
    if (embeddings.n_users, embeddings.n_items) != (train.n_users, train.n_items):
        sizes = f"{embeddings.n_users} users and {embeddings.n_items} items"
        raise ArgumentError("embeddings", f"expected {train.n_users} users and {train.n_items} items, got {sizes}")
    if not embeddings.trained.any():
        raise ArgumentError("embeddings", "no user or item has a vector; the training log has no edge to walk")
    chosen = TokenSettings.of(settings, fields, COLD)
    if chosen.min_edges and chosen.cold == "none" and features is None:
        raise ArgumentError("min_edges", f"got {chosen.min_edges}; it needs cold='neighbours' or features")
    n = embeddings.n_users
    users, items = (train.frame[name].to_numpy() for name in ("user", "item"))
    edges = np.concatenate([np.bincount(users, minlength=n), np.bincount(items, minlength=embeddings.n_items)])
    warm = embeddings.trained & (edges >= chosen.min_edges)
    if not warm.any():
        raise ArgumentError("min_edges", f"no id has as many as {chosen.min_edges} training interactions")
    vectors = embeddings.vectors.copy()
    origins = np.where(embeddings.trained, GIVEN if given else WALKED, NONE).astype(np.uint8)
    left, report = ~warm, {}
    if features is not None:
        map_, known = _feature_map(features, vectors[n:], warm[n:])
        rows = np.flatnonzero(left[n:] & known) + n
        vectors[rows] = map_(np.asarray(features)[rows - n])
        origins[rows], left[rows] = FEATURES, False
        report = {"ridge": map_.ridge, "error": map_.error, "error_of_mean": map_.error_of_mean}
    if chosen.cold == "neighbours":
        rows, found = _from_neighbours(vectors, warm, left, _things(users, items, links, n, embeddings.n_items))
        vectors[rows], origins[rows], left[rows] = found, NEIGHBOURS, False
    _fill_with_means(vectors, warm, left & ~embeddings.trained, n)
    return Filled(vectors, np.isin(origins, (WALKED, GIVEN)), origins, report)


def count_origins(origins: NDArray[np.uint8], n_users: int) -> dict[str, dict[str, int]]:
    """How many users and items have their vector from where: `{"users": {"walked": ...}, "items": {...}}`."""
    parts = {"users": origins[:n_users], "items": origins[n_users:]}
    return {
        kind: {name: int(count) for place, name in enumerate(ORIGINS) if (count := (part == place).sum())}
        for kind, part in parts.items()
    }


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Ridge regression from features to vectors: `(x - centre) @ weight + mean`; float64 `[f]`, `[f, dim]`, `[dim]`.

    The errors are mean squared distances to the vectors, of the map where a row is left out and of the mean vector.
    """

    centre: NDArray[np.float64]
    weight: NDArray[np.float64]
    mean: NDArray[np.float64]
    ridge: float
    error: float
    error_of_mean: float

    @classmethod
    def fit(cls, x: NDArray[Any], y: NDArray[Any], ridges: NDArray[np.float64] = RIDGES) -> Self:
        """Fit on finite features `[n, f]`, n at least 2, and vectors `[n, dim]`; see the module.

        The ridges to choose from are in units of the mean of S.
        """
        n = len(x)
        parts = [slice(begin, begin + ROWS_AT_ONCE) for begin in range(0, n, ROWS_AT_ONCE)]
        centre: NDArray[np.float64] = x.mean(axis=0, dtype=np.float64)
        mean: NDArray[np.float64] = y.mean(axis=0, dtype=np.float64)
        gram = sum((x[p] - centre).T @ (x[p] - centre) for p in parts)
        cross = sum((x[p] - centre).T @ (y[p] - mean) for p in parts)
        power, turn = np.linalg.eigh(gram)
        power = np.clip(power, 0.0, None)
        tried = ridges * max(float(power.mean()), float(np.finfo(np.float32).tiny))
        turned = turn.T @ cross
        errors, apart = np.zeros(len(tried)), 0.0
        for p in parts:
            z, target = (x[p] - centre) @ turn, y[p] - mean
            apart += float((target**2).sum())
            for k, ridge in enumerate(tried):
                lever = 1 / n + (z**2 / (power + ridge)).sum(axis=1)
                residual = target - (z / (power + ridge)) @ turned
                errors[k] += float(((residual / np.maximum(1 - lever, 1e-9)[:, None]) ** 2).sum())
        best = int(np.argmin(errors))
        weight = turn @ (turned / (power + tried[best])[:, None])
        # Leaving row i out of the mean stretches its distance by n / (n - 1).
        return cls(centre, weight, mean, float(tried[best]), errors[best] / n, apart / n * (n / (n - 1)) ** 2)

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to save, by name."""
        numbers = np.array([self.ridge, self.error, self.error_of_mean])
        return {"centre": self.centre, "weight": self.weight, "mean": self.mean, "numbers": numbers}

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, NDArray[np.float64]]) -> Self:
        """Rebuilds what `tensors` gave."""
        return cls(arrays["centre"], arrays["weight"], arrays["mean"], *arrays["numbers"].tolist())

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Vectors of features `[m, f]`, float32 `[m, dim]`."""
        y = (np.asarray(x, np.float64) - self.centre) @ self.weight + self.mean
        step = np.exp2(np.ceil(np.log2(max(float(np.abs(self.mean).max()), self.error**0.5, 1e-30))) - BITS)
        return np.asarray(np.round(y / step) * step, np.float32)


def _feature_map(
    features: ArrayLike, items: NDArray[np.float32], warm: NDArray[np.bool_]
) -> tuple[FeatureMap, NDArray[np.bool_]]:
    x = np.asarray(features)
    if x.ndim != 2 or len(x) != len(items) or x.shape[1] == 0 or x.dtype.kind not in "fiu":
        shape = f"{x.dtype} {list(x.shape)}"
        raise ArgumentError("features", f"expected real numbers [{len(items)}, f], one row per item, got {shape}")
    if np.isinf(x).any():
        raise ArgumentError("features", f"row {int(np.isinf(x).any(axis=1).argmax())} has a value that is not finite")
    check_scale("features", x)
    known = ~np.isnan(x).any(axis=1)
    fit_on = known & warm
    if fit_on.sum() < 2:
        raise ArgumentError("features", f"expected features of 2 or more items with a vector, got {fit_on.sum()}")
    return FeatureMap.fit(x[fit_on], items[fit_on]), known


def _things(
    users: NDArray[np.int32], items: NDArray[np.int32], links: Mapping[str, Links], n_users: int, n_items: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """What users and what items have: 0/1 matrices `[n_users, things]` and `[n_items, things]`."""

    def matrix(kind: str, n: int, *met: Any) -> sparse.csr_array:
        pairs = [
            met,
            *((part.rows, part.values, len(part.names)) for part in links.values() if part.kind == kind and len(part)),
        ]
        parts = [
            sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, width)).tocsr()
            for rows, columns, width in pairs
        ]
        found: sparse.csr_array = sparse.hstack(parts, format="csr")
        found.data[:] = 1.0
        return found

    return matrix("user", n_users, users, items, n_items), matrix("item", n_items, items, users, n_users)


def _from_neighbours(
    vectors: NDArray[np.float32],
    warm: NDArray[np.bool_],
    left: NDArray[np.bool_],
    things: tuple[sparse.csr_array, sparse.csr_array],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows that have neighbours, and their vectors. Where no user is warm, users are the mean of their items."""
    rows, found = [], []
    n = things[0].shape[0]
    for has, part in zip(things, (slice(0, n), slice(n, None)), strict=True):
        known, own = warm[part], np.where(warm[part, None], vectors[part], 0).astype(np.float64)
        members: NDArray[np.float64]
        means: NDArray[np.float64]
        if known.any():
            members = has.T @ known.astype(np.float64)
            means = (has.T @ own) / np.maximum(members, 1)[:, None]
        else:
            # The first things are the rows of the other kind.
            other = slice(n, None) if part.start == 0 else slice(0, n)
            members = np.zeros(has.shape[1])
            members[: len(warm[other])] = warm[other]
            means = np.zeros((has.shape[1], vectors.shape[1]))
            means[: len(warm[other])] = np.where(warm[other, None], vectors[other], 0)
        wanted = np.flatnonzero(left[part])
        chosen = has[wanted]
        count = chosen @ (members > 0).astype(np.float64)
        some = count > 0
        rows.append(wanted[some] + part.start)
        found.append((chosen[some] @ means) / count[some][:, None])
    return np.concatenate(rows), np.concatenate(found).astype(np.float32)


def _fill_with_means(
    vectors: NDArray[np.float32], warm: NDArray[np.bool_], empty: NDArray[np.bool_], n_users: int
) -> None:
    """Gives rows without any source the mean of the warm rows of their kind (or of all)."""
    everyone = vectors[warm].mean(axis=0, dtype=np.float64)
    for rows in (slice(0, n_users), slice(n_users, None)):
        own, known = vectors[rows], warm[rows]
        own[empty[rows]] = own[known].mean(axis=0, dtype=np.float64) if known.any() else everyone
