"""A stage of a job: units that are made apart, each of which leaves a file and a note of what it has come to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from metatoken.artifacts import atomic_file, read_json, write_json

Told = dict[str, Any]
"""What a unit says about itself: plain JSON values."""

MARKS = "done"  # folder of the notes


@dataclass(frozen=True)
class Stage(ABC):
    """What is to be done, in plain values, so that it can travel to another process.

    Attributes:
        folder: The folder of the job, which every worker sees under this path.
        units: How many units there are.
        threads: Threads of each worker; None takes all cores.
    """

    folder: Path
    units: int
    threads: int | None

    loads_much: ClassVar[bool] = False
    """Whether a worker should stay until the stage ends, since what it loads takes long."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What its notes are called."""

    @abstractmethod
    def open(self) -> Callable[[int], Told]:
        """Loads what a worker needs once; the result makes one unit, and writes its file whole."""

    @abstractmethod
    def place(self, unit: int) -> Path:
        """The file of a unit."""

    def mark(self, unit: int) -> Path:
        """The note of a unit, which is written when its file is."""
        return self.folder / MARKS / f"{self.name}-{unit:05}.json"

    def is_done(self, unit: int) -> bool:
        """Whether a unit has been made, now or in an earlier attempt."""
        return self.mark(unit).is_file() and self.place(unit).is_file()

    def told(self) -> list[Told]:
        """The notes of all units, in order."""
        return [read_json(self.mark(unit)) for unit in range(self.units)]

    def worker(self) -> Callable[[int], None]:
        """Makes units with their notes, in this process."""
        make = self.open()

        def work(unit: int) -> None:
            told = make(unit)
            with atomic_file(self.mark(unit)) as place:
                write_json(place, told)

        return work
