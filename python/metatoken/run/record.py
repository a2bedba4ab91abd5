"""What a training came to: `training.json` of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from metatoken.artifacts import atomic_file, read_json, write_json
from metatoken.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = 1


@dataclass(frozen=True)
class Validated:
    """One validation.

    Attributes:
        epoch: The epoch that it ended, from 1.
        step: Steps of the optimizer until then.
        value: What was found.
        also: The second value that was looked at.
    """

    epoch: int
    step: int
    value: float
    also: float


@dataclass(frozen=True)
class TrainingRecord:
    """Which epoch of a training was kept, and what was found after each.

    Attributes:
        monitor: Name of the value that decides; a loss is the better the smaller it is, everything else the larger.
        also: Name of the second one, which decides between equals and keeps training going while it gets better.
        patience: Validations without a better one until training stops; None where the last epoch is kept.
        max_epochs: Epochs at most.
        epochs: Epochs that were trained.
        steps: Steps of the optimizer in them.
        kept_epoch: The epoch whose weights the model has, from 1.
        kept_step: Steps until its end.
        kept_value: What was found then; None where it was not validated.
        values: Every validation, in order.
    """

    monitor: str
    also: str
    patience: int | None
    max_epochs: int
    epochs: int
    steps: int
    kept_epoch: int
    kept_step: int
    kept_value: float | None
    values: Sequence[Validated]

    def sentence(self) -> str:
        """Which epoch is kept and why, for a person."""
        found = "" if self.kept_value is None else f" ({self.monitor.removeprefix('val/')} {self.kept_value:.4f})"
        if self.patience is None or not self.values:
            return f"kept epoch {self.kept_epoch}, the last{found}"
        early = f"; stopped after {self.patience} without a better one" if self.epochs < self.max_epochs else ""
        return f"kept epoch {self.kept_epoch} of {self.epochs}, the best{found}{early}"

    def save(self, path: Path) -> None:
        """Writes a JSON file."""
        with atomic_file(path) as work:
            write_json(work, {"schema": SCHEMA} | asdict(self))

    @classmethod
    def load(cls, path: Path) -> TrainingRecord:
        """Reads a JSON file.

        Raises:
            ArtifactError: It is missing, of a newer schema, or not what `save` writes.
        """
        content: Any = read_json(path)
        try:
            found = dict(content)
            if found.pop("schema") > SCHEMA:
                raise ArtifactError(f"{path}: was written by a newer metatoken; upgrade metatoken")
            values = tuple(Validated(**one) for one in found.pop("values"))
            return cls(values=values, **found)
        except (KeyError, TypeError, ValueError) as error:
            raise error if isinstance(error, ArtifactError) else _unread(path) from error


def _unread(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: is not the record of a training; train again with --overwrite")
