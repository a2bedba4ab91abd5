"""Training a run further on a log that has grown: new rows, and a share of the old ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from metatoken.data.times import moment
from metatoken.errors import ConfigError
from metatoken.run.progress import Bar, Say, no_bar
from metatoken.run.train import MIXTURE
from metatoken.run.trainer import fit, make_trainer
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    import numpy as np

    from metatoken.data import Split
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.fusion import Fusion
    from metatoken.run.config import Config
    from metatoken.run.folder import RunFolder
    from metatoken.run.settings import ExtendSettings


def train_further(
    model: MetaTokenModel,
    split: Split,
    config: Config,
    chosen: ExtendSettings,
    known: np.ndarray,
    folder: RunFolder,
    say: Say,
    bar: Bar | None,
) -> Fusion | None:
    """Trains a module where it stands, and chooses the weights of the fused list anew where something is held out.

    Args:
        model: The model of the extended run.
        split: Its log.
        config: Of the run.
        chosen: How long, and on what.
        known: int64 `[old users]`, interactions of each user that were trained on before.
        folder: Where checkpoints may lie for as long as it takes.
        say: Gets a line for each pass.
        bar: Shows progress.

    Returns:
        The weights; None where nothing is held out to choose them on.

    Raises:
        ConfigError: `since` is given, and the log has no times.
    """
    import torch

    from metatoken.model.module import MetaTokenModule
    from metatoken.predict.fusion import choose_fusion
    from metatoken.run.threads import default_threads
    from metatoken.tasks.datamodule import TaskDataModule
    from metatoken.tasks.replay import Replay

    torch.set_num_threads(config.threads or default_threads())
    replay = Replay.of(split.train, known, chosen.replay, replayed_since(split, config, chosen.since))
    mixture = {name: getattr(config.trainer, name) for name in MIXTURE}
    data = TaskDataModule(split, model.vocabulary, tasks=model.tasks, seed=config.seed, replay=replay, **mixture)
    say(f"{replay.new.sum():,} new targets, {chosen.replay:g} of {replay.again.sum():,} old ones in each pass")
    # Nothing decides among so few passes, so the last one is kept and none is validated.
    options = config.trainer.options | {"limit_val_batches": 0}
    settings = replace(config.trainer, max_epochs=chosen.epochs, patience=None, logger="none", options=options)
    fit(make_trainer(settings, folder, say), MetaTokenModule.of(model), data, None)
    shutil.rmtree(folder.checkpoint.parent, ignore_errors=True)
    model.to("cpu").eval()
    model.newcomers = None  # of weights that were others
    if len(split.validation) == 0 or not tasks_of(model.tasks, "rank"):
        return None
    about = config.evaluate
    with (bar or no_bar)("choosing fusion weights") as progress:
        return choose_fusion(
            model, split, limit=about.fusion_users, batch_size=about.batch_size, seed=config.seed, progress=progress
        )


def replayed_since(split: Split, config: Config, since: str | None) -> float | None:
    """The time from which on old rows are trained on again, in the unit of the log; None for all of them.

    Raises:
        ConfigError: The log has no times.
        ArgumentError: It is none of the log's.
    """
    if since is None:
        return None
    if "timestamp" not in split.train.frame.columns:
        raise ConfigError("since: the log of the run has no times; leave it out")
    times = split.train.frame["timestamp"]
    return moment(since, times, argument="since", dates=False, zone=config.data.time_zone)
