"""Logs: read, check, split, generate.

The names load when they are first used, so that the command line can show the settings of a log at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metatoken.data.auditing import AuditReport, audit
    from metatoken.data.catalogue import Catalogue
    from metatoken.data.ids import IdMap
    from metatoken.data.interactions import Interactions
    from metatoken.data.ragged import Ragged, Sequences
    from metatoken.data.split import RowSplit, Split, Targets, hold_out, leave_last_out, no_split, random_split
    from metatoken.data.world.shards import write_world
    from metatoken.data.world.world import DEMO_SIZE, World, generate_world

_PLACES = {
    "DEMO_SIZE": "world.world",
    "AuditReport": "auditing",
    "Catalogue": "catalogue",
    "IdMap": "ids",
    "Interactions": "interactions",
    "Ragged": "ragged",
    "RowSplit": "split",
    "Sequences": "ragged",
    "Split": "split",
    "Targets": "split",
    "World": "world.world",
    "audit": "auditing",
    "generate_world": "world.world",
    "hold_out": "split",
    "leave_last_out": "split",
    "no_split": "split",
    "random_split": "split",
    "write_world": "world.shards",
}

__all__ = [
    "DEMO_SIZE",
    "AuditReport",
    "Catalogue",
    "IdMap",
    "Interactions",
    "Ragged",
    "RowSplit",
    "Sequences",
    "Split",
    "Targets",
    "World",
    "audit",
    "generate_world",
    "hold_out",
    "leave_last_out",
    "no_split",
    "random_split",
    "write_world",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"metatoken.data.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
