"""Stages that take their time, in a module that a worker imports quickly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metatoken.engine.job import part_of
from metatoken.engine.stage import Stage, Told


@dataclass(frozen=True)
class Slow(Stage):
    """Writes a file a unit, slowly; says which process is at it."""

    fails: bool = False

    @property
    def name(self) -> str:
        return "slow"

    def place(self, unit: int) -> Path:
        return part_of(self.folder, unit)

    def open(self) -> Callable[[int], Told]:
        def make(unit: int) -> Told:
            if self.fails:
                raise ZeroDivisionError("by mistake\nin two lines")
            (self.folder / f"pid-{os.getpid()}").touch()
            time.sleep(0.5)
            self.place(unit).write_text(f"unit {unit}")
            return {"unit": unit}

        return make


class SlowActors(Slow):
    loads_much = True
