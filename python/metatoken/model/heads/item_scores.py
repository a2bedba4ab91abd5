"""Log-probabilities of the item head in one node of the autograd graph.

With `z = S U^T + b` the logits of `P` states against `n` items, the loss needs three numbers per row: the target's own
logit `z_t`, `all = log sum exp z` over the catalogue, and `below = log sum exp z_j` over the items `j` below a node,
which stand in a slice `[b, e)`. The matrix `[P, n]` never exists: on a processor the native core works on pieces that
fit into its cache (`softmax_native`), elsewhere torch on blocks of rows (`softmax_blocks`), which is what the tests
hold the native core against. The gradient of a row is

    dL/dz_j = g_all exp(z_j - all) + [b <= j < e] g_below exp(z_j - below) + [j = t] g_own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from metatoken.model.heads import softmax_blocks, softmax_native

if TYPE_CHECKING:
    from collections.abc import Sequence

Gradients = tuple[Tensor, Tensor, Tensor | None]
"""Gradients of states, vectors and biases."""


class Softmax(Protocol):
    """What both implementations have. `inputs` are states `[P, d]`, vectors `[n, d]`, biases `[n]` or None, and the
    int64 `[P]` first columns and columns behind the last of the slices."""

    def forward(self, inputs: Sequence[Tensor | None], *, gradient: bool) -> tuple[Tensor, Tensor, Gradients | None]:
        """`all`, `below`, and if wanted what `backward` may use of the work: the gradients of the sum of `all`."""

    def backward(
        self,
        inputs: Sequence[Tensor | None],
        found: tuple[Tensor, Tensor],
        by_all: Tensor,
        by_below: Tensor,
        kept: Gradients | None,
    ) -> Gradients:
        """Gradients, given `all` and `below` and what the loss has for gradients in them, `[P]` each."""


class ItemScores(torch.autograd.Function):
    """`(own, all, below)`, each float `[P]`; see the module's text.

    Args of `apply`:
        states: float `[P, d]`.
        vectors: float `[n, d]`, divided by the temperature.
        targets: int64 `[P]` columns.
        begin: int64 `[P]` first column of each slice.
        end: int64 `[P]` column behind its last; an empty slice gives minus infinity and no gradient.
        bias: float `[n]`, added to the logits of each row; None without.
        gradient: Whether gradients will be asked for; the inputs cannot tell, where torch records none.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        states: Tensor,
        vectors: Tensor,
        targets: Tensor,
        begin: Tensor,
        end: Tensor,
        bias: Tensor | None = None,
        gradient: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs = [None if x is None else x.detach() for x in (states, vectors, bias, begin, end)]
        work = implementation(states)
        total, below, kept = work.forward(inputs, gradient=gradient and any(ctx.needs_input_grad))
        own = torch.linalg.vecdot(states.detach(), vectors.detach().index_select(0, targets))
        if bias is not None:
            own += bias.detach()[targets]
        ctx.save_for_backward(states, vectors, bias, begin, end, targets, total, below, *(kept or ()))
        return own, total, below

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        by_own, by_all, by_below = grads
        *inputs, targets, total, below = ctx.saved_tensors[:8]
        states, vectors, bias, *_ = inputs
        kept = ctx.saved_tensors[8:] or None
        found = implementation(states).backward(inputs, (total, below), by_all, by_below, kept)
        to_states, to_vectors, to_bias = found
        to_states.addcmul_(vectors.index_select(0, targets), by_own[:, None])
        to_vectors.index_add_(0, targets, states * by_own[:, None])
        if to_bias is not None:
            to_bias.index_add_(0, targets, by_own)
        return to_states, to_vectors, None, None, None, to_bias, None


def implementation(states: Tensor) -> Softmax:
    """The native core for what a processor has in float32, blocks of torch for everything else."""
    native = states.device.type == "cpu" and states.dtype == torch.float32
    return softmax_native if native else softmax_blocks


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
