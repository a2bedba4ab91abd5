"""The best epoch of a training: which it is, its weights on disk, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch

from metatoken.errors import REMEDY, ArgumentError, ArtifactError, DivergedError
from metatoken.model.averaging import averaged
from metatoken.model.store.checkpoints import check_weights
from metatoken.run.record import TrainingRecord, Validated


@dataclass
class Course:
    """Values by validation. What is best, and for how long nothing was better, follows from them.

    Attributes:
        values: All of them, in order.
        since: The first whose weights can have been kept; the best is sought from there on.
        sign: 1 where a larger value is better, -1 where a smaller one is.
    """

    sign: int = 1
    values: list[Validated] = field(default_factory=list)
    since: int = 0

    @property
    def best(self) -> Validated | None:
        """The best by the sum of both values, the earliest among equals.

        What a counted graph carries hardly moves from epoch to epoch, and the best of values that differ by noise alone
        is any of them; the second value, of what is learned, does move.
        """
        ranked = self.values[self.since :]
        return max(ranked, key=lambda one: self.sign * (one.value + one.also), default=None)

    @property
    def waited(self) -> int:
        """Validations after the last that was better than all before it, by value or by the second one."""
        newest, value, also = self.since, -math.inf, -math.inf
        for place, one in enumerate(self.values[self.since :], self.since):
            if self.sign * one.value > value or self.sign * one.also > also:
                newest = place
            value, also = max(value, self.sign * one.value), max(also, self.sign * one.also)
        return max(0, len(self.values) - 1 - newest)

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {"values": [asdict(one) for one in self.values], "since": self.since}


class BestEpoch(L.Callback):
    """Keeps the weights of the best epoch, loads them when training is over, and stops where none follows.

    All of it is in every checkpoint, so that a run that was stopped or killed at any moment and is resumed keeps the
    same epoch as one that was not; so does a run that had stopped early and is resumed with a larger `patience`.

    Args:
        monitor: Name of a value that decides; the smaller the better if it ends with `loss`.
        path: Checkpoint of the best epoch: weights alone.
        also: Name of a second value, by default the same. The best epoch has the largest sum of both, and training does
            not stop while either gets better.
        patience: Validations in a row without a better one before training stops. None trains to the end and keeps the
            last epoch; values are recorded all the same.

    Raises:
        DivergedError: The value is not finite.
        ArgumentError: Nothing of this name is logged.
    """

    def __init__(
        self,
        monitor: str,
        path: str | Path = "checkpoints/best.ckpt",
        *,
        also: str | None = None,
        patience: int | None = None,
    ) -> None:
        self.monitor, self.also, self.path, self.patience = monitor, also or monitor, Path(path), patience
        self.course = Course(sign=-1 if monitor.endswith("loss") else 1)
        # A better epoch waits here until a checkpoint to resume from says that it is the best. Before that, a killed
        # run still needs the one that its checkpoint knows.
        self._next = self.path.with_name(f"{self.path.stem}.next{self.path.suffix}")
        self._known = False

    def state_dict(self) -> dict[str, Any]:
        """The course, as plain values."""
        return self.course.plain() | {"kept": self.patience is not None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there; where no weights were kept, the best is sought from now on."""
        self.course.values = [Validated(**one) for one in state_dict["values"]]
        self.course.since = state_dict["since"] if state_dict["kept"] else len(self.course.values)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Finds the weights that a checkpoint knows, and stops a run that had waited long enough already."""
        best = self.course.best
        if trainer.is_global_zero:
            if best is not None and _is_of(self._next, best):
                self._next.replace(self.path)
            self._next.unlink(missing_ok=True)
            if self.patience is not None and best is not None and not _is_of(self.path, best):
                raise ArtifactError(f"{self.path}: missing, or not of epoch {best.epoch}; train again from the start")
        self._stop_if_over(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        one = Validated(
            trainer.current_epoch + 1, trainer.global_step, _value(trainer, self.monitor), _value(trainer, self.also)
        )
        self.course.values.append(one)
        if self.patience is not None and self.course.best is one:
            with averaged(trainer):
                trainer.save_checkpoint(self._next, weights_only=True)
            self._known = False
        self._stop_if_over(trainer)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:  # noqa: ARG002
        """Notes that a checkpoint to resume from knows the newest best; it is written when the next hook is called."""
        self._known = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        self._settle(trainer)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:  # noqa: D102
        self._settle(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Loads the weights of the best epoch, over what other callbacks leave when a fit ends."""
        if stage != "fit" or self.patience is None or self.course.best is None:
            return
        self._known = True
        self._settle(trainer)
        load_best(trainer, pl_module, self.path)

    def record(self, trainer: Any) -> TrainingRecord:
        """The record of a training that is over."""
        epochs, steps = trainer.fit_loop.epoch_progress.current.processed, trainer.global_step
        kept, values = None if self.patience is None else self.course.best, tuple(self.course.values)
        if kept is None:
            place = epochs, steps, next((one.value for one in values if one.step == steps), None)
        else:
            place = kept.epoch, kept.step, kept.value
        longest = trainer.max_epochs or epochs
        return TrainingRecord(self.monitor, self.also, self.patience, longest, epochs, steps, *place, values)

    def _settle(self, trainer: L.Trainer) -> None:
        if self._known and trainer.is_global_zero and self._next.exists():
            self._next.replace(self.path)
        self._known = False

    def _stop_if_over(self, trainer: L.Trainer) -> None:
        if self.patience is not None and self.course.waited >= self.patience:
            trainer.should_stop = True


def _value(trainer: L.Trainer, name: str) -> float:
    if name not in trainer.callback_metrics:
        known = ", ".join(sorted(trainer.callback_metrics))
        raise ArgumentError("monitor", f"{name!r} is not logged; logged are {known}")
    value = float(trainer.callback_metrics[name])
    if not math.isfinite(value):
        raise DivergedError(f"training diverged: {name} is {value} after epoch {trainer.current_epoch + 1}; {REMEDY}")
    return value


def load_best(trainer: L.Trainer, module: Any, path: Path) -> None:
    """Gives a module the weights of a checkpoint; the first process reads it for all."""
    found = torch.load(path, map_location="cpu", weights_only=True)["state_dict"] if trainer.is_global_zero else {}
    weights: dict[str, torch.Tensor] = trainer.strategy.broadcast(found)
    check_weights(module, weights)
    module.load_state_dict(weights, strict=False)


def _is_of(path: Path, best: Validated) -> bool:
    """Whether a checkpoint is there and has the weights of a validation."""
    if not path.is_file():
        return False
    found = torch.load(path, map_location="cpu", weights_only=True)
    return (found["epoch"] + 1, found["global_step"]) == (best.epoch, best.step)
