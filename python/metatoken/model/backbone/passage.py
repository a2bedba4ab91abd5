"""What a backbone reads: token vectors, of which many rows begin with the same words.

The words of a template are longer than most histories. A causal model's states of them do not depend on what follows,
so they are computed once for all rows that share them, and the rows continue from their keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Passage:
    """Rows to read. Shapes: B rows, L positions, W sorts of first words of at most P positions.

    Attributes:
        vectors: float `[B, L, d]`.
        mask: int64 `[B, L]`, padding on the right.
        positions: int64 `[B, L]`; None for those that follow from the order.
        words: float `[W, P, d]`, what rows begin with; None where they begin with nothing in common.
        words_mask: int64 `[W, P]`, padding on the right.
        words_of: int64 `[B]`, which of them each row begins with.
    """

    vectors: Tensor
    mask: Tensor
    positions: Tensor | None = None
    words: Tensor | None = None
    words_mask: Tensor | None = None
    words_of: Tensor | None = None

    @property
    def shared(self) -> int:
        """P, 0 without words."""
        return 0 if self.words is None else self.words.shape[1]

    @property
    def whole_mask(self) -> Tensor:
        """int64 `[B, P + L]`, of words and rows."""
        if self.words_mask is None or self.words_of is None:
            return self.mask
        return torch.cat([self.words_mask.index_select(0, self.words_of), self.mask], dim=1)

    @property
    def next_position(self) -> Tensor:
        """Position of what would follow each row, int64 `[B]`."""
        lengths = self.mask.sum(dim=1)
        if self.positions is None:
            return lengths
        return self.positions.gather(1, lengths[:, None] - 1).squeeze(1) + 1

    def table(self) -> tuple[Tensor, Tensor]:
        """Words, then rows, as one table `[N, d]`, and int64 `[N]` positions."""
        order = torch.arange(self.shared + self.mask.shape[1], device=self.mask.device)
        positions = order[self.shared :].expand(len(self.mask), -1) if self.positions is None else self.positions
        vectors, positions = self.vectors.flatten(0, 1), positions.reshape(-1)
        if self.words is None:
            return vectors, positions
        of_words = order[: self.shared].repeat(len(self.words))
        return torch.cat([self.words.flatten(0, 1), vectors]), torch.cat([of_words, positions])

    def padded(self, step: int) -> Passage:
        """The same with more padding, so that lengths of rows and words are multiples of `step`."""

        def longer(table: Tensor | None) -> Tensor | None:
            if table is None or table.shape[1] % step == 0:
                return table
            return pad(table, (0, 0) * (table.dim() - 2) + (0, -table.shape[1] % step))

        positions = self.positions
        if positions is None and self.words is not None:  # they follow the words as they are
            positions = (torch.arange(self.mask.shape[1], device=self.mask.device) + self.shared).expand_as(self.mask)
        parts = (self.vectors, self.mask, positions, self.words, self.words_mask)
        return Passage(*map(longer, parts), words_of=self.words_of)  # type: ignore[arg-type, misc]

    def inline(self) -> Passage:
        """The same with each row's words in front of it, for models that cannot share them."""
        if self.words is None or self.words_of is None:
            return self
        order = torch.arange(self.shared, device=self.mask.device).expand(len(self.mask), -1)
        return Passage(
            torch.cat([self.words.index_select(0, self.words_of), self.vectors], dim=1),
            self.whole_mask,
            None if self.positions is None else torch.cat([order, self.positions], dim=1),
        )

    def spread(self, cache: Any) -> Any:
        """A cache of the words, in place, as one of the rows; None where it holds more than keys and values."""
        if not of_keys_and_values(cache):
            return None
        for layer in cache.layers:
            # Not by indexing, whose gradient is much slower than that of a selection.
            layer.keys = layer.keys.index_select(0, self.words_of)
            layer.values = layer.values.index_select(0, self.words_of)
        return cache


def of_keys_and_values(cache: Any) -> bool:
    """Whether a cache of transformers holds keys and values, of all positions or of a window, and nothing else."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = getattr(cache, "layers", [])
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
