"""Examples: one prompt with the positions it is supervised at, and batches of them.

A causal model reads `words item item ...`. The state right before an item's first token predicts that item, so one
pass supervises every item of a history. Where histories are compact an item is one position, and its tokens are
written at the end of a row alone, as an answer is: there the tokens behind the first one are supervised. An
encoder-decoder model reads `words item item` in its encoder and predicts one target from its decoder's first position.

Rows of a batch that begin with the same words share them, so that a model can read these once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.task import Template

NOTHING = np.zeros(0, dtype=np.int64)
FIRST_ITEM = 64  # position of a history's first item, where positions are learned and histories compact


@dataclass(frozen=True)
class Example:
    """One row of a batch.

    Attributes:
        ids: int64 `[length]` token ids (text and OOV), behind `words`.
        items: int64 `[length]` item row whose last OOV token stands here, else -1: where the item's vector enters.
        states: int64 `[targets]` place in `ids` of the state that predicts each target.
        targets: int64 `[targets]` item rows.
        text: int64 `[any]` places of the title tokens that are supervised, those of targets; each is predicted from
            the place before it; where a task writes, those of the answer.
        rating: float32 `[0 or 1]`, what the rating head should give at the last place, in spreads.
        words: int64 `[any]` token ids that the row begins with, as other rows do.
        positions: int64 `[length]` positions of `ids`; None for those that follow from the order.
        answers: int64 `[any]` which targets have their tokens written behind their states; None for all.
    """

    ids: np.ndarray
    items: np.ndarray
    states: np.ndarray = field(default_factory=lambda: NOTHING)
    targets: np.ndarray = field(default_factory=lambda: NOTHING)
    text: np.ndarray = field(default_factory=lambda: NOTHING)
    rating: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    words: np.ndarray = field(default_factory=lambda: NOTHING)
    positions: np.ndarray | None = None
    answers: np.ndarray | None = None


@dataclass
class Batch:
    """Padded examples. Shapes: B rows, L positions, P supervised targets over all rows, W sorts of first words.

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
    text_row: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    text_position: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    text_ids: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    rating_row: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    rating_position: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    ratings: Tensor = field(default_factory=lambda: torch.zeros(0))
    normaliser: Tensor | None = None

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
        ids: int64 `[length]` token ids.
        items: int64 `[length]` item rows at their last OOV tokens, else -1.
        begin: int64 `[n]` place in the prompt where each item begins.
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
        first_item: Position of the first item of a history; None for the one behind the words.
    """

    def __init__(self, encoder: PromptEncoder, max_history: int, first_item: int | None = None) -> None:
        self.encoder, self.max_history, self.first_item = encoder, max_history, first_item

    def causal(self, template: Template, user_ids: np.ndarray | None, items: np.ndarray, first_target: int) -> Example:
        """One pass over `items`, supervised at `items[first_target:]`.

        Args:
            template: The words.
            user_ids: Token ids of the user, or None.
            items: Item rows, oldest first, targets included.
            first_target: Index into `items` of the first one that is a target.
        """
        words, begin = self.encoder.prompt_parts(template, user_ids)
        compact, titled = self.encoder.compact, self.encoder.titled
        run = self._ending(items, len(begin)) if compact else self._read(items, len(begin))
        return Example(
            np.concatenate([begin, run.ids]),
            np.concatenate([np.full(len(begin), -1), run.items]),
            # The state before item j stands where item j-1 ends, or at the last word for the first item.
            run.begin[first_target:] - 1,
            items[first_target:],
            _ranges(run.tokens_end[first_target:], run.end[first_target:]) if titled else NOTHING,
            words=words,
            positions=self._positions(len(words), len(begin), len(run.ids), alone=len(items) == 1),
            answers=np.array([len(items) - first_target - 1]) if compact else None,
        )

    def prompt(self, template: Template, user_ids: np.ndarray | None, items: np.ndarray, target: int = -1) -> Example:
        """A prompt whose one target (or none, -1) is not part of it: inference, and encoder-decoder training."""
        encoder, items = self.encoder, items[max(0, len(items) - self.max_history) :]
        words, begin = encoder.prompt_parts(template, user_ids)
        if encoder.encoder_decoder:  # an encoder looks forward, too, so its words depend on what follows
            words, begin = NOTHING, np.concatenate([words, begin])
        run = self._read(items, len(begin))
        full = np.concatenate([begin, run.ids, encoder.end])
        state = 0 if encoder.encoder_decoder else len(full) - 1
        return Example(
            full,
            np.concatenate([np.full(len(begin), -1), run.items, np.full(len(encoder.end), -1)]),
            np.array([state]),
            np.array([target]),
            words=words,
            positions=self._positions(len(words), len(begin), len(full) - len(begin), alone=len(items) == 0),
        )

    def _read(self, items: np.ndarray, offset: int) -> Run:
        """Items of a history, behind `offset` ids."""
        read = self.encoder.read.gather(items)
        begin, lead = read.offsets[:-1], self.encoder.lead[items]
        at_items = np.full(len(read.values), -1, dtype=np.int64)
        at_items[begin + lead - 1] = items
        bounds = read.offsets + offset
        return Run(read.values, at_items, bounds[:-1], bounds[:-1] + lead, bounds[1:])

    def _ending(self, items: np.ndarray, offset: int) -> Run:
        """Items of a compact history, the last one written as an answer."""
        encoder, run, last = self.encoder, self._read(items[:-1], offset), int(items[-1])
        # No state behind an answer's last token is asked for, unless a title follows it.
        answer = encoder.written[last] if encoder.titled else encoder.items[last][:-1]
        begin, tokens = offset + len(run.ids), int(encoder.items.lengths[last])
        at_items = np.full(len(answer), -1, dtype=np.int64)
        at_items[tokens - 1 : tokens] = last  # nowhere, where the last token is not written
        return Run(
            np.concatenate([run.ids, answer]),
            np.concatenate([run.items, at_items]),
            np.append(run.begin, begin),
            np.append(run.tokens_end, begin + tokens),
            np.append(run.end, begin + len(answer)),
        )

    def _positions(self, words: int, begin: int, items: int, *, alone: bool) -> np.ndarray:
        """Positions of what stands before the items of a history and of these; `alone`: of an answer without one."""
        first = words + begin if alone or self.first_item is None else self.first_item
        return np.concatenate([np.arange(words, words + begin), np.arange(first, first + items)])


def collate(examples: list[Example], pad_id: int) -> Batch:
    """Pads examples on the right into one batch."""
    rows = np.arange(len(examples))
    ids, mask = _padded([example.ids for example in examples], pad_id)
    items, _ = _padded([example.items for example in examples], -1)
    orders = [np.arange(len(e.ids)) if e.positions is None else e.positions for e in examples]
    sorts = {example.words.tobytes(): example.words for example in examples}
    number = {key: place for place, key in enumerate(sorts)}
    words, words_mask = _padded(list(sorts.values()), pad_id)
    counts = np.array([len(e.targets) for e in examples])
    text_row = np.repeat(rows, [len(e.text) for e in examples])
    text_at = np.concatenate([e.text for e in examples])
    rated = np.flatnonzero([len(e.rating) for e in examples])
    arrays = {
        "input_ids": ids,
        "attention_mask": mask,
        "items": items,
        "state_row": np.repeat(rows, counts),
        "state_position": np.concatenate([e.states for e in examples]),
        "targets": np.concatenate([e.targets for e in examples]).astype(np.int64),
        "words": words,
        "words_mask": words_mask,
        "words_of": np.array([number[example.words.tobytes()] for example in examples]),
        "positions": _padded(orders, 0)[0],
        "text_row": text_row,
        "text_position": text_at - 1,
        "text_ids": ids[text_row, text_at],
        "rating_row": rated,
        "rating_position": np.array([len(examples[row].ids) - 1 for row in rated], dtype=np.int64),
        "ratings": np.concatenate([e.rating for e in examples]),
        **_answers(examples, counts),
    }
    return Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _answers(examples: list[Example], counts: np.ndarray) -> dict[str, Any]:
    """Numbers of the written targets among all of a batch; nothing where every row has written all of its own."""
    if all(example.answers is None for example in examples):
        return {}
    first = np.cumsum(counts) - counts
    own = [np.arange(n) if e.answers is None else e.answers for e, n in zip(examples, counts, strict=True)]
    return {"answers": np.concatenate([at + begin for at, begin in zip(own, first, strict=True)])}


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The numbers of several ranges, one after the other, int64."""
    return np.concatenate([NOTHING, *map(np.arange, begin, end)])


def _padded(rows: list[np.ndarray], fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows as a table filled up on the right, and where they are, both int64 `[B, L]`."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    table = np.full(real.shape, fill, dtype=np.int64)
    table[real] = np.concatenate(rows)
    return table, real.astype(np.int64)
