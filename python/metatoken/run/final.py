"""What a run that holds nothing out (`data.split: none`) takes from an earlier one, for want of items to choose on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.errors import ConfigError
from metatoken.run.config import Config, flat
from metatoken.run.folder import RunFolder
from metatoken.run.manifest import check_run
from metatoken.run.record import TrainingRecord
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    from metatoken.data import RowSplit
    from metatoken.data.interactions import Interactions
    from metatoken.predict.fusion import Fusion
    from metatoken.tasks.rating_base import RatingBase

# What may differ from the earlier run: where the log is, and keys of `trainer` that change how, not what is trained.
FREE_SECTIONS = ("data", "vocabulary", "evaluate", "seed", "threads")
FREE_KEYS = {
    "trainer.max_epochs", "trainer.patience", "trainer.validation_users", "trainer.validate_every",
    "trainer.checkpoint_every_steps", "trainer.logger", "trainer.accelerator", "trainer.devices", "trainer.strategy",
}  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """What an earlier run chose on its validation items, beside the number of epochs.

    Attributes:
        fusion: Weights of its fused list.
        ratings: Meaning of its rating head: dampings and weights of its base, shares by task; None where no task rates.
    """

    fusion: Fusion
    ratings: RatingBase | None

    def rating_base(self, train: Interactions, seed: int) -> RatingBase | None:
        """The same for the base of other ratings; `seed` is that of its folds."""
        return None if self.ratings is None else self.ratings.refitted(train, seed=seed)


def rating_base(pairs: RowSplit, choices: Choices | None, seed: int) -> RatingBase | None:
    """What the rating head adds to, with the choices of an earlier run or of its own; the seed is that of its folds."""
    from metatoken.tasks.rating_base import RatingBase

    if choices is not None:
        return choices.rating_base(pairs.train, seed)
    return RatingBase.fit(pairs.train, pairs.validation, seed=seed)


def take_choices(config: Config, like: str | Path | None) -> tuple[Config, Choices | None]:
    """The configuration with the epochs that an earlier run kept, and what else the run takes from it.

    Args:
        config: Of the run to come.
        like: Folder of the earlier run; given if and only if `data.split` is none.

    Returns:
        The configuration as it stands and None where the split holds items out.

    Raises:
        ConfigError: `like` is missing or not wanted, or the earlier run was of another model or held nothing out.
        ArtifactError: The earlier run is not finished, or damaged.
    """
    if config.data.split != "none":
        if like is not None:
            raise ConfigError(
                "--like: only for a run that holds nothing out (--split none), which has nothing to choose on"
            )
        return config, None
    if like is None:
        raise ConfigError(
            "data.split: none holds nothing out to choose epochs and fusion weights on; take those of an earlier run "
            "of this configuration with --like RUN"
        )
    from metatoken.model.store.saving import load_ratings
    from metatoken.predict.fusion import Fusion

    at = RunFolder(like)
    at.check_finished()
    check_run(at)
    earlier = at.load_config()
    config = config.filled(earlier)
    _check_alike(config, earlier, at.path)
    rated = [task.name for task in tasks_of(config.model.tasks, "rate")]
    ratings = load_ratings(at.model, rated) if rated else None
    kept = TrainingRecord.load(at.training).kept_epoch if at.training.exists() else earlier.trainer.max_epochs or 1
    choices = Choices(Fusion.load(at.fusion), ratings)
    return replace(config, trainer=replace(config.trainer, max_epochs=kept, patience=None)), choices


def _check_alike(config: Config, earlier: Config, folder: Path) -> None:
    if earlier.data.split == "none":
        raise ConfigError(f"--like: {folder} held nothing out itself; name the run whose choices it took")
    ours, theirs = flat(config), flat(earlier)
    for key in dict.fromkeys([*ours, *theirs]):
        if key.partition(".")[0] in FREE_SECTIONS or key in FREE_KEYS or ours.get(key) == theirs.get(key):
            continue
        said = f"{folder} was trained with {key}: {theirs.get(key)}, this configuration says {ours.get(key)}"
        raise ConfigError(f"--like: {said}; what was chosen for one model does not fit another")
