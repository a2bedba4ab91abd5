"""From vectors of users and items to their codes: one codebook for both kinds, or one for each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metatoken.config import MOST
from metatoken.errors import ArgumentError
from metatoken.tokens.codes import clustering
from metatoken.tokens.codes.clustering import Codebook, Encoding, Progress
from metatoken.tokens.settings import TokenSettings


@dataclass(frozen=True, eq=False)
class Coding:
    """Codes and what they were made with: fields of `Vocabulary`, which describes them.

    Where users and items share no token, a level holds the items' tokens, then the users', and the report has the parts
    `item` and `user`; else there is one codebook, `joint`. Tokens of a counter level have zeros for centroids.
    """

    user_codes: NDArray[np.int32]
    item_codes: NDArray[np.int32]
    levels: tuple[int, ...]
    centroids: NDArray[np.float32]
    codebook: Codebook
    user_codebook: Codebook
    report: dict[str, Any]


def with_room(settings: TokenSettings, n_users: int, n_items: int) -> TokenSettings:
    """The settings; refused, before anything is walked, where their levels have no room for the ids, or too much.

    Raises:
        ArgumentError: Names the kind of id, how many there are, and levels that would do.
    """
    levels = settings.levels
    if levels == "auto":
        return settings
    counts = {"users": 0 if settings.kinds == "items" else n_users, "items": n_items}
    clustered = [count for count in counts.values() if count]
    clustered = clustered if settings.kinds == "apart" else [sum(clustered)]
    if levels[0] > min(clustered):
        said = f"the first level has {levels[0]:,} tokens but there are only {min(clustered):,} ids to cluster"
        raise ArgumentError("levels", f'{said}; give at most as many, or "auto"')
    if settings.unique not in ("assignment", "nearest"):
        return settings
    kind, most = max(counts.items(), key=lambda one: one[1])
    above = math.prod(levels[:-1])
    if most > above * levels[-1]:
        last = 1 << (math.ceil(most / above) - 1).bit_length()
        enough = f", or {[*levels[:-1], last]}" if last <= MOST else ""
        said = f"{most:,} {kind} do not fit the {above * levels[-1]:,} codes of levels {[*levels]}"
        raise ArgumentError("levels", f'{said}; give "auto", which counts the ids{enough}, or set unique to counter')
    return settings


def encode_kinds(
    x: NDArray[np.float32],
    trained: NDArray[np.bool_],
    n_users: int,
    settings: TokenSettings,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Coding:
    """Cluster and encode users and items.

    Args:
        x: float32 `[n_entities, dim]`, users first.
        trained: Rows that the centroids are fitted on, bool `[n_entities]`; all are encoded.
        n_users: Number of users.
        settings: Ready settings; `max_cluster_size` holds for each kind that a codebook sees.
        progress: Called with (done, total).
        **options: `seed` and `threads`, see `clustering.fit`.
    """
    kinds = np.repeat(np.array([0, 1], np.int32), [n_users, len(x) - n_users])
    parts = {"item": np.flatnonzero(kinds == 1), "user": np.flatnonzero(kinds == 0)}
    if settings.kinds != "apart" or n_users == 0:
        parts = {"joint": np.arange(len(x))}
    books, codes, report = [], [], {}
    for place, (name, rows) in enumerate(parts.items()):
        part = part_of(progress, place, len(parts))
        book, coded = _encode(x[rows], kinds[rows], trained[rows], settings, part, **options)
        books.append(book)
        codes.append(coded.codes)
        report[name] = {
            **{name: float(getattr(coded, name)) for name in ("kept_share", "error_before", "error_after")},
            "largest_cluster": _largest(coded.codes[:, 0], kinds[rows]),
            "kernel": book.report.kernel,
        }
    return _join(books, codes, n_users, report)


def _encode(
    x: NDArray[np.float32],
    kinds: NDArray[np.int32],
    trained: NDArray[np.bool_],
    settings: TokenSettings,
    progress: Progress | None,
    seed: int = 0,
    threads: int | None = None,
) -> tuple[Codebook, Encoding]:
    """The codebook of some rows, fitted on the trained ones, and their unique codes."""
    counts = [int(count) for count in np.bincount(kinds) if count]
    sizes = clustering.auto_levels(counts) if settings.levels == "auto" else settings.levels
    fit_on = x[trained] if trained.sum() >= sizes[0] else x
    cap = settings.max_cluster_size
    shared = replace(settings, max_cluster_size=None if cap is None else cap * len(counts))
    book = clustering.fit(fit_on, sizes, shared, seed=seed, threads=threads, progress=part_of(progress, 0, 2))
    coded = clustering.encode(
        book, x, kinds=kinds, unique=settings.unique, max_cluster_size=cap, threads=threads,
        progress=part_of(progress, 1, 2),
    )  # fmt: skip
    return book, coded


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
