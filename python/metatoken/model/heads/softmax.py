"""What computes the log-normalisers of the item head: the contract that the native core and blocks of torch keep."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Inputs(NamedTuple):
    """States and the items that they are normalised over.

    Attributes:
        states: float `[P, d]`.
        vectors: float `[n, d]`.
        bias: float `[n]`, added to the logits of each row; None without.
        begin: int64 `[P]`, first item of each slice.
        end: int64 `[P]`, the item behind its last.
    """

    states: Tensor
    vectors: Tensor
    bias: Tensor | None
    begin: Tensor
    end: Tensor


class Gradients(NamedTuple):
    """Gradients of states, vectors and, where there are any, biases."""

    states: Tensor
    vectors: Tensor
    bias: Tensor | None


class Softmax(Protocol):
    """Log-normalisers over all items and over a slice of them, and their gradients."""

    def forward(self, inputs: Inputs, *, gradient: bool) -> tuple[Tensor, Tensor, Gradients | None]:
        """`all` and `below`, each `[P]`; if wanted, the gradients of the sum of `all` where they cost little."""

    def backward(
        self, inputs: Inputs, found: tuple[Tensor, Tensor], by_all: Tensor, by_below: Tensor, kept: Gradients | None
    ) -> Gradients:
        """Gradients of a loss.

        Args:
            inputs: Those of `forward`.
            found: `all` and `below`.
            by_all: The loss's gradient in `all`, `[P]`.
            by_below: And in `below`.
            kept: The last of what `forward` returned, which may be changed in place.
        """
