"""Batches of padded examples: what a model reads in one pass, and what it is supervised at there.

Rows of a batch that begin with the same words share them, so that a model can read these once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.tasks.examples import Example


@dataclass
class Batch:
    """Padded examples.

    Shapes: B rows, L positions, P supervised targets over all rows, W sorts of first words, U users with vectors.

    Attributes:
        input_ids: int64 `[B, L]`, padded on the right.
        attention_mask: int64 `[B, L]`.
        items: int64 `[B, L]` item rows or -1.
        state_row: int64 `[P]` row of each target.
        state_position: int64 `[P]` place in its row of the state before the target's first token; in an
            encoder-decoder model it is the decoder's, hence 0.
        targets: int64 `[P]` item rows.
        words: int64 `[W, any]` token ids that rows begin with, padded on the right.
        words_mask: int64 `[W, any]`.
        words_of: int64 `[B]` which of them each row begins with.
        positions: int64 `[B, L]` positions of `input_ids`.
        answers: int64 `[A]` targets whose tokens are written behind their states; None for all.
        user_row: int64 `[U]` row of each user whose vector is folded.
        user_position: int64 `[U]` its place in the row, that of the user's last token.
        taken: int64 `[any]` item rows that these vectors are folded from, user by user.
        taken_by: int64 `[any]` place of each one's user in `user_row`.
        text_row: int64 `[T]` row of each supervised text token.
        text_position: int64 `[T]` place of the state that predicts it, the one before it; in an encoder-decoder model
            it is the decoder's, where the start token stands before the text.
        text_ids: int64 `[T]` its id.
        rating_row: int64 `[R]` row of each rating.
        rating_position: int64 `[R]` place of the state that the rating head reads, the last or the decoder's first.
        ratings: float32 `[R]` what the head should give.
        labels: int64 `[P]` item rows that have a part of each target's weight, the target itself where there is none
            other; None for none at all.
        label_share: float `[]`, that part.
        normaliser: float `[4]`, what sums over targets, text tokens, ratings and answers are divided by; None means
            P, T, R and A.
    """

    input_ids: Tensor
    attention_mask: Tensor
    items: Tensor
    state_row: Tensor
    state_position: Tensor
    targets: Tensor
    words: Tensor
    words_mask: Tensor
    words_of: Tensor
    positions: Tensor
    answers: Tensor | None = None
    user_row: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    user_position: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    taken: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    taken_by: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    text_row: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    text_position: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    text_ids: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    rating_row: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    rating_position: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    ratings: Tensor = field(default_factory=lambda: torch.zeros(0))
    labels: Tensor | None = None
    label_share: Tensor | None = None
    normaliser: Tensor | None = None

    def first(self, n: int) -> Batch:
        """Its first n rows with what they read and their targets; without texts, ratings, and what is written."""
        targets, users = (int((rows < n).sum()) for rows in (self.state_row, self.user_row))
        taken = int((self.taken_by < users).sum())
        return Batch(
            self.input_ids[:n], self.attention_mask[:n], self.items[:n],
            self.state_row[:targets], self.state_position[:targets], self.targets[:targets],
            self.words, self.words_mask, self.words_of[:n], self.positions[:n],
            user_row=self.user_row[:users], user_position=self.user_position[:users],
            taken=self.taken[:taken], taken_by=self.taken_by[:taken],
        )  # fmt: skip

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on a device."""
        moved = {k: v.to(device, non_blocking=non_blocking) for k, v in vars(self).items() if v is not None}
        return Batch(**moved)

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory."""
        return Batch(**{k: v.pin_memory() for k, v in vars(self).items() if v is not None})


def collate(examples: list[Example], pad_id: int) -> Batch:
    """Pads examples on the right into one batch."""
    # Columns, since a loop over rows for each of them takes longer than making them.
    columns = zip(*examples, strict=True)
    ids, items, states, targets, text, rating, words, positions, answers, taken, user_at, _, labels, *more = columns
    decoded, rated_at = more
    lengths, counts = _lengths(ids), _lengths(targets)
    rows, real = np.arange(len(ids)), _real(lengths)
    table, keys = _padded(ids, real, pad_id), list(map(id, words))
    # Words of a template are one array, whichever row begins with them.
    sorts = dict(zip(keys, words, strict=True))
    number = {key: place for place, key in enumerate(sorts)}
    words_real = _real(_lengths(tuple(sorts.values())))
    orders = [order(0, n, n, 0) if own is None else own for own, n in zip(positions, lengths.tolist(), strict=True)]
    rated, known = np.flatnonzero(_lengths(rating)), np.flatnonzero(np.array(user_at) >= 0)
    read = np.array(rated_at)[rated]
    arrays = {
        "input_ids": table,
        "attention_mask": real.astype(np.int64),
        "items": _padded(items, real, -1),
        "state_row": np.repeat(rows, counts),
        "state_position": np.concatenate(states),
        "targets": np.concatenate(targets).astype(np.int64),
        "words": _padded(list(sorts.values()), words_real, pad_id),
        "words_mask": words_real.astype(np.int64),
        "words_of": np.array([number[key] for key in keys]),
        "positions": _padded(orders, real, 0),
        "user_row": known,
        "user_position": np.array(user_at)[known],
        "taken": np.concatenate(taken).astype(np.int64),
        "taken_by": np.repeat(np.arange(len(known)), _lengths(taken)[known]),
        "rating_row": rated,
        "rating_position": np.where(read < 0, lengths[rated] + read, read),
        "ratings": np.concatenate(rating),
        **_texts(table, text, decoded),
        **_answers(answers, counts),
        **_labels(labels, targets),
    }
    return Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _texts(table: np.ndarray, text: Sequence[np.ndarray], decoded: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The supervised text tokens: those that stand among ids `[B, L]`, then those that a decoder writes."""
    rows, counts = np.arange(len(text)), _lengths(decoded)
    row, at = np.repeat(rows, _lengths(text)), np.concatenate(text)
    found = {"text_row": row, "text_position": at - 1, "text_ids": table[row, at]}
    if not counts.any():
        return found
    # The start token stands before an answer, so a decoder's place `j` predicts token `j`.
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    own = {"text_row": np.repeat(rows, counts), "text_position": places, "text_ids": np.concatenate(decoded)}
    return {name: np.concatenate([some, own[name]]) for name, some in found.items()}


