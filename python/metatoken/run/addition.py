"""What is added to a run, and how it is read: as the log of the run was, unless something else is said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.config import SettingError
from metatoken.data.growth import Files, read_addition
from metatoken.data.settings import LogSettings
from metatoken.errors import ConfigError, DataError
from metatoken.run.config import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metatoken.data.interactions import Interactions

# What is about all of a log, and says nothing of what is added to it.
HELD = ("split", "validation_from", "test_from", "validation_share", "test_share", "part", "validation_path",
        "test_path")  # fmt: skip
ROWS = ("since", "until", "min_user", "min_item")
WHOLE = (*HELD, *ROWS, "texts")
TABLE = ("items", "item_id", "title", "categories", "items_separator", "items_encoding", "items_columns")

SAY = re.compile(r"""say separator: (["'])(.+?)\1""")


@dataclass(frozen=True)
class Addition:
    """Where additions come from.

    Attributes:
        about: How they are read.
        has_log: Whether there is a log; else there is an item table alone.
        dropped: Settings of the run's own log that do not hold for this one.
    """

    about: LogSettings
    has_log: bool
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: LogSettings, log: Path | None, items: Path | None, overrides: Sequence[str] = ()) -> Addition:
        """As a run was read.

        Args:
            data: Of the run.
            log: File of new interactions; None for none, or for a query among the overrides.
            items: Table about items; None for none.
            overrides: `key=value` of the section `data`.

        Raises:
            ConfigError: A key is unknown, a value cannot be used, or there is nothing to add.
        """
        values: dict[str, Any] = {name: value for name, value in data.plain().items() if name not in WHOLE}
        if items is None:
            values = {name: value for name, value in values.items() if name not in TABLE}
        else:
            values["items"] = items
        if log is not None:
            values |= {"path": log, "uri": None, "query": None}
        own: dict[str, Any] = {}
        override(own, overrides)
        if held := next((name for name in own if name in HELD), None):
            raise ConfigError(f"--set {held}: what is added is held out as the run says, or not at all; leave it out")
        has_log = log is not None or not own.keys().isdisjoint(("path", "query"))
        if not has_log and items is None:
            raise ConfigError("nothing to add: give a log of what came later, or --items with a table about items")
        said = [name for name in ROWS if getattr(data, name) != getattr(LogSettings, name)]
        dropped = tuple(name for name in said if has_log and name not in own)
        try:
            about = LogSettings.read(values | own)
        except SettingError as error:
            raise ConfigError(f"--set: {error}") from error
        return cls(about, has_log, dropped)

    def said(self) -> dict[str, str | None]:
        """Files and query, for `lineage.json`."""
        one = self.about
        source = one.uri or str(one.path)
        items = None if one.items is None else str(one.items)
        return {"source": source if self.has_log else None, "query": one.query, "items": items}

    def notes(self) -> Iterator[str]:
        """What a person would not expect of how they are read."""
        if self.dropped:
            said = "about its own log, not used for the new one; --set NAME=VALUE says it of this one"
            yield f"{', '.join(self.dropped)} of the run: {said}"

    def files(self) -> Files:
        """Files of the log and of the table, for messages."""
        return Files(self.about.path if self.has_log and self.about.uri is None else None, self.about.items)

    def read(self) -> Interactions:
        """Reads them; `DataError` for a file that cannot be read."""
        try:
            return read_addition(self.about, log=self.has_log)
        except DataError as error:  # what a configuration would say is an option here
            raise DataError(SAY.sub(r"add --set 'separator=\2'", str(error))) from error
