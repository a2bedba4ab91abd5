"""What a backbone has read, and how several continuations of one prompt share it.

A beam search continues each prompt many times. Copying the prompt's keys and values for each beam costs more than the
step itself (27 MB per layer for 640 beams of 60 tokens and width 128). Here the newest tokens of all beams of a prompt
stand side by side behind the one cached prompt, and a mask lets each see the prompt, the tokens of its own path, and
itself. Where that is not possible (encoder-decoder models, caches with windows, other attention kernels) each row has
its own copy.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PADDING = 4  # sharing ends where more positions than this would be computed per needed one


@dataclass
class Prefix:
    """What a backbone has read so far, one row per prompt or beam; carried while decoding.

    Attributes:
        last: float `[R, d]` unit state that predicts the next token.
        mask: int64 `[C, L]` attention mask of what was read, for each row of the cache.
        position: int64 `[R]` position of the next token.
        cache: Key-value cache, the decoder's where there is one, with keys and values of the encoder's output.
        encoded: float `[R, L, d]` encoder's output (encoder-decoder only).
        owner: int64 `[R]` row of the cache that each row continues; None where each row has its own.
        slots: int64 `[R, t]` positions in the cache of the tokens that each row has read behind the shared prompt.
    """

    last: Tensor
    mask: Tensor
    position: Tensor
    cache: Any
    encoded: Tensor | None = None
    owner: Tensor | None = None
    slots: Tensor | None = None


@dataclass(frozen=True)
class Layout:
    """Where the next tokens of R rows stand: one row per prompt, side by side.

    Attributes:
        prefix: What was read, with the cache of the prompts that take part.
        row: int64 `[R]` row of the cache.
        column: int64 `[R]` place among the new positions.
        mask: float `[C, 1, W, K + W]`, 0 where a new position may look.
        slots: int64 `[R, t + 1]`.
    """

    prefix: Prefix
    row: Tensor
    column: Tensor
    mask: Tensor
    slots: Tensor

    def padded(self, values: Tensor) -> Tensor:
        """Values of rows `[R]` as a table `[C, W]`, 0 where no row stands."""
        table = values.new_zeros(self.mask.shape[0], self.mask.shape[2])
        table[self.row, self.column] = values
        return table


def sharable(cache: Any, attention: str | None) -> bool:
    """Whether rows of this cache may be shared: plain layers, and attention that takes a mask of our own."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", None) or [None]
    return plain_attention(attention) and all(type(layer) is DynamicLayer for layer in layers)


def plain_attention(attention: str | None) -> bool:
    """Whether an attention kernel takes a mask that says for every pair of positions who sees whom."""
    return attention in ("sdpa", "eager")


def lay_out(prefix: Prefix, source: Tensor, dtype: torch.dtype) -> Layout | None:
    """Places the next token of each row `source[i]` behind its prompt; None where padding would outweigh sharing."""
    if prefix.owner is None or prefix.slots is None:
        return None
    owner, slots = prefix.owner[source], prefix.slots[source]
    there, row, counts = torch.unique(owner, return_inverse=True, return_counts=True)
    width = int(counts.max())
    if len(counts) * width > PADDING * len(source):
        return None
    if len(there) < len(prefix.mask):
        prefix = replace(prefix, cache=selected(prefix.cache, there), mask=prefix.mask[there])
    else:
        prefix = replace(prefix, cache=_holder(prefix.cache))
    order = torch.argsort(row, stable=True)
    column = torch.empty_like(row)
    column[order] = torch.arange(len(row), device=row.device) - (torch.cumsum(counts, 0) - counts)[row[order]]
    known = int(prefix.cache.get_seq_length())
    slots = torch.cat([slots, column[:, None] + known], dim=1)
    see = torch.zeros(len(counts), width, known + width, dtype=torch.bool, device=row.device)
    see[:, :, : prefix.mask.shape[1]] = prefix.mask[:, None, :].bool()
    see[row[:, None], column[:, None], slots] = True
    mask = torch.zeros(see.shape, dtype=dtype, device=row.device).masked_fill(~see, torch.finfo(dtype).min)
    return Layout(prefix, row, column, mask[:, None], slots)


def separate(prefix: Prefix) -> Prefix:
    """The same, each row with its own copy of what it has read."""
    if prefix.owner is None or prefix.slots is None:
        return prefix
    n, length = len(prefix.owner), prefix.mask.shape[1]
    prompt = torch.arange(length, device=prefix.slots.device).expand(n, -1)
    places = torch.cat([prompt, prefix.slots], dim=1)
    cache = _holder(prefix.cache)
    for layer in cache.layers:
        index = places[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
        layer.keys = layer.keys[prefix.owner].gather(2, index)
        layer.values = layer.values[prefix.owner].gather(2, index)
    mask = F.pad(prefix.mask[prefix.owner], (0, prefix.slots.shape[1]), value=1)
    return replace(prefix, cache=cache, mask=mask, owner=None, slots=None)


def selected(cache: Any, rows: Tensor) -> Any:
    """A cache of some rows of another, which is left as it is."""
    if hasattr(cache, "self_attention_cache"):
        return type(cache)(selected(cache.self_attention_cache, rows), selected(cache.cross_attention_cache, rows))
    other = _holder(cache)
    other.batch_select_indices(rows)
    return other


def _holder(cache: Any) -> Any:
    """A cache over the same tensors. Selecting and appending put new tensors into a layer, so it may be changed."""
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other
