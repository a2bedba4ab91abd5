"""Logs: read, check, split, generate."""

from metatoken.data.audit import AuditReport, audit
from metatoken.data.catalogue import Catalogue
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.data.ragged import Sequences
from metatoken.data.row_split import RowSplit, random_split
from metatoken.data.split import Split, Targets, leave_last_out, no_split
from metatoken.data.world.world import DEMO_SIZE, World, generate_world

__all__ = [
    "DEMO_SIZE",
    "AuditReport",
    "Catalogue",
    "IdMap",
    "Interactions",
    "RowSplit",
    "Sequences",
    "Split",
    "Targets",
    "World",
    "audit",
    "generate_world",
    "leave_last_out",
    "no_split",
    "random_split",
]
