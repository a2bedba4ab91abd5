"""Log-normalisers of the item head by the native core, for float32 on a processor; see `rust/softmax`.

The core computes value and gradients of a sum of log-normalisers in one go, at three products instead of four. In a
loss that is a mean over targets every row has the same gradient, so the forward pass asks for the gradients of the
plain sum, and the backward pass scales them. Where the rows differ, it computes them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metatoken._core import softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.model.heads.item_scores import Gradients


def forward(inputs: Sequence[Tensor | None], *, gradient: bool) -> tuple[Tensor, Tensor, Gradients | None]:
    """As `item_scores.Softmax.forward`."""
    *problem, begin, end = map(_array, inputs)
    weights = torch.ones(len(problem[0])).numpy() if gradient else None
    total, *kept = softmax.catalogue(*problem, weights, threads=torch.get_num_threads())
    below = softmax.below(*problem, begin, end, threads=torch.get_num_threads())
    return torch.from_numpy(total), torch.from_numpy(below), _gradients(kept) if gradient else None


def backward(
    inputs: Sequence[Tensor | None],
    found: tuple[Tensor, Tensor],
    by_all: Tensor,
    by_below: Tensor,
    kept: Gradients | None,
) -> Gradients:
    """As `item_scores.Softmax.backward`."""
    *problem, begin, end = map(_array, inputs)
    threads = torch.get_num_threads()
    if kept is not None and len(by_all) > 0 and bool((by_all == by_all[0]).all()):
        gradients = tuple(None if x is None else x * by_all[0] for x in (*kept, None)[:3])
    else:
        gradients = _gradients(softmax.catalogue(*problem, _array(by_all), threads=threads)[1:])
    if bool((by_below != 0).any()):
        out = [None if x is None else x.numpy() for x in gradients]
        softmax.add_below(*problem, begin, end, _array(found[1]), _array(by_below), *out, threads=threads)
    return gradients


def _array(x: Tensor | None) -> Any:
    return None if x is None else x.detach().contiguous().numpy()


def _gradients(arrays: Sequence[Any]) -> Gradients:
    states, vectors, bias = (None if x is None else torch.from_numpy(x) for x in arrays)
    assert states is not None
    assert vectors is not None
    return states, vectors, bias
