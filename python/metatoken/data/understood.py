"""What was understood of a log that is looked at, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from metatoken.data.settings import Dialect


@dataclass
class Guess:
    """What was understood.

    Attributes:
        settings: Of `data.settings.LogSettings`, those that differ from the defaults.
        reasons: Why, by setting.
        others: Columns of a table that have no role yet, by what they seem to hold.
        warnings: What could be otherwise, or was lost before the log came here.
        events: The raw column of events, if there is one.
    """

    settings: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    events: pl.Series | None = None

    def add(self, name: str, value: Any, reason: str) -> None:
        """A setting, unless a person gave it."""
        if name not in self.settings:
            self.settings[name], self.reasons[name] = value, reason

    def dialect(self) -> Dialect:
        """How the log is written."""
        return Dialect.read({name: value for name, value in self.settings.items() if name in Dialect.keys()})  # noqa: SIM118
