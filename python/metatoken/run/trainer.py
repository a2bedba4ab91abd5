"""What a run trains with: vocabulary, model and data, Lightning's trainer, checkpoints, several processes."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lightning as L

    from metatoken.data import Split
    from metatoken.model.module import MetaTokenModule
    from metatoken.model.settings import ModelSettings
    from metatoken.run.config import Config
    from metatoken.run.folder import RunFolder
    from metatoken.run.progress import Progress
    from metatoken.tasks.datamodule import TaskDataModule
    from metatoken.tokens.vocabulary import Vocabulary

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # as Lightning's launchers and others set them


def is_first_process() -> bool:
    """Whether this process is the one that writes; a distributed strategy starts the same command several times."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0) == 0


def model_settings(config: Config) -> ModelSettings:
    """Settings of the model that a configuration describes.

    Raises:
        ConfigError: They do not go together.
    """
    return replace(config.model, seed=config.seed)


def check_tasks(config: Config, *, begun: bool = False) -> None:
    """Refuses what does not go with the tasks of a run, before anything is read.

    Args:
        config: Of the run.
        begun: Whether an interrupted run goes on, with the vocabulary that it has.

    Raises:
        ConfigError: A share of a task that the run has not, or a vocabulary that has seen what the tasks hold out.
    """
    from metatoken.tasks.task import tasks_of

    names = [task.name for task in tasks_of(config.model.tasks, "rate", "write")]
    for name, share in config.trainer.shares.items():
        if name not in names:
            known = ", ".join(names) or "none"
            raise ConfigError(f"trainer.shares: {name!r} is no rating or text task of the run; it has {known}")
        if not 0 < share < math.inf:
            raise ConfigError(f"trainer.shares: expected a number above 0 for {name}, got {share}")
    if names and config.vocabulary is not None and not begun:
        raise ConfigError(
            f"vocabulary: a run with the task {names[0]} holds random rows out and learns its tokens from the "
            "others; leave `vocabulary` out"
        )


def find_vocabulary(config: Config, split: Split, begun: Path | None, progress: Progress) -> Vocabulary:
    """The vocabulary of a run: that of an interrupted run, the one that the configuration names, or a new one.

    Args:
        config: Of the run.
        split: Of its log.
        begun: Folder of the interrupted run's vocabulary, or None.
        progress: Called with (done, all) while tokens are learned.

    Raises:
        ConfigError: The one that is named does not go with the log or its split.
    """
    from metatoken.tokens.files import attribute_links
    from metatoken.tokens.vocabulary import Vocabulary

    given = begun or config.vocabulary
    if given is None:
        about = config.data
        links = attribute_links(config.tokens, split.log, items=about.items, item=about.item, item_id=about.item_id)
        return Vocabulary.fit(
            split.train, config.tokens, attributes=links, seed=config.seed, threads=config.threads, progress=progress
        )
    vocabulary = Vocabulary.load(given)
    if vocabulary.n_users == 0 and vocabulary.learned_from is None:
        raise ConfigError(
            f"vocabulary: {given} holds items only, as `metatoken tokenize --embeddings` makes it, and a run needs "
            "the users of its log too; leave `vocabulary` out, or give `metatoken tokenize` the log"
        )
    if vocabulary.learned_from != split.train.edges_checksum():
        raise ConfigError(
            f"vocabulary: {given} was learned from other interactions than the training part of "
            f"{config.data.path}; make it with `metatoken tokenize` from this log and --split leave-last-out"
        )
    return vocabulary if vocabulary.titles is not None else replace(vocabulary, titles=split.log.titles())


