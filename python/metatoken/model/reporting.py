"""What a training run tells a person: one line an epoch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import lightning as L

if TYPE_CHECKING:
    from collections.abc import Callable


class EpochLines(L.Callback):
    """Says epoch, loss, validation metrics and pace after every epoch, and the steps of a long epoch now and then.

    Args:
        say: Gets the lines.
        every: Seconds between lines within an epoch.
    """

    def __init__(self, say: Callable[[str], None], every: float = 30.0) -> None:
        self.say, self.every = say, every
        self._began = self._spoke = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        self._began = self._spoke = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002, D102
        now = time.monotonic()
        if now - self._spoke >= self.every:
            self._spoke = now
            loss = float(trainer.callback_metrics.get("loss", float("nan")))
            done = trainer.fit_loop.epoch_loop.batch_idx + 1
            self.say(
                f"  epoch {trainer.current_epoch + 1}: {done}/{trainer.num_training_batches} batches, loss {loss:.3f}"
            )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        values = trainer.callback_metrics
        shown = [f"loss {float(values['loss']):.3f}"] if "loss" in values else []
        shown += [f"{name[4:]} {float(value):.4f}" for name, value in sorted(values.items()) if name.startswith("val/")]
        seconds = time.monotonic() - self._began
        self.say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(shown)} ({seconds:.0f} s)")
