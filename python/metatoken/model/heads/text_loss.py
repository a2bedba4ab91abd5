"""Cross-entropy over the text columns, a few positions at a time.

A language model has tens of thousands of text columns: the logits of 2,000 positions of SmolLM2 take 400 MB, and a
plain cross-entropy keeps several such tables until the backward pass. Here the loss of a block of positions and its
gradient are formed together and the block is dropped. With `p = softmax(h W^T)`,

    d(-log p_t)/dh = (p - e_t) W,        d(-log p_t)/dW = (p - e_t)^T h
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK = 256  # positions
STEP = 64  # in bfloat16 a processor compiles a product for each number of positions, so few occur


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        n, need_weight = len(targets), ctx.needs_input_grad[1]
        with torch.autocast(kind, enabled=False):
            table = weight.to(dtype)
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            by_hidden = torch.empty_like(hidden)
            by_weight = torch.zeros_like(weight) if need_weight else None
            for begin in range(0, n, BLOCK):
                part = slice(begin, begin + BLOCK)
                some = len(targets[part])
                rows = torch.arange(some, device=hidden.device)
                own = hidden[part].to(dtype)
                if dtype == torch.bfloat16:
                    own = torch.nn.functional.pad(own, (0, 0, 0, -some % STEP))
                logits = (own @ table.T).float()  # [block, V]
                normaliser = torch.logsumexp(logits, dim=1)
                total += (normaliser[:some] - logits[rows, targets[part]]).sum()
                delta = logits.sub_(normaliser[:, None]).exp_()
                delta[rows, targets[part]] -= 1
                delta[some:] = 0
                delta = delta.to(dtype)
                by_hidden[part] = (delta @ table)[:some].to(hidden.dtype) / n
                if by_weight is not None:
                    by_weight += (delta.T @ own).to(weight.dtype) / n
        ctx.save_for_backward(by_hidden, by_weight)
        return total / n

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor | None, None]:
        by_hidden, by_weight = ctx.saved_tensors
        scale = upstream[0]
        return by_hidden * scale, None if by_weight is None else by_weight * scale, None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of a linear head, without ever holding all its logits.

    Args:
        hidden: float `[T, d]`, T at least 1.
        weight: float `[V, d]` rows of the head.
        targets: int64 `[T]` columns.

    Returns:
        A float32 scalar; under autocast the products run in its type, sums and exponentials in float32.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets)
    return loss
