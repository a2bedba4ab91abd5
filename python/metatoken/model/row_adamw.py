"""AdamW that moves the rows of a table which a step has touched, and leaves all others as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from metatoken.model.heads.rows import settled
from metatoken.model.pages import on_large_pages

if TYPE_CHECKING:
    from collections.abc import Callable

MOMENTS = ("exp_avg", "exp_avg_sq")


class RowAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, of weights with a sparse gradient by rows, as `torch.optim.SparseAdam` has it.

    A row that no gradient names keeps its weights and moments, bit for bit, and no time is spent on it; only the number
    of steps, which corrects young moments, is that of the whole table. Dense weights move as in `torch.optim.AdamW`,
    and the saved state of one goes on in the other.

    Args:
        groups: Weights, or groups of them, each with its own `weight_decay`.
        lr: Learning rate.
        fused: As in `torch.optim.AdamW`.
    """

    def __init__(self, groups: Any, *, lr: float, fused: bool) -> None:
        super().__init__(groups, lr=lr, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Moves all weights that have a gradient, dense or sparse."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        """A step of a group: rows are taken out of their tables, moved as weights of their own, and put back."""
        moved: list[list[Tensor]] = []  # weight, moments and gradient of each
        taken: list[tuple[list[Tensor], Tensor, list[Tensor]]] = []  # tables, rows, and what moves of them
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self._state(weight, fused=group["fused"])
            tables, gradient = [weight, *(state[name] for name in MOMENTS)], weight.grad
            if gradient.is_sparse:
                gradient = settled(gradient)
                rows, gradient = gradient.indices()[0], gradient.values()
                taken.append((tables, rows, [table.index_select(0, rows) for table in tables]))
                tables = taken[-1][2]
            moved.append([*tables, gradient, state["step"]])
        if not moved:
            return
        weights, first, second, gradients, steps = (list(column) for column in zip(*moved, strict=True))
        adamw(
            weights, gradients, first, second, [], steps, foreach=group["foreach"], fused=group["fused"],
            amsgrad=False, beta1=group["betas"][0], beta2=group["betas"][1], lr=group["lr"],
            weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
        )  # fmt: skip
        for tables, rows, parts in taken:
            for table, part in zip(tables, parts, strict=True):
                table.index_copy_(0, rows, part)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in `torch.optim.AdamW`."""
        super().load_state_dict(state_dict)
        on_large_pages(state[name] for state in self.state.values() for name in MOMENTS)

    def _state(self, weight: Tensor, *, fused: bool) -> dict[str, Tensor]:
        """Moments and number of steps of a weight, which begin at zero."""
        state: dict[str, Tensor] = self.state[weight]
        if not state:
            # Torch counts on the processor unless the step is one kernel of the device.
            state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device if fused else "cpu")
            state |= {name: torch.zeros_like(weight) for name in MOMENTS}
            on_large_pages(state[name] for name in MOMENTS)
        return state
