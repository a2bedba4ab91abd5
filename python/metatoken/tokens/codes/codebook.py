"""The codebook: one centroid per token and level, what was seen while it was fitted, and the codes it gives to rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken import artifacts
from metatoken._core import codes as _codes
from metatoken.bounds import check_words
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.tokens.settings import Method, Metric
from metatoken.tokens.vectors.matrix import Matrix, read_matrix

KIND, SCHEMA, CENTROIDS = "codebook", 1, "centroids.safetensors"

Progress = Callable[[int, int], None]
Vectors = ArrayLike | str | os.PathLike[str] | Matrix
"""Rows of real numbers `[n, d]`: an array, a CPU tensor, Arrow or polars data, or a path to a .npy or .parquet file."""


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
        sizes: Rows with each token of the first level.
        max_cluster_size: The cap on `sizes`, if there was one.
        moved: Rows that the cap keeps from their nearest token of the first level.
        balance: How the last labels within the cap were found: `exact` (no others cost less) or `greedy`; None if
            there was no cap.
        kernel: Instruction set of the kernel; another one may differ where distances tie up to rounding.
    """

    rows: int
    sample: int | None
    inertia: tuple[float, ...]
    iterations: tuple[int, ...]
    distinct: tuple[int, ...]
    small_nodes: int
    sizes: tuple[int, ...] = ()
    max_cluster_size: int | None = None
    moved: int = 0
    balance: Literal["exact", "greedy"] | None = None
    kernel: str = ""


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

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.levels))
        return f"Codebook({self.method}, {self.metric}, {sizes} tokens, dim {self.dim})"

    @property
    def levels(self) -> tuple[int, ...]:
        """Tokens of each level."""
        return tuple(len(level) for level in self.centroids)

    @property
    def dim(self) -> int:
        """Values in a row."""
        return int(self.centroids[0].shape[1])

    def assign(self, x: Vectors, *, threads: int | None = None, progress: Progress | None = None) -> NDArray[np.int32]:
        """Gives each row its nearest codes; pure, and codes may repeat.

        Level by level the codeword nearest to what the levels before left is taken, the lowest index on a tie. For
        `flat+rank` that is the rank token whose mean offset is nearest, since a new row has no rank. Rows are read in
        blocks, so memory stays bounded whatever the size of a file; codes depend neither on blocks nor on threads.

        Args:
            x: Rows `[n, d]` in any form that `read_matrix` takes.
            threads: Number of threads (`None`: all cores).
            progress: Called with (rows done, rows in all) summed over the levels.

        Returns:
            int32 `[n, levels]`.

        Raises:
            ArgumentError: `x` has the wrong shape or holds NaN or infinity.
            DataError: A file cannot be read.
        """
        check_words(threads=threads)
        matrix = read_matrix(x)
        depth = len(self.centroids)
        out = np.empty((len(matrix), depth), dtype=np.int32)
        begin = 0
        for block in matrix.blocks():
            told = part_progress(progress, begin * depth, len(matrix) * depth)
            out[begin : begin + len(block)] = self._block(block, begin, threads, told)
            begin += len(block)
        return out

    def _block(
        self, block: NDArray[np.float32], begin: int, threads: int | None, progress: Progress | None
    ) -> NDArray[np.int32]:
        try:
            return _codes.assign(block, list(self.centroids), self.metric, threads, None, progress)
        except ArgumentError:
            finite = np.isfinite(block).all(axis=1)
            if begin == 0 or finite.all():
                raise
            row = begin + int(np.argmin(finite))
            raise ArgumentError("x", f"expected finite float32 values, row {row} holds NaN or infinity") from None

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Adds up the centroids of each row's codes, `[n, levels]` -> float32 `[n, d]`; a -1 adds nothing.

        Raises:
            ArgumentError: They are no integers, or have another shape.
        """
        codes = np.asarray(codes)
        if codes.shape[1:] != (len(self.centroids),) or not np.issubdtype(codes.dtype, np.integer):
            said = f"expected integers [n, {len(self.centroids)}], got {codes.dtype} {list(codes.shape)}"
            raise ArgumentError("codes", said)
        for level, centroids in enumerate(self.centroids):
            if len(codes) and not -1 <= codes[:, level].min() <= codes[:, level].max() < len(centroids):
                raise ArgumentError("codes", f"expected -1 to {len(centroids) - 1} at level {level}")
        out = np.zeros((len(codes), self.dim), dtype=np.float32)
        for level, centroids in enumerate(self.centroids):
            code = codes[:, level]
            out += np.where(code[:, None] >= 0, centroids[code], np.float32(0))
        return out

    def save(self, folder: str | Path) -> None:
        """Writes a folder with a manifest, whole or not at all; an older codebook there is replaced."""
        with artifacts.atomic_folder(folder, kind=KIND) as work:
            artifacts.write_tensors(work / CENTROIDS, self.tensors(), self.meta())
            artifacts.write_manifest(work, KIND, SCHEMA, levels=list(self.levels), dim=self.dim)

    @classmethod
    def load(cls, folder: str | Path) -> Codebook:
        """Reads what `save` wrote; `ArtifactError` if a file is missing or altered."""
        artifacts.read_manifest(folder := Path(folder), KIND, SCHEMA, (CENTROIDS,))
        return cls.from_tensors(*artifacts.read_tensors(folder / CENTROIDS))

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


def part_progress(progress: Progress | None, begin: int, total: int) -> Progress | None:
    """Progress of a part that follows `begin` finished units, out of `total` in all."""
    return None if progress is None else lambda done, _: progress(begin + done, total)
