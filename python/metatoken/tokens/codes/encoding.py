"""From vectors of users and items to their codes: one codebook for both kinds, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metatoken.errors import ArgumentError
from metatoken.tokens.codes import clustering
from metatoken.tokens.codes.clustering import Codebook, Unique
from metatoken.tokens.names import LETTERS

Kinds = Literal["joint", "apart", "items"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Coding:
    """Codes and what they were made with.

    Attributes:
        user_codes: int32 `[n_users, depth]`, padded with -1.
        item_codes: int32 `[n_items, depth]`, padded with -1.
        levels: Tokens of each level. Apart, a level holds the items' tokens, then the users'.
        centroids: float32 `[sum(levels), dim]`; zero for tokens of a counter level.
        codebook: The codebook of the items, and of the users unless apart.
        user_codebook: The codebook of the users; the same object unless apart.
        report: How much the codes lost, by codebook: `{"joint": {...}}` or `{"item": {...}, "user": {...}}`.
    """

    user_codes: NDArray[np.int32]
    item_codes: NDArray[np.int32]
    levels: tuple[int, ...]
    centroids: NDArray[np.float32]
    codebook: Codebook
    user_codebook: Codebook
    report: dict[str, Any]


def encode_kinds(
    x: NDArray[np.float32],
    trained: NDArray[np.bool_],
    n_users: int,
    *,
    levels: Sequence[int] | Literal["auto"],
    kinds: Kinds,
    unique: Unique,
    max_cluster_size: int | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Coding:
    """Cluster and encode users and items.

    Args:
        x: float32 `[n_users + n_items, dim]`.
        trained: Rows that the centroids are fitted on, bool `[n_users + n_items]`; all are encoded.
        n_users: Number of users, the first rows.
        levels: Tokens of each level, or `"auto"`.
        kinds: `"joint"`: users and items share every token. `"apart"`: they share none.
        unique: How ids become unique within a kind (see `clustering.encode`).
        max_cluster_size: Most ids of a kind with the same first token (of a codebook). The fit keeps to as many for
            each kind that it sees.
        progress: Called with (done, total).
        settings: Of `clustering.fit`.
    """
    kind_of = np.repeat(np.array([0, 1], np.int32), [n_users, len(x) - n_users])
    parts = [np.flatnonzero(kind_of == kind) for kind in (1, 0)]
    names = ["item", "user"]
    if kinds == "joint" or n_users == 0:
        parts, names = [np.arange(len(x))], ["joint"]
    books, codes, report = [], [], {}
    stages = iter(range(2 * len(parts)))

    def stage() -> Progress | None:
        return part_of(progress, next(stages), 2 * len(parts))

    for name, rows in zip(names, parts, strict=True):
        counts = [int(count) for count in np.bincount(kind_of[rows]) if count]
        sizes = clustering.auto_levels(counts) if levels == "auto" else tuple(int(size) for size in levels)
        if len(sizes) > len(LETTERS):
            raise ArgumentError("levels", f"expected at most {len(LETTERS)} levels (a to z), got {len(sizes)}")
        fit_on = rows[trained[rows]]
        if len(fit_on) < sizes[0]:
            fit_on = rows
        cap = None if max_cluster_size is None else max_cluster_size * len(counts)
        settings |= {"max_cluster_size": cap}
        book = clustering.fit(np.ascontiguousarray(x[fit_on]), sizes, progress=stage(), **settings)
        coded = clustering.encode(
            book,
            np.ascontiguousarray(x[rows]),
            kinds=np.ascontiguousarray(kind_of[rows]),
            unique=unique,
            max_cluster_size=max_cluster_size,
            threads=settings.get("threads"),
            progress=stage(),
        )
        books.append(book)
        codes.append(coded.codes)
        report[name] = {
            "kept_share": float(coded.kept_share),
            "error_before": float(coded.error_before),
            "error_after": float(coded.error_after),
            "largest_cluster": _largest(coded.codes[:, 0], kind_of[rows]),
            "kernel": book.report.kernel,
        }
    return _join(books, codes, n_users, report)


def _largest(first: NDArray[np.int32], kinds: NDArray[np.int32]) -> int:
    """Most ids of a kind with one first token."""
    return int(np.unique(np.stack([kinds, first]), axis=1, return_counts=True)[1].max())


def _join(books: list[Codebook], codes: list[NDArray[np.int32]], n_users: int, report: dict[str, Any]) -> Coding:
    """Put one or two codings (items, then users) into one space of tokens."""
    depth = max(part.shape[1] for part in codes)
    padded = [np.pad(part, ((0, 0), (0, depth - part.shape[1])), constant_values=-1) for part in codes]
    # `unique="counter"` adds a level that no codebook knows: as many tokens as it counted to.
    sizes = [
        [*book.levels, *(int(part[:, level].max(initial=-1)) + 1 for level in range(len(book.levels), depth))]
        for book, part in zip(books, padded, strict=True)
    ]
    if len(books) == 1:
        user_codes, item_codes = padded[0][:n_users], padded[0][n_users:]
    else:
        item_codes, shift = padded[0], np.array(sizes[0], np.int32)
        user_codes = np.where(padded[1] >= 0, padded[1] + shift, -1).astype(np.int32)
    dim = books[0].centroids[0].shape[1]
    blocks = [
        book.centroids[level] if level < len(book.levels) else np.zeros((size[level], dim), np.float32)
        for level in range(depth)
        for book, size in zip(books, sizes, strict=True)
    ]
    return Coding(
        np.ascontiguousarray(user_codes),
        np.ascontiguousarray(item_codes),
        tuple(int(total) for total in np.sum(sizes, axis=0)),
        np.concatenate(blocks).astype(np.float32),
        books[0],
        books[-1],
        report,
    )


def part_of(progress: Progress | None, part: int, parts: int, size: int = 1) -> Progress | None:
    """Progress of one of several equal parts (or of `size` of them), reported in thousandths of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress((part * 1000 + size * 1000 * done // max(total, 1)) // parts, 1000)
