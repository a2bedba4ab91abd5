"""data."""
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions, Sequences
from metatoken.data.split import Split, Targets, leave_last_out, no_split
