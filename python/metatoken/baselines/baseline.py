"""What every fitted baseline is: a ranker that knows how it was fitted, can be saved, and read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from metatoken.artifacts import (
    atomic_folder,
    read_as,
    read_json,
    read_manifest,
    read_tensors,
    write_json,
    write_manifest,
    write_tensors,
)
from metatoken.config import Settings
from metatoken.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from metatoken.data.ragged import Sequences
    from metatoken.data.split import Split

    Arrays = Mapping[str, NDArray[Any]]

KIND, SCHEMA = "baseline", 1


@dataclass(frozen=True)
class Origin:
    """What a baseline was fitted on.

    Attributes:
        learned_from: `Interactions.edges_checksum` of the training part.
        seed: Seed of every draw.
        ndcg: NDCG@10 on the validation items that its settings, or its epoch, were chosen by.
    """

    learned_from: str
    seed: int
    ndcg: float


class Baseline(ABC):
    """A `Ranker` that was fitted on the training part of a split and chosen on its validation items.

    Attributes:
        name: Its name in tables.
        options: The class of its settings.
        settings: The settings as they were chosen; fitted with these, it is the same again.
        origin: What it was fitted on.
    """

    name: ClassVar[str]
    options: ClassVar[type[Settings]]

    def __init__(self, settings: Settings, origin: Origin) -> None:
        self.settings, self.origin = settings, origin

    @classmethod
    @abstractmethod
    def fit(
        cls,
        split: Split,
        settings: Any = None,
        *,
        seed: int = 0,
        say: Callable[[str], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Fits on the training part, and chooses on the validation items.

        Args:
            split: The log, split.
            settings: Of the class `options`; by default its defaults.
            seed: Seed of every draw.
            say: Gets a line for each step.
            progress: Called with (steps done, steps in all).

        Raises:
            ArgumentError: The split holds nothing out, or the catalogue is too large for the method.
        """

    @abstractmethod
    def scores(self, history: Sequences, users: NDArray[Any]) -> NDArray[np.float32]:
        """See `predict.ranker.Ranker`."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Everything that was learned, by name."""

    @classmethod
    @abstractmethod
    def of(cls, settings: Any, origin: Origin, arrays: Arrays) -> Self:
        """The baseline of these arrays; `ArtifactError` if they are not those of `arrays`."""

    def save(self, folder: str | Path) -> None:
        """Writes a folder, whole or not at all; an older baseline there is replaced."""
        with atomic_folder(folder, kind=KIND) as work:
            write_json(work / "settings.json", self.settings.plain())
            write_tensors(work / "weights.safetensors", self.arrays())
            write_manifest(work, KIND, SCHEMA, name=self.name, **vars(self.origin))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: A file is missing, altered, or of another baseline.
        """
        folder = Path(folder)
        with read_as(KIND, folder):
            about = read_manifest(folder, KIND, SCHEMA, ("settings.json", "weights.safetensors"))
            if about.get("name") != cls.name:
                raise ArtifactError(f"{folder}: holds the baseline {about.get('name')}, expected {cls.name}")
            settings = cls.options.read(read_json(folder / "settings.json"))
            origin = Origin(about["learned_from"], about["seed"], about["ndcg"])
            return cls.of(settings, origin, read_tensors(folder / "weights.safetensors")[0])
