"""Codes for ids that come later: beside those that are taken, none of which ever moves.

New ids are placed one after the other in the order of their rows, so that ids that come in two parts get the codes that
they would get at once. An id takes its nearest codeword at every level, of those that still have room below (as
`clustering.make_unique`, where all are placed together). Where no code is left at all, a token is appended to the last
level, behind every other one, so that no token gets another number; what the id leaves over is its centroid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metatoken.errors import ArgumentError
from metatoken.tokens.codes.codebook import Codebook
from metatoken.tokens.vectors.matrix import unit_rows

Codes = NDArray[np.int32]


class Placed(NamedTuple):
    """Codes of new ids.

    Attributes:
        codes: int32 `[n, depth]`.
        nearest: Whether an id has its nearest codes at every level, bool `[n]`.
        centroids: Centroids of the tokens that were appended to the last level, float32 `[any, dim]`.
    """

    codes: Codes
    nearest: NDArray[np.bool_]
    centroids: NDArray[np.float32]


class Shelf:
    """The codes of one kind of ids.

    Args:
        codebook: Gives the nearest codes; it stays as it is.
        first: Code that the first codeword of each level has in the vocabulary, int `[levels]`: not 0 for users who
            share no token with items.
        levels: Tokens of each level of the vocabulary.
        appended: Tokens at the end of the last level that no codebook has, and their centroids, float32
            `[appended, dim]`.
        taken: Codes that are taken, int32 `[m, depth]`.
        cap: Most ids with one first token; None for as many as there are codes below.
        whole: Whether ids have a token of every level of the vocabulary.
    """

    def __init__(
        self,
        codebook: Codebook,
        first: Sequence[int],
        levels: Sequence[int],
        appended: NDArray[np.float32],
        taken: Codes,
        cap: int | None = None,
        *,
        whole: bool = True,
    ) -> None:
        self.codebook, self.size, self.whole = codebook, levels[-1], whole
        self.codes = [start + np.arange(size) for start, size in zip(first, codebook.levels, strict=True)]
        if whole:
            self.codes[-1] = np.concatenate([self.codes[-1], np.arange(levels[-1] - len(appended), levels[-1])])
        self.centroids = [level.astype(np.float64) for level in codebook.centroids]
        self.centroids[-1] = np.concatenate([self.centroids[-1], appended.astype(np.float64)])
        self.cap = cap
        self._held: dict[tuple[int, ...], dict[int, int]] = {}  # ids below each code that follows a prefix
        self._full: dict[tuple[int, ...], set[int]] = {}  # those of them with no room below
        columns = [np.searchsorted(codes, taken[:, level]) for level, codes in enumerate(self.codes)]
        for path in np.stack(columns, axis=1).tolist():
            self._hold(path)

    def place(self, x: NDArray[np.float32], threads: int | None = None) -> Placed:
        """Codes of new ids with vectors float32 `[n, dim]`, which are taken from then on."""
        wanted = self.codebook.assign(x, threads=threads) if len(x) else np.zeros((0, len(self.codes)), np.int32)
        before, rows = len(self.codes[-1]), x.astype(np.float64)
        rows = unit_rows(rows) if self.codebook.metric == "cosine" else rows
        places = [self._place(row, near) for row, near in zip(rows, wanted.tolist(), strict=True)]
        found = np.array(places, np.int32).reshape(wanted.shape)
        codes = np.stack([codes[found[:, level]] for level, codes in enumerate(self.codes)], axis=1)
        added = self.centroids[-1][before:].astype(np.float32)
        return Placed(codes.astype(np.int32), (found == wanted).all(axis=1), added)

    def _place(self, left: NDArray[np.float64], near: list[int]) -> list[int]:
        path: list[int] = []
        for level, centroids in enumerate(self.centroids):
            full = self._full.get(tuple(path), set())
            if len(full) == len(centroids):  # on the first level: one with room has room on all that follow
                if self.cap is None:
                    return self._append(left)
                self._forget(cap=None)
                full = self._full.get((), set())
            code = near[level]
            if path != near[:level] or code in full:
                distances = self._distances(level, left)
                distances[list(full)] = np.inf
                code = int(distances.argmin())
            path.append(code)
            left = left - centroids[code]
        self._hold(path)
        return path

    def _append(self, left: NDArray[np.float64]) -> list[int]:
        """Gives an id a token of its own behind its nearest prefix."""
        if not self.whole:
            raise ArgumentError(
                "train",
                "there is no code left, and no token can be appended to a vocabulary whose users and items have "
                "unequally many tokens; fit a new one",
            )
        path: list[int] = []
        for level, centroids in enumerate(self.centroids[:-1]):
            path.append(int(self._distances(level, left).argmin()))
            left = left - centroids[path[-1]]
        path.append(len(self.codes[-1]))
        self.codes[-1] = np.append(self.codes[-1], self.size)
        self.centroids[-1] = np.concatenate([self.centroids[-1], left[None]])
        self.size += 1
        self._forget(cap=self.cap)
        self._hold(path)
        return path

    def _distances(self, level: int, left: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared distances to the codewords of a level; under cosine, directions are compared on the first."""
        centroids = self.centroids[level]
        if level == 0 and self.codebook.metric == "cosine":
            centroids = unit_rows(centroids)
        found: NDArray[np.float64] = ((centroids - left) ** 2).sum(axis=1)
        return found

    def _most(self, level: int) -> int:
        """Most ids below a code of a level."""
        below = prod(len(codes) for codes in self.codes[level + 1 :])
        return below if level or self.cap is None else min(below, self.cap)

    def _hold(self, path: list[int]) -> None:
        for level, code in enumerate(path):
            prefix = tuple(path[:level])
            held = self._held.setdefault(prefix, {})
            held[code] = held.get(code, 0) + 1
            if held[code] >= self._most(level):
                self._full.setdefault(prefix, set()).add(code)

    def _forget(self, cap: int | None) -> None:
        """Counts anew what is full, once there is more room."""
        self.cap = cap
        self._full = {
            prefix: {code for code, count in held.items() if count >= self._most(len(prefix))}
            for prefix, held in self._held.items()
        }


def count_on(prefixes: Codes, taken: Codes) -> Codes:
    """Codes of a level that counts ids of equal prefixes: int32 `[n]`, each the next that is free.

    Args:
        prefixes: int32 `[n, depth - 1]`, nearest codes of new ids.
        taken: int32 `[m, depth]`, codes that are taken.
    """
    held: dict[tuple[int, ...], int] = {}
    for *prefix, number in taken.tolist():
        held[tuple(prefix)] = max(held.get(tuple(prefix), 0), number + 1)
    found = np.empty(len(prefixes), np.int32)
    for row, prefix in enumerate(map(tuple, prefixes.tolist())):
        found[row] = held.get(prefix, 0)
        held[prefix] = int(found[row]) + 1
    return found
