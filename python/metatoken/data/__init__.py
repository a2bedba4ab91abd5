"""Logs: read, check, split, generate."""

from metatoken.data.audit import AuditReport, audit
from metatoken.data.catalogue import Catalogue
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.data.ragged import Ragged, Sequences
from metatoken.data.split import RowSplit, Split, Targets, hold_out, leave_last_out, no_split, random_split
from metatoken.data.world.world import DEMO_SIZE, World, generate_world

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
]
