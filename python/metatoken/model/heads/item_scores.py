"""Log-probabilities of the item head in one node of the autograd graph.

With `z = S U^T` the logits of `P` states against `n` items, the loss needs three numbers per row: the target's own
logit `z_t`, `all = log sum exp z` over the catalogue, and `below = log sum exp z_j` over the items `j` below a node,
which stand in a slice `[b, e)`. Written in plain operations, forward and backward make several matrices `[P, n]` each.
Here there is never more than a block of rows of one, small enough for the cache: the forward pass keeps three numbers
per row, and the backward pass multiplies the block again, turns it into its own gradient in place,

    dL/dz_j = g_all exp(z_j - all) + [b <= j < e] g_below exp(z_j - below) + [j = t] g_own,

and two products take that to `S` and `U`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK = 1 << 20  # logits in a block: 4 MB
ON_DEVICE = 1 << 26  # on devices, where launching a kernel costs more than memory


class ItemScores(torch.autograd.Function):
    """`(own, all, below)`, each float `[P]`; see the module's text.

    Args of `apply`:
        states: float `[P, d]`.
        vectors: float `[n, d]`, divided by the temperature.
        targets: int64 `[P]` columns.
        begin: int64 `[P]` first column of each slice.
        end: int64 `[P]` column behind its last; an empty slice gives minus infinity and no gradient.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, states: Tensor, vectors: Tensor, targets: Tensor, begin: Tensor, end: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        own, total, below = (states.new_empty(len(states)) for _ in range(3))
        for rows, logits in _blocks(states, vectors):
            columns, real = _slices(begin[rows], end[rows])
            own[rows] = logits.gather(1, targets[rows, None]).squeeze(1)
            below[rows] = torch.logsumexp(logits.gather(1, columns).masked_fill_(~real, -torch.inf), dim=1)
            highest = logits.amax(1)
            total[rows] = logits.sub_(highest[:, None]).exp_().sum(1).log_().add_(highest)
        ctx.save_for_backward(states, vectors, targets, begin, end, total, below)
        return own, total, below

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        by_own, by_total, by_below = grads
        states, vectors, targets, begin, end, total, below = ctx.saved_tensors
        to_states, to_vectors = torch.empty_like(states), torch.zeros_like(vectors)
        for rows, logits in _blocks(states, vectors):
            columns, real = _slices(begin[rows], end[rows])
            inside = logits.gather(1, columns)
            share = torch.where(real, (inside - below[rows, None]).exp() * by_below[rows, None], 0.0)
            slope = logits.sub_(total[rows, None]).exp_().mul_(by_total[rows, None])
            slope.scatter_add_(1, columns, share)
            slope.scatter_add_(1, targets[rows, None], by_own[rows, None])
            torch.mm(slope, vectors, out=to_states[rows])
            to_vectors.addmm_(slope.T, states[rows])
        return to_states, to_vectors, None, None, None


def _blocks(states: Tensor, vectors: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of `states`, and their logits in a buffer that the next block overwrites."""
    most = BLOCK if states.device.type == "cpu" else ON_DEVICE
    count = max(1, -(-len(states) * len(vectors) // most))
    size = max(1, -(-len(states) // count))
    buffer = states.new_empty(size, len(vectors))
    for first in range(0, len(states), size):
        rows = slice(first, min(first + size, len(states)))
        logits = buffer[: rows.stop - first]
        torch.mm(states[rows], vectors.T, out=logits)
        yield rows, logits


class Reordered(torch.autograd.Function):
    """Rows of `x` in another order; the gradient comes back by the inverse order instead of by scattered sums.

    Args of `apply`:
        x: float `[n, d]`.
        order: int64 `[n]`, a permutation.
        inverse: int64 `[n]`, its inverse.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        (inverse,) = ctx.saved_tensors
        return grads[0].index_select(0, inverse), None, None


def _slices(begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Columns of slices, padded to the widest with column 0: int64 `[P, w]`, and which are real."""
    widest = int((end - begin).max().clamp_min(1)) if len(begin) else 1
    columns = begin[:, None] + torch.arange(widest, device=begin.device)
    real = columns < end[:, None]
    return columns.masked_fill(~real, 0), real