def _answers(answers: Sequence[np.ndarray | None], counts: np.ndarray) -> dict[str, Any]:
    """Numbers of the written targets among all of a batch; nothing where every row has written all of its own."""
    if all(own is None for own in answers):
        return {}
    given = [np.arange(n) if own is None else own for own, n in zip(answers, counts, strict=True)]
    return {"answers": np.concatenate(given) + np.repeat(np.cumsum(counts) - counts, _lengths(given))}


def _labels(labels: Sequence[np.ndarray | None], targets: Sequence[np.ndarray]) -> dict[str, Any]:
    """Labels beside the targets, where any row has some."""
    if all(own is None for own in labels):
        return {}
    flat = np.concatenate(targets).astype(np.int64)
    drawn = np.concatenate(
        [np.full(len(t), -1) if own is None else own for own, t in zip(labels, targets, strict=True)]
    )
    return {"labels": np.where(drawn >= 0, drawn, flat)}


def _lengths(rows: Sequence[np.ndarray]) -> np.ndarray:
    """int64 `[n]`."""
    lengths: np.ndarray = np.fromiter(map(len, rows), np.int64, len(rows))
    return lengths


def _real(lengths: np.ndarray) -> np.ndarray:
    """Where rows of some lengths `[n]` stand in a table that is filled up on the right, bool `[n, longest]`."""
    real: np.ndarray = np.arange(lengths.max()) < lengths[:, None]
    return real


def _padded(rows: Sequence[np.ndarray], real: np.ndarray, fill: int) -> np.ndarray:
    """Rows as such a table, int64."""
    table = np.full(real.shape, fill, dtype=np.int64)
    table[real] = np.concatenate(rows)
    return table


@lru_cache(maxsize=4096)
def order(words: int, begin: int, length: int, first: int) -> np.ndarray:
    """`begin` positions from `words` on, then from `first` on, int64 `[length]`; the same array every time."""
    return np.concatenate([np.arange(words, words + begin), np.arange(first, first + length - begin)])
