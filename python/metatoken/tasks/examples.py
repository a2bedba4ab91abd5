"""Examples: one prompt with the positions it is supervised at, and batches of them.

A causal model reads `words item item item ...`. The state right before an item's first token predicts that item, so
one pass supervises every item of a history. An encoder-decoder model reads `words item item` in its encoder and
predicts one target from its decoder's first position.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from metatoken.tasks.prompts import PromptEncoder
from metatoken.tasks.task import Template


@dataclass(frozen=True)
class Example:
    """One row of a batch.

    Attributes:
        ids: int64 `[length]` token ids (text and OOV).
        items: int64 `[length]` item row whose last OOV token stands here, else -1: where the item's vector enters.
        states: int64 `[targets]` position of the state that predicts each target.
        targets: int64 `[targets]` item rows.
        text: int64 `[any]` positions of the title tokens that are supervised, those of targets; each is predicted from
            the position before it; where a task writes, those of the answer.
        rating: float32 `[0 or 1]`, what the rating head should give at the last position, in spreads.
    """

    ids: np.ndarray
    items: np.ndarray
    states: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    targets: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    text: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rating: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


@dataclass
class Batch:
    """Padded examples. Shapes: B rows, L positions, P supervised targets over all rows.

    Attributes:
        input_ids: int64 `[B, L]`, padded on the right.
        attention_mask: int64 `[B, L]`.
        items: int64 `[B, L]` item rows or -1.
        state_row: int64 `[P]` row of each target.
        state_position: int64 `[P]` position of the state before the target's first token; in an encoder-decoder
            model the position is the decoder's, hence 0.
        targets: int64 `[P]` item rows.
        text_row: int64 `[T]` row of each supervised text token.
        text_position: int64 `[T]` position of the state that predicts it, the one before it.
        text_ids: int64 `[T]` its id.
        rating_row: int64 `[R]` row of each rating.
        rating_position: int64 `[R]` its last position, where the rating head reads.
        ratings: float32 `[R]` what the head should give.
        normaliser: float `[3]`, what sums over targets, text tokens and ratings are divided by; None means P, T and R.
    """

    input_ids: Tensor
    attention_mask: Tensor
    items: Tensor
    state_row: Tensor
    state_position: Tensor
    targets: Tensor
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


class ExampleBuilder:
    """Builds examples of the ranking tasks.

    Args:
        encoder: Splices ids.
        max_history: Longest history in items; older items are dropped.
    """

    def __init__(self, encoder: PromptEncoder, max_history: int) -> None:
        self.encoder = encoder
        self.max_history = max_history

    def causal(self, template: Template, user_ids: np.ndarray | None, items: np.ndarray, first_target: int) -> Example:
        """One pass over `items`, supervised at `items[first_target:]`.

        Args:
            template: The words.
            user_ids: Token ids of the user, or None.
            items: Item rows, oldest first, targets included.
            first_target: Index into `items` of the first one that is a target.
        """
        words = self.encoder.prompt(template, user_ids)
        ids, starts, tokens_end, ends = self._written(items, len(words))
        at_items = np.full(len(words) + len(ids), -1, dtype=np.int64)
        at_items[tokens_end - 1] = items
        return Example(
            np.concatenate([words, ids]),
            at_items,
            # The state before item j stands where item j-1 ends, or at the last word for the first item.
            starts[first_target:] - 1,
            items[first_target:],
            self._titles(tokens_end[first_target:], ends[first_target:]),
        )

    def _titles(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Positions of what is written behind OOV tokens, int64; nothing where items are written by these alone."""
        if self.encoder.written is self.encoder.items:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate([np.zeros(0, dtype=np.int64), *map(np.arange, begin, end)])

    def _written(self, items: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Ids of items in a row, and where each starts, where its OOV tokens and it end, behind `offset` ids."""
        written = self.encoder.written.gather(items)
        bounds = written.offsets + offset
        return written.values, bounds[:-1], bounds[:-1] + self.encoder.items.lengths[items], bounds[1:]

    def prompt(self, template: Template, user_ids: np.ndarray | None, items: np.ndarray, target: int = -1) -> Example:
        """A prompt whose one target (or none, -1) is not part of it: inference, and encoder-decoder training."""
        items = items[max(0, len(items) - self.max_history) :]
        words = self.encoder.prompt(template, user_ids)
        ids, _, tokens_end, _ = self._written(items, len(words))
        tail = self.encoder.end
        at_items = np.full(len(words) + len(ids) + len(tail), -1, dtype=np.int64)
        at_items[tokens_end - 1] = items
        full = np.concatenate([words, ids, tail])
        state = 0 if self.encoder.encoder_decoder else len(full) - 1
        return Example(full, at_items, np.array([state]), np.array([target]))


def collate(examples: list[Example], pad_id: int) -> Batch:
    """Pads examples on the right into one batch."""
    rows = np.arange(len(examples))
    length = max(len(example.ids) for example in examples)
    ids = np.full((len(examples), length), pad_id, dtype=np.int64)
    items = np.full((len(examples), length), -1, dtype=np.int64)
    mask = np.zeros((len(examples), length), dtype=np.int64)
    for row, example in enumerate(examples):
        n = len(example.ids)
        ids[row, :n], items[row, :n], mask[row, :n] = example.ids, example.items, 1
    text_row = np.repeat(rows, [len(e.text) for e in examples])
    text_at = np.concatenate([e.text for e in examples])
    rated = np.flatnonzero([len(e.rating) for e in examples])
    arrays = {
        "input_ids": ids,
        "attention_mask": mask,
        "items": items,
        "state_row": np.repeat(rows, [len(e.targets) for e in examples]),
        "state_position": np.concatenate([e.states for e in examples]),
        "targets": np.concatenate([e.targets for e in examples]).astype(np.int64),
        "text_row": text_row,
        "text_position": text_at - 1,
        "text_ids": ids[text_row, text_at],
        "rating_row": rated,
        "rating_position": np.array([len(examples[row].ids) - 1 for row in rated], dtype=np.int64),
        "ratings": np.concatenate([e.rating for e in examples]),
    }
    return Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})
