"""How checkpoints get to disk: whole ones only, and within epochs where somebody wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from metatoken.artifacts import atomic_file
from metatoken.model.store.checkpoints import OWNER, check_finite

if TYPE_CHECKING:
    import os
    from collections.abc import Callable


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint as every artifact is written: whatever kills the process, a whole one is left.

    Lightning's own goes through a temporary folder that may lie on another disk, where a rename is a copy.
    Give it to a trainer of your own as `Trainer(plugins=[AtomicCheckpointIO()])`.

    Args:
        owner: Gives what the checkpoints belong to, which each then says.
    """

    def __init__(self, owner: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._owner = owner

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Saves `checkpoint` under the local `path`.

        Raises:
            ArtifactError: It cannot be written.
            DivergedError: A weight is not finite; the older checkpoint stays.
        """
        check_finite(checkpoint)
        if self._owner is not None:
            checkpoint = checkpoint | {OWNER: self._owner()}
        with atomic_file(path) as work, work.open("wb") as file:
            torch.save(checkpoint, file)


class StepCheckpoints(L.Callback):
    """Saves within epochs, every so many optimizer steps, always to one file."""

    def __init__(self, path: str | Path, every: int) -> None:
        self.path, self.every = Path(path), every
        self._saved = -1

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Saves every so many steps, but for the last of an epoch, which the end of the epoch saves."""
        step = trainer.global_step
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if step % self.every == 0 and step != self._saved and not last:
            self._saved = step
            trainer.save_checkpoint(self.path)
