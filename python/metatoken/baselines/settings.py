"""How the baselines that learn are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from metatoken.config import SettingError, Settings, setting

SMALL = 60_000  # targets of a small log at most
SMALL_LOG, LARGE_LOG = (0.2, 64), (0.6, 512)  # dropout and users in a step of SASRec
STEPS, FEWEST = 40, 16  # steps in a pass at least, as Beauty has with 512 users in each, but so many users in a step


@dataclass(frozen=True)
class SASRecSettings(Settings):
    """Settings of SASRec; the defaults are those of its strongest published runs."""

    section: ClassVar[str] = "sasrec"

    dim: int = setting(64, "Width of the item vectors and of the network.", ge=1)
    layers: int = setting(2, "Blocks.", ge=1, le=1000)
    heads: int = setting(1, "Heads of attention; they share `dim`.", ge=1)
    dropout: float | None = setting(
        None, "Share that is dropped of inputs, attention and feed-forward parts; by default by the size of the log.",
        ge=0, lt=1,
    )  # fmt: skip
    max_history: int = setting(50, "Last items of a history that are read.", ge=1)
    batch_size: int | None = setting(None, "Users in a step; by default by the size of the log.", ge=1)
    learning_rate: float = setting(1e-3, "Learning rate of Adam.", gt=0)
    weight_decay: float = setting(0.0, "Weight of squared weights in Adam's gradient.", ge=0)
    epochs: int = setting(200, "Passes over the users at most.", ge=1)
    validate_every: int = setting(3, "Epochs between validations.", ge=1)
    patience: int = setting(20, "Epochs without a better validation after which training ends.", ge=1)

    def check(self) -> None:
        """Refuses heads that do not share the width evenly."""
        if self.dim % self.heads:
            raise SettingError(("heads",), f"expected a divisor of dim, {self.dim}; got {self.heads}")

    def resolved(self, n_targets: int, n_users: int) -> SASRecSettings:
        """The same with what was left open filled in, for so many targets (see `Sequences.n_targets`) and users."""
        dropout, batch_size = SMALL_LOG if n_targets <= SMALL else LARGE_LOG
        batch_size = min(batch_size, max(FEWEST, n_users // STEPS))
        return replace(
            self,
            dropout=dropout if self.dropout is None else self.dropout,
            batch_size=batch_size if self.batch_size is None else self.batch_size,
        )


@dataclass(frozen=True)
class ItemKNNSettings(Settings):
    """What `item_knn` chooses from on validation; a single value is taken as it is."""

    section: ClassVar[str] = "item_knn"

    neighbors: tuple[int, ...] = setting((50, 200, 1000), "Most similar items that each item keeps.", ge=1)
    shrinkage: tuple[float, ...] = setting(
        (0.0, 10.0, 50.0, 200.0), "Added to the denominator of a similarity.", ge=0, le=1e9
    )
    decay: tuple[float, ...] = setting(
        (1.0, 0.8, 0.6, 0.4, 0.2), "Weight of an item by that of the next one.", ge=0, le=1
    )


@dataclass(frozen=True)
class EASESettings(Settings):
    """What `ease` chooses from on validation; a single value is taken as it is."""

    section: ClassVar[str] = "ease"

    regularization: tuple[float, ...] = setting((30.0, 100.0, 300.0, 1000.0), "Added to an item's users.", gt=0, le=1e9)
    decay: tuple[float, ...] = setting(
        (1.0, 0.8, 0.6, 0.4, 0.2), "Weight of an item by that of the next one.", ge=0, le=1
    )
    neighbors: int = setting(500, "Largest weights that are kept of each item.", ge=1)
    max_items: int = setting(25_000, "Items at most; a catalogue of n takes 4 n^2 bytes of memory.", ge=1, size=False)


@dataclass(frozen=True)
class BaselineSettings(Settings):
    """Settings of all baselines, each by its name."""

    sasrec: SASRecSettings = field(default_factory=SASRecSettings)
    item_knn: ItemKNNSettings = field(default_factory=ItemKNNSettings)
    ease: EASESettings = field(default_factory=EASESettings)