def build(config: Config, split: Split, vocabulary: Vocabulary) -> tuple[MetaTokenModule, TaskDataModule]:
    """The untrained model and its data.

    Args:
        config: Of the run.
        split: Of its log.
        vocabulary: Fitted on `split.train`.
    """
    import torch

    from metatoken.model.module import MetaTokenModule
    from metatoken.tasks.biases import RatingBase
    from metatoken.tasks.datamodule import TaskDataModule
    from metatoken.tasks.task import tasks_of

    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    torch.manual_seed(config.seed)
    settings, pairs = model_settings(config), split.pairs
    rates = pairs is not None and bool(tasks_of(settings.tasks, "rate"))
    ratings = RatingBase.fit(pairs.train, pairs.validation) if pairs is not None and rates else None
    module = MetaTokenModule(vocabulary, settings, texts=_training_texts(split), ratings=ratings)
    data = TaskDataModule(
        split,
        vocabulary,
        tasks=module.tasks,
        batch_size=config.trainer.batch_size,
        seed=config.seed,
        direct_share=config.trainer.direct_share,
        validation_users=config.trainer.validation_users,
        shares=config.trainer.shares,
        mixing_temperature=config.trainer.mixing_temperature,
    )
    return module, data


def _training_texts(split: Split) -> list[str]:
    """Texts that the tokenizer of a preset learns from: those of the training rows that a task reads or writes."""
    from metatoken.tasks.task import FIELDS

    if split.pairs is None:
        return []
    frame, titles = split.train.frame, split.train.titles() or []
    columns = [name for name in FIELDS if name in frame.columns and name != "rating"]
    return [text for name in columns for text in frame[name].to_list() if text] + [title for title in titles if title]


def make_trainer(config: Config, folder: RunFolder, say: Callable[[str], None]) -> L.Trainer:
    """Lightning's trainer for a run.

    Args:
        config: Of the run.
        folder: Where checkpoints go.
        say: Gets a line for each epoch.

    Raises:
        ConfigError: Lightning refuses the settings.
    """
    import lightning as L
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.callbacks import ModelCheckpoint

    from metatoken.model.store.checkpoints import AtomicCheckpointIO, StepCheckpoints
    from metatoken.model.store.reporting import EpochLines

    settings, last = config.trainer, folder.checkpoint
    callbacks: list[L.Callback] = [EpochLines(say)]
    if settings.checkpoint_every_steps is not None:
        callbacks.append(StepCheckpoints(last, settings.checkpoint_every_steps))
    callbacks.append(
        ModelCheckpoint(
            dirpath=last.parent, filename=last.stem, save_on_train_epoch_end=True, enable_version_counter=False
        )
    )
    # Strategies that shard a model write it in their own way.
    sharded = settings.strategy.startswith(("fsdp", "deepspeed"))
    try:
        with _quiet():
            return L.Trainer(
                max_epochs=settings.max_epochs,
                accelerator=settings.accelerator,
                devices=settings.devices,
                strategy=settings.strategy,
                precision=settings.precision,
                gradient_clip_val=settings.gradient_clip_val,
                check_val_every_n_epoch=settings.validate_every,
                num_sanity_val_steps=0,
                logger=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                callbacks=callbacks,
                plugins=None if sharded else [AtomicCheckpointIO()],
                **settings.options,
            )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: Lightning refuses these settings ({error})") from error


def fit(trainer: L.Trainer, module: MetaTokenModule, data: TaskDataModule, last: Path | None) -> None:
    """Trains, from a checkpoint where one is given.

    Raises:
        KeyboardInterrupt: Ctrl-C, which Lightning turns into an exit.
    """
    try:
        with _quiet():
            trainer.fit(module, data, ckpt_path=None if last is None else str(last), weights_only=True)
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise


def check_checkpoint(last: Path) -> None:
    """Refuses, before any work, to go on from a checkpoint that is missing or damaged.

    Raises:
        ConfigError: There is none.
        ArtifactError: It is damaged.
    """
    if last.is_dir():
        return  # of a sharded strategy, which checks what it reads
    if not last.is_file():
        raise ConfigError(f"--resume: {last} is missing, so there is no checkpoint to go on from; use --overwrite")
    try:
        with zipfile.ZipFile(last) as parts:
            sound = parts.testzip() is None
    except zipfile.BadZipFile:
        sound = False
    if not sound:
        raise ArtifactError(f"{last}: altered or damaged since it was saved; train again with --overwrite")


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
