"""What a training run tells a person: one line per epoch."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import lightning as L

from metatoken.errors import REMEDY, DivergedError

if TYPE_CHECKING:
    from collections.abc import Callable


class EpochLines(L.Callback):
    """Says epoch, loss, validation metrics and pace after every epoch; within one, a line every so many seconds.

    Raises:
        DivergedError: A loss is not finite.
    """

    def __init__(self, say: Callable[[str], None], every: float = 30.0) -> None:
        self.say, self.every = say, every
        self._begin()

    def _begin(self) -> None:
        self._began = self._spoke = time.monotonic()
        self._total, self._batches = 0.0, 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        self._begin()

    def on_train_batch_end(  # noqa: D102
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            place = f"epoch {trainer.current_epoch + 1}, batch {batch_idx + 1} (step {trainer.global_step})"
            said = f"the loss is {loss} in {place}, at a learning rate of {rate:g}"
            raise DivergedError(f"training diverged: {said}; {REMEDY}")
        self._total += loss
        self._batches += 1
        now = time.monotonic()
        if now - self._spoke >= self.every and trainer.is_global_zero:
            self._spoke = now
            done = f"{batch_idx + 1}/{trainer.num_training_batches} batches"
            self.say(f"  epoch {trainer.current_epoch + 1}: {done}, loss {self._total / self._batches:.3f}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        values = sorted(trainer.callback_metrics.items())
        shown = [f"loss {self._total / max(1, self._batches):.3f}"]
        shown += [f"{name[4:]} {float(value):.4f}" for name, value in values if name.startswith("val/")]
        seconds = time.monotonic() - self._began
        if not trainer.is_global_zero:
            return
        self.say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(shown)} ({seconds:.0f} s)")
