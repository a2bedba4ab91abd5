"""How well the tokens of a vocabulary still fit what has been added since they were learned.

An extended vocabulary holds every version that it comes from: rows are only appended, and no old row, vector or code
changes. So it is compared with its parent, and with what was fitted at first, without either at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metatoken.tokens.vectors.cold import NONE
from metatoken.tokens.vectors.matrix import unit_rows

if TYPE_CHECKING:
    from metatoken.tokens.names import Kind
    from metatoken.tokens.vocabulary import Vocabulary

# Rules of thumb, not measured: where one of them holds, new ids are described much worse than those that were fitted.
DRIFT = 1.25  # times the error of fitted ids
FULL = 0.5  # of the prefixes that are used
GROWN = 0.5  # of the fitted ids, that came later


@dataclass(frozen=True)
class Generation:
    """Ids of a kind that came with one version.

    Attributes:
        ids: How many.
        measured: How many of them have a vector that says something of them; figures are over these.
        error: Mean squared distance to their nearest codewords, as a share of the variance of fitted vectors; what
            later ids lose because the codebook does not know where they are. None where none is measured.
        error_held: The same to the codewords that they have.
        off_nearest: Share of those that do not have their nearest codewords at every level. Fitted ids were placed
            together, later ones one after the other, so that these shares do not compare.
    """

    ids: int
    measured: int
    error: float | None
    error_held: float | None
    off_nearest: float | None


@dataclass(frozen=True)
class Fill:
    """Room for ids of a kind below the prefixes that all tokens but the last one make.

    Attributes:
        prefixes: Those that are used.
        full: Those of them below which no codeword of the codebook is free.
        fullest: Share of the codewords that is taken below the fullest.
        free: Codes that are free in all.
    """

    prefixes: int
    full: int
    fullest: float
    free: int


@dataclass(frozen=True)
class Health:
    """What became of a vocabulary's ids of one kind since it was fitted.

    Attributes:
        generations: Fitted ids first, then those of each extension; the last one is what the parent lacks.
        later: All that were not fitted, as one generation.
        fill_at_first: Room when the vocabulary was fitted.
        fill_before: Room in the parent.
        fill: Room now.
        appended: Tokens that were appended and that ids of this kind have.
        due: Why a rebuild is due, a sentence each; nothing where it is not.
    """

    generations: tuple[Generation, ...]
    later: Generation
    fill_at_first: Fill
    fill_before: Fill
    fill: Fill
    appended: int
    due: tuple[str, ...]

    @property
    def room(self) -> int | None:
        """How many more extensions like the last one find a free code each; None where it brought none."""
        last = self.generations[-1].ids
        return self.fill.free // last if last else None

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return {**asdict(self), "room": self.room}


def health(vocabulary: Vocabulary, kind: Kind = "item", *, threads: int | None = None) -> Health | None:
    """Compares ids with those that the codebook was fitted on; None for a vocabulary that was never extended.

    Args:
        vocabulary: An extended one.
        kind: Which ids.
        threads: Number of threads (`None`: all cores); does not change the result.
    """
    place = 0 if kind == "user" else 1
    borders = [*(sizes[place] for sizes in vocabulary.earlier), len(vocabulary.vectors[vocabulary.nodes(kind)])]
    if len(borders) < 2 or borders[-1] == 0:
        return None
    rows = _Rows.of(vocabulary, kind, borders[0], threads)
    parts = [rows.generation(begin, end) for begin, end in zip([0, *borders], borders, strict=False)]
    later = rows.generation(borders[0], borders[-1])
    fills = tuple(rows.fill(end) for end in (borders[0], borders[-2], borders[-1]))
    tokens = vocabulary.item_tokens if kind == "item" else vocabulary.user_tokens
    appended = len(np.unique(tokens[tokens >= vocabulary.n_learned_tokens]))
    due = tuple(_due(parts[0], later, fills[-1], appended))
    return Health(tuple(parts), later, fills[0], fills[1], fills[2], appended, due)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Ids of a kind: squared distances to nearest and held codewords over the variance, and codes by the codebook."""

    near: NDArray[np.float64]
    held: NDArray[np.float64]
    off: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    codes: NDArray[np.int32]
    levels: tuple[int, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary, kind: Kind, fitted: int, threads: int | None) -> _Rows:
        book = vocabulary.codebook if kind == "item" else vocabulary.user_codebook
        x = vocabulary.vectors[vocabulary.nodes(kind)].astype(np.float64)
        x = unit_rows(x) if book.metric == "cosine" else x
        nearest = book.assign(vocabulary.vectors[vocabulary.nodes(kind)], threads=threads)
        codes = (vocabulary.item_codes if kind == "item" else vocabulary.user_codes)[:, : len(book.levels)]
        if book is not vocabulary.codebook:  # of users, whose tokens stand behind those of the items
            codes = codes - np.array(vocabulary.codebook.levels[: codes.shape[1]], np.int32)
        measured = vocabulary.origins[vocabulary.nodes(kind)] != NONE
        first = x[:fitted][measured[:fitted]] if measured[:fitted].any() else x[:fitted]
        variance = max(float(((first - first.mean(axis=0)) ** 2).sum(axis=1).mean()), 1e-30)
        return cls(
            ((x - book.decode(nearest)) ** 2).sum(axis=1) / variance,
            ((x - vocabulary.composed(kind)) ** 2).sum(axis=1) / variance,
            (codes != nearest).any(axis=1),
            measured,
            codes,
            book.levels,
        )

    def generation(self, begin: int, end: int) -> Generation:
        own = np.flatnonzero(self.measured[begin:end]) + begin
        if len(own) == 0:
            return Generation(end - begin, 0, None, None, None)
        figures = (float(values[own].mean()) for values in (self.near, self.held, self.off))
        return Generation(end - begin, len(own), *figures)

    def fill(self, end: int) -> Fill:
        """Room when there were so many ids."""
        # Tokens that were appended are in no codebook, and what has one takes no codeword.
        known = self.codes[:end][(self.codes[:end] < np.array(self.levels)).all(axis=1)]
        _, counts = np.unique(known[:, :-1], axis=0, return_counts=True)
        below, taken = self.levels[-1], len(np.unique(known, axis=0))
        fullest = float(counts.max(initial=0)) / below
        return Fill(len(counts), int((counts >= below).sum()), fullest, prod(self.levels) - taken)


def _due(fitted: Generation, later: Generation, fill: Fill, appended: int) -> Iterator[str]:
    """Why a rebuild is due."""
    if appended:
        yield f"{appended:,} tokens were appended, since no code was left: no other id shares them"
    if fitted.error is not None and later.error is not None and later.error > DRIFT * fitted.error:
        yield f"later ids lie {later.error / max(fitted.error, 1e-30):.2f} times as far from their nearest codewords"
    if fill.prefixes and fill.full > FULL * fill.prefixes:
        yield f"{fill.full:,} of {fill.prefixes:,} prefixes are full"
    if later.ids > GROWN * fitted.ids:
        yield f"{later.ids:,} ids came after {fitted.ids:,} had been fitted"
