"""Hierarchical clustering of embeddings into token codes that are unique within a kind.

`fit` learns a `Codebook`, `Codebook.assign` gives new rows their nearest codes, and `encode` gives every row codes that
no other row of its kind has. All of it works on any float matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken._core import cluster as _cluster
from metatoken._core import codes as _codes
from metatoken.errors import ArgumentError, ArtifactError

Method = Literal["residual", "tree", "flat+rank"]
Metric = Literal["euclidean", "cosine"]
Init = Literal["k-means++", "random"]
Unique = Literal["assignment", "nearest", "counter", "none"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClusterReport:
    """What happened while a codebook was fitted.

    Attributes:
        rows: Rows it was fitted on.
        sample: Rows that each larger k-means run was trained on before its pass over all rows; None for all.
        inertia: Per level, the sum over the rows of the squared distance to their own centroid (float64).
        iterations: Per level, Lloyd updates (in a tree: the most that any node took).
        distinct: Per level, tokens that were fitted to rows. The others repeat token 0 and are never nearest.
        small_nodes: Nodes with fewer distinct rows than tokens, which therefore got fewer children.
    """

    rows: int
    sample: int | None
    inertia: tuple[float, ...]
    iterations: tuple[int, ...]
    distinct: tuple[int, ...]
    small_nodes: int


@dataclass(frozen=True)
class Codebook:
    """One centroid per token and level, shared by all parents.

    A row is decoded as the sum of its tokens' centroids: level 0 holds positions, deeper levels offsets.

    Attributes:
        method: How the levels were fitted.
        metric: How rows are compared; under `cosine` rows are scaled to length 1 first.
        centroids: Per level float32 `[K_l, d]`.
        report: What happened during the fit.
    """

    method: Method
    metric: Metric
    centroids: tuple[NDArray[np.float32], ...]
    report: ClusterReport

    @property
    def levels(self) -> tuple[int, ...]:
        """Tokens of each level."""
        return tuple(len(level) for level in self.centroids)

    @property
    def dim(self) -> int:
        """Values in a row."""
        return int(self.centroids[0].shape[1])

    def assign(
        self, x: ArrayLike, *, threads: int | None = None, progress: Progress | None = None
    ) -> NDArray[np.int32]:
        """Gives each row its nearest codes; pure, and codes may repeat.

        Level by level the codeword nearest to what the levels before left is taken, the lowest index on a tie. For
        `flat+rank` that is the rank token whose mean offset is nearest, since a new row has no rank.

        Args:
            x: Float array `[n, d]`; copied to contiguous float32 if it is anything else.
            threads: Threads to use; all cores if None. The result does not depend on it.
            progress: Called with (rows done, rows in all) summed over the levels.

        Returns:
            int32 `[n, levels]`.

        Raises:
            ArgumentError: `x` has the wrong shape or holds NaN or infinity.
        """
        rows = _matrix(x)
        if len(rows) == 0:
            return np.empty((0, len(self.centroids)), dtype=np.int32)
        return _codes.assign(rows, list(self.centroids), self.metric, threads, None, progress)

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Adds up the centroids of each row's codes, `[n, levels]` -> float32 `[n, d]`; a -1 adds nothing."""
        out = np.zeros((len(codes), self.dim), dtype=np.float32)
        for level, centroids in enumerate(self.centroids):
            code = codes[:, level]
            out += np.where(code[:, None] >= 0, centroids[code], np.float32(0))
        return out

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Arrays to save, by name."""
        return {f"centroids.{level}": array for level, array in enumerate(self.centroids)}

    def meta(self) -> dict[str, Any]:
        """What `from_tensors` needs besides the arrays; plain JSON values."""
        return {"method": self.method, "metric": self.metric, "report": asdict(self.report)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]], meta: Mapping[str, Any]) -> Codebook:
        """Rebuilds what `tensors` and `meta` gave.

        Raises:
            ArtifactError: A key is missing or a value is not what it should be.
        """
        names = [f"centroids.{level}" for level in range(len(tensors))]
        if not names or set(names) != set(tensors):
            raise ArtifactError(f"a codebook holds centroids.0, centroids.1, ...; found {sorted(tensors)}")
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["report"].items()}
            report = ClusterReport(**fields)
            method, metric = meta["method"], meta["metric"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"the codebook's description is damaged: {error!r}") from error
        if method not in get_args(Method) or metric not in get_args(Metric):
            raise ArtifactError(f"unknown codebook method {method!r} or metric {metric!r}")
        arrays = tuple(np.ascontiguousarray(tensors[name], dtype=np.float32) for name in names)
        if any(a.ndim != 2 or a.shape[1] != arrays[0].shape[-1] or a.size == 0 for a in arrays):
            raise ArtifactError(f"codebook levels must be [K, d] with one d; found {[a.shape for a in arrays]}")
        return cls(method, metric, arrays, report)


@dataclass(frozen=True)
class Encoding:
    """Codes and what making them unique cost.

    Attributes:
        codes: int32 `[n, depth]`; one column more than the codebook has with `unique="counter"`.
        kept_share: Share of the rows whose codes are the nearest ones at every level.
        error_before: Relative quantisation error `sum |x - decoded|^2 / sum |x - mean|^2` of the nearest codes.
        error_after: The same for `codes` (a counter decodes to nothing).
    """

    codes: NDArray[np.int32]
    kept_share: float
    error_before: float
    error_after: float


def fit(
    x: ArrayLike,
    levels: Sequence[int],
    *,
    method: Method = "residual",
    metric: Metric = "euclidean",
    init: Init = "k-means++",
    seed: int = 0,
    threads: int | None = None,
    max_iterations: int = 20,
    sample: int | None = None,
    progress: Progress | None = None,
) -> Codebook:
    """Learns a codebook with `levels[l]` tokens at level l.

    Every k-means run is seeded as `init` says, then runs Lloyd's algorithm until no label changes. Results are the same
    bytes for any number of threads.

    Args:
        x: Float array `[n, d]`; copied to contiguous float32 if it is anything else.
        levels: Tokens per level; for `flat+rank` exactly `[K, R]`.
        method: `residual`: k-means on what the levels before left. `tree`: k-means in every node, the children of all
            parents matched to one codebook of offsets. `flat+rank`: k-means, then rank by distance to the centroid.
        metric: `euclidean`, or `cosine`: rows scaled to length 1, spherical first level, Euclidean below.
        init: `k-means++`: greedily, on at most max(4096, 64 K) of the rows. `random`: distinct rows at random.
        seed: Seed of every random choice, at least 0.
        threads: Threads to use; all cores if None.
        max_iterations: Most Lloyd updates per run.
        sample: Train each run that has more rows on this many of them, then update once on all.
        progress: Called with (rows done, rows in all), summed over levels and passes.

    Returns:
        The codebook.

    Raises:
        ArgumentError: An argument has a wrong shape or value, `x` holds NaN or infinity, the first level has more
            tokens than there are rows, or a `flat+rank` cluster has more members than R.
    """
    rows = _matrix(x)
    if len(rows) == 0:
        raise ArgumentError("x", "expected at least one row, got none")
    sizes = _levels(levels)
    _integer("seed", seed, 0)
    _integer("max_iterations", max_iterations, 0)
    if sample is not None:
        _integer("sample", sample, 1)
    centroids, _, inertia, iterations, distinct, small_nodes = _cluster.fit(
        rows, sizes, method, metric, init, seed, max_iterations, sample, threads, None, progress
    )
    used = sample if sample is not None and sample < len(rows) else None
    report = ClusterReport(len(rows), used, tuple(inertia), tuple(iterations), tuple(distinct), small_nodes)
    return Codebook(method, metric, tuple(centroids), report)


def encode(
    codebook: Codebook,
    x: ArrayLike,
    *,
    kinds: ArrayLike | None = None,
    unique: Unique = "assignment",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Encoding:
    """Gives every row codes that no other row of its kind has.

    Above the last level a row keeps its nearest codeword unless its prefix is full (a prefix holds at most as many rows
    of a kind as there are codes below it); then the rows whose move costs least move. In the last level:

    - `assignment`: rows under one prefix get codewords at the least total squared distance (exact).
    - `nearest`: rows that collide move to the nearest free codeword, cheapest moves first.
    - `counter`: a further level counts equal codes. `none`: codes may repeat.

    A `flat+rank` codebook gives ranks within a kind and cluster for the first two, which is that scheme's own way.

    Args:
        codebook: From `fit`.
        x: Float array `[n, d]`.
        kinds: Integer array `[n]`; rows of different kinds may share codes. One kind if None.
        unique: How codes become unique.
        threads: Threads to use; all cores if None. The result does not depend on it.
        progress: Called with (rows done, rows in all), summed over passes.

    Returns:
        The codes and their quality.

    Raises:
        ArgumentError: The rows of a kind do not fit, or an argument has a wrong shape or value.
    """
    rows = _matrix(x)
    kind = np.zeros(len(rows), dtype=np.int64) if kinds is None else np.asarray(kinds)
    if kind.shape != (len(rows),) or not (np.issubdtype(kind.dtype, np.integer) or kind.dtype == np.bool_):
        raise ArgumentError("kinds", f"expected {len(rows)} integers, got {kind.dtype} of shape {kind.shape}")
    if unique not in get_args(Unique):
        raise ArgumentError("unique", f"expected one of {', '.join(get_args(Unique))}, got {unique!r}")
    if len(rows) == 0:
        depth = len(codebook.levels) + (unique == "counter")
        return Encoding(np.empty((0, depth), dtype=np.int32), 1.0, 0.0, 0.0)
    how: str = "rank" if codebook.method == "flat+rank" and unique in ("assignment", "nearest") else unique
    kind64 = np.ascontiguousarray(kind, dtype=np.int64)
    found = _codes.encode(rows, list(codebook.centroids), codebook.metric, kind64, how, threads, None, progress)
    return Encoding(*found)


def auto_levels(counts_by_kind: Sequence[int]) -> tuple[int, ...]:
    """Level sizes that give each kind at least twice its number of ids.

    Powers of two, about eight bits a level, at least two levels, larger levels last; the first level has at most half
    as many tokens as the largest kind has ids, so that its clusters have members.

    Args:
        counts_by_kind: Number of ids of each kind, e.g. `(n_users, n_items)`.

    Returns:
        Tokens of each level.

    Raises:
        ArgumentError: There is no kind, or a count is not at least 1.
    """
    if not counts_by_kind:
        raise ArgumentError("counts_by_kind", "expected at least one count")
    for count in counts_by_kind:
        _integer("counts_by_kind", count, 1)
    largest = int(max(counts_by_kind))
    bits = math.ceil(math.log2(2 * largest))
    depth = max(2, math.ceil(bits / 8))
    first = min(bits // depth, max(1, largest // 2).bit_length() - 1)
    rest, depth_left = bits - first, depth - 1
    shares = [(rest + place) // depth_left for place in range(depth_left)]
    return tuple(1 << share for share in (first, *shares))


def _matrix(x: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(x)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ArgumentError("x", f"expected a two-dimensional float array [rows, dim], got shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ArgumentError("x", f"expected real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, which is refused by row
        return np.ascontiguousarray(array, dtype=np.float32)


def _levels(levels: Any) -> list[int]:
    if not isinstance(levels, (list, tuple, np.ndarray)) or len(levels) == 0:
        raise ArgumentError("levels", f"expected a sequence of level sizes like [256, 64], got {levels!r}")
    for size in levels:
        _integer("levels", size, 1)
    return [int(size) for size in levels]


def _integer(argument: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 1 << 63:
        raise ArgumentError(argument, f"expected an integer of at least {least}, got {value!r}")
