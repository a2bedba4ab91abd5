"""Lightning's side of a run: its trainer, checkpoints to go on from, several processes."""

from __future__ import annotations

import os
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.artifacts.formats import told
from metatoken.errors import ConfigError, MetatokenError
from metatoken.run.manifest import check_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import lightning as L

    from metatoken.model.module import MetaTokenModule
    from metatoken.run.folder import RunFolder
    from metatoken.run.settings import TrainerSettings
    from metatoken.tasks.datamodule import TaskDataModule

LIGHTNING = ("max_epochs", "accelerator", "devices", "strategy", "precision", "gradient_clip_val")  # as it names them
ASKED = ("accelerator", "devices", "strategy", "precision")  # what a machine may not have
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # as Lightning's launchers and others set them


def is_first_process() -> bool:
    """Whether this process is the one that writes; a distributed strategy starts the same command several times."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0) == 0


def make_trainer(
    settings: TrainerSettings,
    folder: RunFolder,
    say: Callable[[str], None],
    measures: Sequence[L.Callback] = (),
    owner: Callable[[], str] | None = None,
) -> L.Trainer:
    """Lightning's trainer for a run.

    Args:
        settings: How long to train, and on what.
        folder: Where it writes checkpoints and what it logs.
        say: Gets one line per epoch.
        measures: What is measured and watched after each epoch.
        owner: Gives what checkpoints belong to, see `run.manifest.identity`.

    Raises:
        ConfigError: Lightning refuses the settings, or what they need is not installed.
    """
    logger = _tensorboard(folder.tensorboard) if settings.logger == "tensorboard" else False
    return _lightning(settings, logger, [*measures, *_callbacks(settings, folder, say)], owner)


def check_trainer(settings: TrainerSettings) -> None:
    """Refuses what Lightning refuses, before any work is done for a training: `ConfigError`."""
    if any(getattr(settings, name) != getattr(type(settings), name) for name in ASKED) or settings.options:
        _lightning(settings, False, [], None)


def _lightning(
    settings: TrainerSettings, logger: Any, callbacks: Sequence[L.Callback], owner: Callable[[], str] | None
) -> L.Trainer:
    """The trainer with these parts; see `make_trainer`."""
    import lightning as L

    from metatoken.model.store.checkpointing import AtomicCheckpointIO

    # Strategies that shard a model write it in their own way.
    sharded = settings.strategy.startswith(("fsdp", "deepspeed"))
    steps = {"log_every_n_steps": 10} if logger else {}
    try:
        with _quiet():
            trainer = L.Trainer(
                **{name: getattr(settings, name) for name in LIGHTNING},
                check_val_every_n_epoch=settings.validate_every,
                num_sanity_val_steps=0,
                logger=logger,
                enable_model_summary=False,
                enable_progress_bar=False,
                callbacks=[*callbacks],
                plugins=None if sharded else [AtomicCheckpointIO(owner)],
                **(steps | settings.options),
            )
    except Exception as error:  # of every kind, by what its parts find
        raise ConfigError(f"trainer: Lightning refuses these settings ({told(error)})") from error
    for name in ("patience", "ema"):
        if sharded and getattr(settings, name) is not None:
            said = f"not possible under the strategy {settings.strategy}, whose weights are in pieces"
            raise ConfigError(f"trainer.{name}: {said}; set it to null")
    return trainer


def _callbacks(settings: TrainerSettings, folder: RunFolder, say: Callable[[str], None]) -> list[L.Callback]:
    """What a run tells, logs, averages and saves."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from metatoken.model.averaging import WeightAverage
    from metatoken.model.store.checkpointing import StepCheckpoints
    from metatoken.model.store.reporting import EpochLines
    from metatoken.run.epoch_table import EpochTable

    found: list[L.Callback] = [EpochLines(say)]
    if settings.logger != "none":
        found.append(EpochTable(folder.table))
    if settings.ema is not None:
        found.append(WeightAverage(settings.ema))
    last = folder.checkpoint
    if settings.checkpoint_every_steps is not None:
        found.append(StepCheckpoints(last, settings.checkpoint_every_steps))
    each = ModelCheckpoint(last.parent, last.stem, save_on_train_epoch_end=True, enable_version_counter=False)
    return [*found, each]


def _tensorboard(folder: Path) -> Any:
    """Lightning's logger for TensorBoard; a run that goes on adds to the same folder."""
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder.parent, name=folder.name, version="")
    except ImportError as error:
        said = "TensorBoard is not installed; pip install tensorboard, or set it to csv"
        raise ConfigError(f"trainer.logger: {said}") from error


def fit(trainer: L.Trainer, module: MetaTokenModule, data: TaskDataModule, last: Path | None) -> None:
    """Trains, from a checkpoint where one is given.

    Raises:
        KeyboardInterrupt: Ctrl-C, which Lightning turns into an exit.
        ConfigError: The checkpoint is of a version that grouped weights in another way, or Lightning refuses settings
            that it has not looked at before.
    """
    try:
        with _quiet():
            trainer.fit(module, data, ckpt_path=None if last is None else str(last), weights_only=True)
    except SystemExit as error:
        if trainer.interrupted:  # by Ctrl-C or SIGTERM
            cause = error.__context__
            raise (cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()) from error
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "parameter group" in str(error):
            said = "an older version made this checkpoint, whose optimizer groups the weights in another way"
            raise ConfigError(f"--resume: {said}; train again with --overwrite") from error
        if _is_lightnings(error):
            raise ConfigError(f"trainer: Lightning refuses these settings ({told(error)})") from error
        raise


def _is_lightnings(error: Exception) -> bool:
    """Whether Lightning itself has raised an error, as it does where it looks at settings late."""
    if isinstance(error, MetatokenError | OSError):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("lightning.")


def check_checkpoints(last: Path, owner: Callable[[], str]) -> None:
    """Refuses, before any work, to go on from checkpoints that are missing, damaged, or of another run.

    Args:
        last: What is gone on from; the best epoch lies beside it.
        owner: Gives what they must belong to, where they say it.

    Raises:
        ConfigError: There is none.
        ArtifactError: One is damaged, or of another run.
    """
    if last.is_dir():
        return  # of a sharded strategy, which checks what it reads
    if not last.is_file():
        raise ConfigError(f"--resume: {last} is missing, so there is no checkpoint to go on from; use --overwrite")
    for path in last.parent.glob("*.ckpt"):
        check_checkpoint(path, owner)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's advice about loaders and loggers off a user's terminal; errors still come through."""
    import logging

    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        try:
            yield
        finally:
            logger.setLevel(level)
