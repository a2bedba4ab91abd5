"""Log-probabilities of the item head in one node of the autograd graph.

With `z = S U^T / tau` the logits of `P` states against `n` items, the loss needs three numbers a row: the target's
own logit `z_t`, `log sum exp z` over the catalogue, and `log sum exp z_j` over the items `j` below a node, which stand
in a slice `[b, e)`. Written in plain operations, the backward pass makes three matrices `[P, n]` and adds them up. Here
it makes one, in place of the logits:

    dL/dz_j = g_all exp(z_j - all) + [b <= j < e] g_below exp(z_j - below) + [j = t] g_own

and two products take it to `S` and `U`. The slow twin is `metatoken.model.heads.ItemHead` with
`GenerationHead.leaf_log_normaliser`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
        logits = states @ vectors.T
        own = logits.gather(1, targets[:, None]).squeeze(1)
        total = torch.logsumexp(logits, dim=1)
        columns, real = _slices(begin, end)
        inside = logits.gather(1, columns).masked_fill_(~real, -torch.inf)
        below = torch.logsumexp(inside, dim=1)
        ctx.save_for_backward(states, vectors, logits, targets, total, inside, below, columns)
        return own, total, below

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        own, total, below = grads
        states, vectors, logits, targets, log_total, inside, log_below, columns = ctx.saved_tensors
        slope = torch.sub(logits, log_total[:, None]).exp_().mul_(total[:, None])
        share = torch.where(inside.isneginf(), 0.0, (inside - log_below[:, None]).exp()) * below[:, None]
        slope.scatter_add_(1, columns, share)
        slope.scatter_add_(1, targets[:, None], own[:, None])
        return slope @ vectors, slope.T @ states, None, None, None


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
