"""`training.csv` of a run: one row an epoch, for a spreadsheet or a plot."""

from __future__ import annotations

import csv
import sys
import time
from typing import TYPE_CHECKING, Any

import lightning as L

from metatoken.artifacts import atomic_file

if TYPE_CHECKING:
    from pathlib import Path


class EpochTable(L.Callback):
    """Writes a row after each epoch: its steps and costs, means of the parts of the loss, and what validation found.

    Processor time is that of all threads of this process in the epoch, memory the most that the process had until its
    end, both empty where the system does not say.

    A run that goes on adds to the table; rows of epochs that it repeats, since they were cut short, are replaced. Means
    are those of this process, over the batches since the epoch began or was gone on with.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._began, self._worked, self._batches = time.monotonic(), time.process_time(), 0
        self._sums: dict[str, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        self._begin()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        self._begin()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002, D102
        self._batches += 1
        for name, value in outputs.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002, D102
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": str(trainer.current_epoch + 1),
            "step": str(trainer.global_step),
            "seconds": f"{time.monotonic() - self._began:.1f}",
            "processor_seconds": f"{time.process_time() - self._worked:.1f}",
            "peak_memory_mb": peak_memory_mb(),
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.4g}",
        }
        row |= {f"train/{name}": f"{float(value) / self._batches:.6g}" for name, value in self._sums.items()}
        found = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        row |= {name: f"{float(found[name]):.6g}" for name in sorted(found)}
        earlier = [one for one in self._rows() if int(one["epoch"]) <= trainer.current_epoch]
        columns = dict.fromkeys(name for one in [*earlier, row] for name in one)
        with atomic_file(self.path) as work, work.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
            table.writeheader()
            table.writerows([*earlier, row])

    def _rows(self) -> list[dict[str, str]]:
        """Rows that are there; a table that is none of ours is begun anew."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            return [row for row in csv.DictReader(file, restkey="", restval="") if row.get("epoch", "").isdecimal()]


def peak_memory_mb() -> str:
    """The most memory that this process has had, in units of 10^6 bytes; empty where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{most * (1 if sys.platform == 'darwin' else 1024) / 1e6:.0f}"
