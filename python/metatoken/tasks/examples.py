"""Examples: one prompt with the positions it is supervised at, and batches of them.

A causal model reads `words item item ...`. The state right before an item's first token predicts that item, so one
pass supervises every item of a history. Where histories are compact an item is one position, and its tokens are
written at the end of a row alone, as an answer is: there the tokens behind the first one are supervised. An
encoder-decoder model reads `words item item` in its encoder and predicts one target from its decoder's first position.

Rows of a batch that begin with the same words share them, so that a model can read these once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.task import Template

NOTHING = np.zeros(0, dtype=np.int64)
NO_RATING = np.zeros(0, dtype=np.float32)
WORDS = 64  # positions before the longest history, where positions are learned and histories compact


class Example(NamedTuple):
    """One row of a batch.

    Attributes:
        ids: int64 `[length]` token ids (text and OOV), behind `words`.
        items: int64 `[length]` item row whose last OOV token stands here, else -1: where the item's vector enters.
        states: int64 `[targets]` place in `ids` of the state that predicts each target.
        targets: int64 `[targets]` item rows.
        text: int64 `[any]` places of the title tokens that are supervised, those of targets; each is predicted from
            the place before it; where a task writes, those of the answer.
        rating: float32 `[0 or 1]`, what the rating head should give at the last place, in spreads.
        words: int64 `[any]` token ids that the row begins with; rows that share them have the same array.
        positions: int64 `[length]` positions of `ids`; None for those that follow from the order.
        answers: int64 `[any]` which targets have their tokens written behind their states; None for all.
        taken: int64 `[any]` item rows that the user's vector is folded from, see `ExampleBuilder`.
        user_at: Place in `ids` of the user's last token, where that vector enters; -1 for none.
    """

    ids: np.ndarray
    items: np.ndarray
    states: np.ndarray = NOTHING
    targets: np.ndarray = NOTHING
    text: np.ndarray = NOTHING
    rating: np.ndarray = NO_RATING
    words: np.ndarray = NOTHING
    positions: np.ndarray | None = None
    answers: np.ndarray | None = None
    taken: np.ndarray = NOTHING
    user_at: int = -1


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
        text_position: int64 `[T]` place of the state that predicts it, the one before it.
        text_ids: int64 `[T]` its id.
        rating_row: int64 `[R]` row of each rating.
        rating_position: int64 `[R]` its last place, where the rating head reads.
        ratings: float32 `[R]` what the head should give.
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


class Run(NamedTuple):
    """Items one after the other.

    Attributes:
        ids: int64 `[length]` token ids, with those that stand before and behind the items.
        items: int64 `[length]` item rows at their last OOV tokens, else -1.
        begin: int64 `[n]` place where each item begins.
        tokens_end: int64 `[n]` place behind its OOV tokens.
        end: int64 `[n]` place behind it.
    """

    ids: np.ndarray
    items: np.ndarray
    begin: np.ndarray
    tokens_end: np.ndarray
    end: np.ndarray


class ExampleBuilder:
    """Builds examples of the ranking tasks.

    Args:
        encoder: Splices ids.
        max_history: Longest history in items; older items are dropped.
        answer_at: Position of what follows a history, however long that is; None where it follows from the order.
        fold: Whether the last token of a user, of whom a prompt says nothing else, is read as the mean of the vectors
            of the items that they took.
    """

    def __init__(
        self, encoder: PromptEncoder, max_history: int, answer_at: int | None = None, *, fold: bool = False
    ) -> None:
        self.encoder, self.max_history, self.answer_at, self.fold = encoder, max_history, answer_at, fold

    def causal(
        self,
        template: Template,
        user_ids: np.ndarray | None,
        items: np.ndarray,
        first_target: int,
        taken: np.ndarray = NOTHING,
    ) -> Example:
        """One pass over `items`, supervised at `items[first_target:]`.

        Args:
            template: The words.
            user_ids: Token ids of the user, or None.
            items: Item rows, oldest first, targets included.
            first_target: Index into `items` of the first one that is a target.
            taken: Item rows, oldest first, that the user's vector is folded from; nothing leaves the token as it is.
        """
        words, begin, user_at = self.encoder.prompt_parts(template, user_ids)
        compact, titled = self.encoder.compact, self.encoder.titled
        run = self._run(begin, items, answered=compact)
        return Example(
            run.ids,
            run.items,
            # The state before item j stands where item j-1 ends, or at the last word for the first item.
            run.begin[first_target:] - 1,
            items[first_target:],
            _ranges(run.tokens_end[first_target:], run.end[first_target:]) if titled else NOTHING,
            words=words,
            positions=self._positions(len(words), len(begin), len(run.ids), int(run.begin[-1]) - len(begin)),
            answers=np.array([len(items) - first_target - 1]) if compact else None,
            **self._folded(taken, user_at),
        )

    def prompt(
        self,
        template: Template,
        user_ids: np.ndarray | None,
        items: np.ndarray,
        target: int = -1,
        taken: np.ndarray = NOTHING,
    ) -> Example:
        """A prompt whose one target (or none, -1) is not part of it: inference, and encoder-decoder training."""
        encoder, items = self.encoder, items[max(0, len(items) - self.max_history) :]
        words, begin, user_at = encoder.prompt_parts(template, user_ids)
        if encoder.encoder_decoder:  # an encoder looks forward, too, so its words depend on what follows
            user_at += len(words) if user_at >= 0 else 0
            words, begin = NOTHING, np.concatenate([words, begin])
        run = self._run(begin, items, encoder.end)
        state = 0 if encoder.encoder_decoder else len(run.ids) - 1
        return Example(
            run.ids,
            run.items,
            np.array([state]),
            np.array([target]),
            words=words,
            positions=self._positions(len(words), len(begin), len(run.ids), len(run.ids) - len(begin)),
            **self._folded(taken, user_at),
        )

    def _folded(self, taken: np.ndarray, user_at: int) -> dict[str, Any]:
        """The newest items of a user, where a prompt shows the user and there is something to fold."""
        if not self.fold or user_at < 0 or len(taken) == 0:
            return {}
        return {"taken": taken[max(0, len(taken) - self.max_history) :], "user_at": user_at}

    def _run(
        self, before: np.ndarray, items: np.ndarray, behind: np.ndarray = NOTHING, *, answered: bool = False
    ) -> Run:
        """Items between ids; `answered`: the last one is written as an answer behind a compact history."""
        encoder = self.encoder
        rows, forms, lead, last = items.astype(np.int64), encoder.read, encoder.lead, len(items)
        if answered:
            forms, lead = encoder.forms, encoder.form_lead
            rows[-1] += encoder.n_items
            # No state behind an answer's last token is asked for, unless a title follows it: else it is left out.
            last -= not encoder.titled
        spelled = forms.gather(rows)
        ids = np.concatenate([before, spelled.values, behind])
        bounds = spelled.offsets + len(before)
        tokens_end = bounds[:-1] + lead[rows]
        at_items = np.full(len(ids), -1, dtype=np.int64)
        at_items[tokens_end[:last] - 1] = items[:last]
        return Run(ids, at_items, bounds[:-1], tokens_end, bounds[1:])

    def _positions(self, words: int, begin: int, length: int, history: int) -> np.ndarray:
        """Positions of a row's `length` ids, of which `begin` stand before `history` ids of items, behind `words` ids.

        Without a history an answer follows the words directly.
        """
        behind = words + begin
        # Words that reach into the place of the items push them on.
        first = behind if self.answer_at is None or history == 0 else max(behind, self.answer_at - history)
        return _order(words, begin, length, first)


@lru_cache(maxsize=4096)
def _order(words: int, begin: int, length: int, first: int) -> np.ndarray:
    """`begin` positions from `words` on, then from `first` on, int64 `[length]`; the same array every time."""
    return np.concatenate([np.arange(words, words + begin), np.arange(first, first + length - begin)])


def collate(examples: list[Example], pad_id: int) -> Batch:
    """Pads examples on the right into one batch."""
    # Columns, since a loop over rows for each of them takes longer than making them.
    ids, items, states, targets, text, rating, words, positions, answers, taken, user_at = zip(*examples, strict=True)
    lengths, counts = _lengths(ids), _lengths(targets)
    rows, real = np.arange(len(ids)), _real(lengths)
    table = _padded(ids, real, pad_id)
    # Words of a template are one array, whichever row begins with them.
    keys = list(map(id, words))
    sorts = dict(zip(keys, words, strict=True))
    number = {key: place for place, key in enumerate(sorts)}
    words_real = _real(_lengths(tuple(sorts.values())))
    orders = [_order(0, n, n, 0) if own is None else own for own, n in zip(positions, lengths.tolist(), strict=True)]
    text_row, text_at = np.repeat(rows, _lengths(text)), np.concatenate(text)
    rated, known = np.flatnonzero(_lengths(rating)), np.flatnonzero(np.array(user_at) >= 0)
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
        "text_row": text_row,
        "text_position": text_at - 1,
        "text_ids": table[text_row, text_at],
        "rating_row": rated,
        "rating_position": lengths[rated] - 1,
        "ratings": np.concatenate(rating),
        **_answers(answers, counts),
    }
    return Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _answers(answers: Sequence[np.ndarray | None], counts: np.ndarray) -> dict[str, Any]:
    """Numbers of the written targets among all of a batch; nothing where every row has written all of its own."""
    if all(own is None for own in answers):
        return {}
    given = [np.arange(n) if own is None else own for own, n in zip(answers, counts, strict=True)]
    return {"answers": np.concatenate(given) + np.repeat(np.cumsum(counts) - counts, _lengths(given))}


def _lengths(rows: Sequence[np.ndarray]) -> np.ndarray:
    """int64 `[n]`."""
    lengths: np.ndarray = np.fromiter(map(len, rows), np.int64, len(rows))
    return lengths


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The numbers of several ranges, one after the other, int64."""
    lengths = end - begin
    before = np.cumsum(lengths) - lengths
    places: np.ndarray = np.arange(lengths.sum()) + np.repeat(begin - before, lengths)
    return places


def _real(lengths: np.ndarray) -> np.ndarray:
    """Where rows of some lengths `[n]` stand in a table that is filled up on the right, bool `[n, longest]`."""
    real: np.ndarray = np.arange(lengths.max()) < lengths[:, None]
    return real


def _padded(rows: Sequence[np.ndarray], real: np.ndarray, fill: int) -> np.ndarray:
    """Rows as such a table, int64."""
    table = np.full(real.shape, fill, dtype=np.int64)
    table[real] = np.concatenate(rows)
    return table
