"""Log-normalisers of the item head by the native core, for float32 on a processor; see `rust/softmax`.

The core computes value and gradients of a sum of log-normalisers in one go, at three products instead of four. In a
loss that is a mean over targets every row has the same gradient, so the forward pass asks for the gradients of the
plain sum, and the backward pass scales them. Where the rows differ, it computes them again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metatoken._core import softmax
from metatoken.model.heads.softmax import Gradients, Inputs


def forward(inputs: Inputs, *, gradient: bool) -> tuple[Tensor, Tensor, Gradients | None]:
    """As `Softmax.forward`."""
    states, vectors, bias, begin, end = map(_array, inputs)
    threads = torch.get_num_threads()
    weights = torch.ones(len(states)).numpy() if gradient else None
    total, *kept = softmax.catalogue(states, vectors, bias, weights, threads=threads)
    below = softmax.below(states, vectors, bias, begin, end, threads=threads)
    return torch.from_numpy(total), torch.from_numpy(below), _gradients(*kept) if gradient else None


def backward(
    inputs: Inputs, found: tuple[Tensor, Tensor], by_all: Tensor, by_below: Tensor, kept: Gradients | None
) -> Gradients:
    """As `Softmax.backward`."""
    states, vectors, bias, begin, end = map(_array, inputs)
    threads = torch.get_num_threads()
    if kept is not None and bool((by_all == by_all[0]).all()):
        for part in kept:
            if part is not None:
                part.mul_(by_all[0])
        gradients = kept
    else:
        gradients = _gradients(*softmax.catalogue(states, vectors, bias, _array(by_all), threads=threads)[1:])
    if bool(by_below.any()):
        out = map(_array, gradients)
        about = (begin, end, _array(found[1]), _array(by_below))
        softmax.add_below(states, vectors, bias, *about, *out, threads=threads)
    return gradients


def _array(x: Tensor | None) -> Any:
    return None if x is None else x.detach().contiguous().numpy()


def _gradients(states: Any, vectors: Any, bias: Any) -> Gradients:
    return Gradients(
        torch.from_numpy(states), torch.from_numpy(vectors), None if bias is None else torch.from_numpy(bias)
    )
