"""The moving average of the weights of a training.

    a <- d_t a + (1 - d_t) w,    d_t = min(d, (1 + t) / (10 + t))

after every step t of the optimizer. The smaller decay at the start lets the untrained weights go (as in TensorFlow's
`ExponentialMovingAverage`). Lightning's own callback copies the whole module, a frozen backbone included, and loads
checkpoints strictly; ours hold what trains.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import lightning as L
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class WeightAverage(L.Callback):
    """Keeps a moving average of the trainable weights; validation uses it, and a model has it when training is over.

    Checkpoints to resume from hold both, the weights and their average.

    Args:
        decay: How much of the average stays at a step, above 0 and below 1; .999 averages about a thousand steps.
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.average: dict[str, torch.Tensor] = {}
        self._own: dict[str, torch.Tensor] = {}  # the weights themselves, while the average stands in their place
        self._hooks: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        """The average and its number of steps."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there."""
        self.steps, self.average = state_dict["steps"], dict(state_dict["average"])

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins with the weights as they are, or as a checkpoint says."""
        weights = _trainable(pl_module)
        if self.average.keys() != weights.keys():
            self.steps, self.average = 0, {name: value.float().clone() for name, value in weights.items()}
        self.average = {name: value.to(weights[name].device) for name, value in self.average.items()}
        # After the step itself, not in a hook of the trainer: a checkpoint must hold the average of all of its steps,
        # whichever callback saves it.
        self._hooks = [one.register_step_post_hook(lambda *_: self._update(pl_module)) for one in trainer.optimizers]

    @torch.no_grad()
    def _update(self, module: L.LightningModule) -> None:
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, value in _trainable(module).items():
            self.average[name].lerp_(value.float(), 1 - decay)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        if trainer.state.fn == "fit":
            self.swap_in(pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        self.swap_out(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002, D102
        self.swap_out(pl_module)
        self._unhook()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Gives the model the average for good."""
        self.swap_in(pl_module)
        self._own = {}
        self._unhook()

    @torch.no_grad()
    def swap_in(self, module: L.LightningModule) -> None:
        """Puts the average in the place of the weights."""
        for name, value in _trainable(module).items():
            self._own[name] = value.clone()
            value.copy_(self.average[name])

    @torch.no_grad()
    def swap_out(self, module: L.LightningModule) -> None:
        """Puts the weights back."""
        for name, value in _trainable(module).items():
            if name in self._own:
                value.copy_(self._own.pop(name))

    def _unhook(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()


@contextmanager
def averaged(trainer: L.Trainer) -> Iterator[None]:
    """Within it a module has the averaged weights, if its trainer averages any."""
    found = [one for one in trainer.callbacks if isinstance(one, WeightAverage)]  # type: ignore[attr-defined]
    for one in found:
        one.swap_in(trainer.lightning_module)
    try:
        yield
    finally:
        for one in found:
            one.swap_out(trainer.lightning_module)


def _trainable(module: L.LightningModule) -> dict[str, torch.Tensor]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}
