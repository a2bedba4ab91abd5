"""Nearest neighbours of an id: the quickest look at whether vectors mean anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metatoken.errors import ArgumentError
from metatoken.tokens.names import Kind
from metatoken.tokens.vectors.cold import NONE, ORIGINS
from metatoken.tokens.vectors.matrix import unit_rows

if TYPE_CHECKING:
    from metatoken.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class Neighbour:
    """A raw id near another, its title (`""` where unknown and for users) and its tokens as text.

    `similarity` is the cosine of the two vectors, `origin` where its vector came from, one of `cold.ORIGINS`.
    """

    id: str
    title: str
    tokens: str
    similarity: float
    origin: str = "walked"


def nearest(vocabulary: Vocabulary, kind: Kind, raw_id: str, k: int = 10) -> list[Neighbour]:
    """Nearest ids of the same kind by cosine of their vectors, nearest first.

    Ids without any source of a vector are left out. Ties are in the order of raw ids.

    Raises:
        UnknownIdError: The id is not in the vocabulary.
        ArgumentError: The kind is neither, or k is below 1.
    """
    ids, nodes = vocabulary.ids(kind), vocabulary.nodes(kind)
    if k < 1:
        raise ArgumentError("k", f"expected 1 or more, got {k}")
    row = ids.row(raw_id)
    unit, origins = unit_rows(vocabulary.vectors[nodes]), vocabulary.origins[nodes]
    similarity = np.einsum("nd,d->n", unit, unit[row])
    allowed = np.flatnonzero((origins != NONE) & (np.arange(len(ids)) != row))
    best = allowed[np.argsort(-similarity[allowed], kind="stable")[:k]]
    titles = vocabulary.titles if kind == "item" else None
    return [
        Neighbour(
            ids.raw[n],
            titles[n] if titles else "",
            vocabulary.tokens_of(**{kind: ids.raw[n]}),
            float(similarity[n]),
            ORIGINS[origins[n]],
        )
        for n in best.tolist()
    ]
