"""Rows of a table of weights, with a gradient that names its rows: a step of training touches few of a million items.

Such a gradient is a sparse tensor, int64 `[1, R]` rows and float `[R, d]` values, all other rows being zero.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F


class Rows(torch.autograd.Function):
    """Rows of a table, whose gradient is sparse.

    Args of `apply`:
        table: float `[n, d]`.
        rows: int64 `[R]`, sorted, each once, so that nothing is left to be added up.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        (rows,) = ctx.saved_tensors
        return _sparse(rows, grads[0], ctx.shape), None


def settled(gradient: Tensor) -> Tensor:
    """A sparse gradient with each row once, which costs nothing where they come in order, as those of one batch do."""
    # Torch forgets that a gradient was so when it is the first of a weight. Values are shared with `gradient`.
    rows, values = gradient._indices()[0], gradient._values()  # noqa: SLF001
    if bool((rows[1:] > rows[:-1]).all()):
        return _sparse(rows, values, gradient.shape)
    return gradient.coalesce()


def _sparse(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """Of sorted rows, each once."""
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)


def clippable(optimizer: Any) -> Any:
    """What stands for an optimizer where gradients are clipped: values of sparse ones in place of them.

    Torch cuts no sparse gradient to a range, and the norm of its values is that of the whole. Lightning refuses a fused
    optimizer under autocast, which might scale gradients back after they were clipped; where losses are not scaled,
    there is nothing to refuse.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return SimpleNamespace(param_groups=[{"params": [_values(weight) for weight in weights]}])


def _values(weight: Tensor) -> Tensor:
    """A weight with a dense gradient; for a sparse one a stand-in whose gradient are its values, in the same place."""
    if weight.grad is None or not weight.grad.is_sparse:
        return weight
    weight.grad = settled(weight.grad)
    found = weight.grad.values().detach()
    found.grad = weight.grad.values()
    return found


def exchanged(gradient: Tensor) -> Tensor:
    """The mean of a gradient over all processes; of a sparse one, rows and values cross the network."""
    n = distributed.get_world_size()
    if not gradient.is_sparse:
        distributed.all_reduce(gradient)
        return gradient.div_(n)
    own = settled(gradient)
    rows, values = own.indices()[0], own.values()
    counts = [int(count) for count in _gathered(rows.new_tensor([len(rows)]))]
    more = max(counts) - len(rows)  # all processes must send equally much
    every = zip(_gathered(F.pad(rows, (0, more))), _gathered(F.pad(values, (0, 0, 0, more))), counts, strict=True)
    parts = [(theirs[:count], value[:count]) for theirs, value, count in every]
    rows, values = (torch.cat(column) for column in zip(*parts, strict=True))
    return torch.sparse_coo_tensor(rows[None], values.div_(n), gradient.shape, check_invariants=False).coalesce()


def _gathered(tensor: Tensor) -> list[Tensor]:
    found = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, tensor.contiguous())
    return found
