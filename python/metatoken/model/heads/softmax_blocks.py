"""Log-normalisers of the item head in blocks of rows, by torch: on devices, and as what the native core must equal.

Written in plain operations, forward and backward make several matrices `[P, n]` each. Here there is never more than a
block of rows of one, small enough for the cache: the forward pass keeps two numbers per row, and the backward pass
multiplies the block again and turns it into its own gradient in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metatoken.model.heads.item_scores import Gradients

BLOCK = 1 << 20  # logits in a block: 4 MB
ON_DEVICE = 1 << 26  # on devices, where launching a kernel costs more than memory


def forward(inputs: Sequence[Tensor | None], *, gradient: bool) -> tuple[Tensor, Tensor, Gradients | None]:  # noqa: ARG001
    """As `item_scores.Softmax.forward`; nothing is kept."""
    states, vectors, bias, begin, end = inputs
    total, below = (states.new_empty(len(states)) for _ in range(2))
    for rows, logits in _blocks(states, vectors, bias):
        columns, real = _slices(begin[rows], end[rows])
        below[rows] = torch.logsumexp(logits.gather(1, columns).masked_fill_(~real, -torch.inf), dim=1)
        highest = logits.amax(1)
        total[rows] = logits.sub_(highest[:, None]).exp_().sum(1).log_().add_(highest)
    return total, below, None


def backward(
    inputs: Sequence[Tensor | None],
    found: tuple[Tensor, Tensor],
    by_all: Tensor,
    by_below: Tensor,
    kept: Gradients | None,  # noqa: ARG001
) -> Gradients:
    """As `item_scores.Softmax.backward`."""
    states, vectors, bias, begin, end = inputs
    total, below = found
    to_states, to_vectors = torch.empty_like(states), torch.zeros_like(vectors)
    to_bias = None if bias is None else torch.zeros_like(bias)
    for rows, logits in _blocks(states, vectors, bias):
        columns, real = _slices(begin[rows], end[rows])
        inside = logits.gather(1, columns)
        share = torch.where(real, (inside - below[rows, None]).exp() * by_below[rows, None], 0.0)
        slope = logits.sub_(total[rows, None]).exp_().mul_(by_all[rows, None])
        slope.scatter_add_(1, columns, share)
        torch.mm(slope, vectors, out=to_states[rows])
        to_vectors.addmm_(slope.T, states[rows])
        if to_bias is not None:
            to_bias += slope.sum(0)
    return to_states, to_vectors, to_bias


def _blocks(states: Tensor, vectors: Tensor, bias: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Rows of `states`, and their logits in a buffer that the next block overwrites."""
    most = BLOCK if states.device.type == "cpu" else ON_DEVICE
    count = max(1, -(-len(states) * len(vectors) // most))
    size = max(1, -(-len(states) // count))
    buffer = states.new_empty(size, len(vectors))
    for first in range(0, len(states), size):
        rows = slice(first, min(first + size, len(states)))
        logits = buffer[: rows.stop - first]
        torch.mm(states[rows], vectors.T, out=logits)
        if bias is not None:
            logits += bias
        yield rows, logits


def _slices(begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Columns of slices, padded to the widest with column 0: int64 `[P, w]`, and which are real."""
    widest = int((end - begin).max().clamp_min(1)) if len(begin) else 1
    columns = begin[:, None] + torch.arange(widest, device=begin.device)
    real = columns < end[:, None]
    return columns.masked_fill(~real, 0), real
