"""Steps between the matrix products of a Llama, each one node of the autograd graph.

Under autocast, Hugging Face's own steps are chains of operations with a cast before and behind: each writes a table,
and most keep it for the gradient. Here a step reads its inputs, computes in float32, writes what the next product reads
in that product's dtype, and keeps no more than its inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RootMeanSquare(torch.autograd.Function):
    """RMSNorm y = g x / r with r^2 = mean(x^2) + eps, `[N, d]` in the wanted dtype.

    With n = x / r and h = g dy, whose parts along x the norm takes away,

        dx = (h - n mean(h n)) / r,    dg = sum over rows of n dy.

    Args of `apply`:
        x: float32 `[N, d]`.
        gain: float32 `[d]`.
        eps: What is added to the mean square.
        dtype: Of y.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float, dtype: torch.dtype) -> Tensor:  # noqa: D102
        mean = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        over = mean.add_(eps).rsqrt_()
        ctx.save_for_backward(x, gain, over)
        return torch.mul(x, over).mul_(gain).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        x, gain, over = ctx.saved_tensors
        back = grads[0].float()
        of_gain = torch.mul(x, over).mul_(back).sum(0) if ctx.needs_input_grad[1] else None
        back = back * gain
        along = (back * x).sum(-1, keepdim=True).mul_(over.pow(3)).div_(x.shape[-1])
        return back.mul_(over).addcmul_(x, along, value=-1), of_gain, None, None


class Gate(torch.autograd.Function):
    """The gated unit silu(a) b, `[N, m]` in the dtype of its inputs `a` and `b`, both `[N, m]`."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:  # noqa: D102
        open_ = torch.nn.functional.silu(a)
        ctx.save_for_backward(a, b, open_)
        return open_ * b

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        a, b, open_ = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * b, a), open_ * grads[0]


class Rotary(torch.autograd.Function):
    """The table `[N, (H + 2 K) w]` of rotated queries, rotated keys, and values.

    A head's numbers are two halves (a, b), turned by an angle for each place of them (RoPE):

        (a cos - b sin, b cos + a sin),

    so that gradients are turned back by the same angles.

    Args of `apply`:
        query: `[N, H w]`.
        key: `[N, K w]`.
        value: `[N, K w]`, in the same dtype, which is that of the table.
        cos: float32 `[N, w / 2]`.
        sin: float32 `[N, w / 2]`.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(cos, sin)
        ctx.widths = [query.shape[1], key.shape[1], value.shape[1]]
        table = query.new_empty(len(query), sum(ctx.widths))
        to_query, to_key, to_value = torch.split_with_sizes(table, ctx.widths, dim=1)
        _turn(query, cos, sin, to_query)
        _turn(key, cos, sin, to_key)
        to_value.copy_(value)
        return table

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        cos, sin = ctx.saved_tensors
        query, key, value = torch.split_with_sizes(grads[0], ctx.widths, dim=1)
        to_query, to_key = query.new_empty(query.shape), key.new_empty(key.shape)
        _turn(query, cos, -sin, to_query)
        _turn(key, cos, -sin, to_key)
        return to_query, to_key, value.contiguous(), None, None


def _turn(source: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Writes `[N, heads w]`, turned, to `out`."""
    heads, half = source.shape[1] // (2 * cos.shape[1]), cos.shape[1]
    a, b = source.reshape(-1, heads, 2, half).float().unbind(2)
    cos, sin = cos[:, None], sin[:, None]
    halves = out.view(-1, heads, 2, half)
    halves[:, :, 0] = (a * cos).addcmul_(b, sin, value=-1)
    halves[:, :, 1] = (b * cos).addcmul_(a, sin)
