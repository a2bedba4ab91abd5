"""How long a run trains, and on what; how it is extended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from metatoken.config import SettingError, Settings, setting, shown
from metatoken.data.parsing import parse_moment


@dataclass(frozen=True)
class TrainerSettings(Settings):
    """Settings of training; most go to `lightning.Trainer` under their own names."""

    max_epochs: int | None = setting(
        None, "Passes over the training data; by default by the size of the log, 10 for a pretrained backbone.", ge=1
    )
    patience: int | None = setting(
        20, "Validations without a better one until training stops, and the best is kept; none keeps the last.", ge=1
    )
    ema: float | None = setting(
        None,
        "Decay of a moving average of the weights, which is validated and kept; none does not average.",
        gt=0,
        lt=1,
    )
    batch_size: int | None = setting(None, "Rows in a step of the optimizer; by default by the size of the log.", ge=1)
    direct_share: float = setting(0.1, "Share of users who give a direct row in an epoch.", gt=0, le=1)
    walk_share: float = setting(
        0.0, "Part of each target's weight that goes to an item drawn by a walk over others' transitions.", ge=0, lt=1
    )
    shares: dict[str, float] = setting({}, "Rows of a rating or text task in an epoch, as a share of its rows.", gt=0)
    mixing_temperature: float = setting(1.0, "1 draws tasks by their rows; larger ones even the tasks out.", ge=1)
    gradient_clip_val: float | None = setting(10.0, "Norm of the gradient at most; none or 0 does not clip.", ge=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = setting(
        "32-true", "Precision of the numbers, as Lightning names it."
    )
    accelerator: str = setting("auto", "As Lightning names it.")
    devices: int | str = setting("auto", "As Lightning names them.")
    strategy: str = setting("auto", "As Lightning names it.")
    checkpoint_every_steps: int | None = setting(
        None, "Also save within epochs, every so many steps.", ge=1, size=False
    )
    logger: Literal["csv", "tensorboard", "none"] = setting(
        "csv", "csv: training.csv in the run folder, a row an epoch; tensorboard: its files beside that; none."
    )
    validation_users: int | None = setting(5000, "Users scored after an epoch; none scores all.", ge=0, size=False)
    validate_every: int = setting(1, "Epochs between validations.", ge=1)
    options: dict[str, Any] = setting({}, "Any further arguments of `lightning.Trainer`.")

    def check(self) -> None:
        """Refuses a number of batches that Lightning would divide by."""
        batches = self.options.get("accumulate_grad_batches", 1)
        if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
            said = f"expected an integer of at least 1, got {shown(batches)}"
            raise SettingError(("options", "accumulate_grad_batches"), said)


@dataclass(frozen=True)
class ExtendSettings(Settings):
    """How a run is extended."""

    epochs: int = setting(0, "Passes over new rows; 0 recommends new items without training.", ge=0, group="training")
    replay: float = setting(0.25, "Share of the old rows that each pass trains on again.", ge=0, le=1, group="training")
    since: str | None = setting(
        None, "Only old rows of this time or later are trained on again.", parse=parse_moment, group="training"
    )
    hold_out: bool = setting(
        True,
        "Hold out the last two items of each user where the run does. Else every interaction speaks for new items and "
        "is trained on.",
    )
    item_features: str | None = setting(
        None, "Features of new items, as tokens.item_features has them; a model with features needs a folder."
    )

    def check(self) -> None:
        """Refuses what has no effect."""
        for name in ("replay", "since"):
            if self.epochs == 0 and getattr(self, name) != getattr(type(self), name):
                raise SettingError((name,), "is about what is trained on again; say epochs, too")
