"""What a log of some size will cost: time and memory of each stage, which of them breaks first, and settings for it.

Costs are measured, not guessed: `benchmarks/scale.py` runs the stages at sizes a factor of 4 apart with one thread, and
writes `costs.json`. A stage costs `fixed + sum of rate x driver`, where a driver is a number that the stage loops over,
such as users times items; which these are stands in `SECONDS` and `BYTES`. The exponents beside them say how a stage
grew against the interactions, with users and items in proportion. docs/scale.md has the whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from metatoken.bounds import check_integer, memory
from metatoken.errors import ArgumentError
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.model.backbone.presets import PRESETS
from metatoken.model.settings import ModelSettings
from metatoken.run.settings import TrainerSettings
from metatoken.run.threads import available_cores
from metatoken.tasks.recipe import recipe
from metatoken.tokens.codes.clustering import A_TOKEN, MANY, auto_levels
from metatoken.tokens.settings import TokenSettings

COSTS = Path(__file__).with_name("costs.json")
HELD_OUT = 3  # interactions of a user that are no training targets: the first one, and two that are held out
SCORED = 20_000  # users whose lists tell HR@10 to a fifth of a percent
SCALES = 60  # times that a size may double until a stage breaks
MOST = 10**18  # of every number of a plan
ROWS = 2**31  # users, items or nodes beyond what an id of 32 bits names
A_ROW = 4  # how many times as long AdamW takes for the weight of a row by itself as for one of a whole table
EDGES = 2**32  # interactions beyond what the graph in the core holds


@dataclass(frozen=True)
class Size:
    """A log and what is asked of a model of it.

    Attributes:
        users: Users.
        items: Items.
        interactions: Rows.
        scored: Held-out users who are scored.
        asked: Users who get lists.
    """

    users: int
    items: int
    interactions: int
    scored: int
    asked: int

    @property
    def nodes(self) -> int:
        """Users and items, each of which has a vector."""
        return self.users + self.items

    @property
    def distances(self) -> int:
        """Rows times tokens of a pass of k-means, of twenty on the sample and two on all rows."""
        rows, levels = self.nodes, auto_levels((self.users, self.items))
        trained = rows if rows <= MANY else min(rows, A_TOKEN * max(levels))
        return sum(levels) * (trained + 2 * rows // TokenSettings.max_iterations)

    @property
    def targets(self) -> int:
        """Items that an epoch learns to predict."""
        return max(1, self.interactions - HELD_OUT * self.users)

    @property
    def logits(self) -> int:
        """Targets times the items that each is told from."""
        return self.targets * self.columns

    @property
    def columns(self) -> int:
        """Items of a step: all, or where they are sampled those that are drawn, and the targets."""
        drawn = ModelSettings().samples_of(self.items)
        return min(self.items, drawn + self.targets // self.steps) if drawn else self.items

    @property
    def steps(self) -> int:
        """Steps of an epoch: a row for each window of a history."""
        window = ModelSettings.max_history // 2
        rows = max(self.users, self.targets // window)
        return max(1, rows // recipe(self.targets).batch_size)

    @property
    def updated(self) -> int:
        """Weights of the item table that AdamW moves in an epoch, those of single rows for what they take."""
        rows = ModelSettings().updates_rows(self.items)
        moved = min(self.items, A_ROW * self.columns) if rows else self.items
        return self.steps * moved * PRESETS[ModelSettings.backbone].dim

    @property
    def evaluated(self) -> int:
        """Users who are scored times items."""
        return self.scored * self.items

    @property
    def listed(self) -> int:
        """Users who get lists times items."""
        return self.asked * self.items


SECONDS: dict[str, tuple[str, ...]] = {
    "read": ("interactions",),
    "tokenize": ("interactions", "nodes", "distances"),
    "train": ("interactions", "targets", "logits", "updated"),
    "evaluate": ("interactions", "scored", "evaluated"),
    "recommend": ("interactions", "asked", "listed"),
}
"""Drivers of the processor seconds of each stage."""
BYTES: dict[str, tuple[str, ...]] = {
    "read": ("interactions",),
    "tokenize": ("interactions", "nodes"),
    "train": ("interactions", "items"),
    "evaluate": ("interactions", "items", "scored"),
    "recommend": ("interactions", "items"),
}
"""Drivers of the peak memory of each stage."""


@dataclass(frozen=True)
class Estimate:
    """What a stage takes.

    Attributes:
        stage: Its command, or `read` for what tokenize and train begin with, which is a part of theirs.
        seconds: Processor seconds.
        hours: Hours by the clock at least, with all cores busy.
        peak: Bytes of memory at its peak.
        fits: Whether the machine has them.
        breaks_at: How many times larger the log, its users and its items may be until it does not.
        why: What ends it there: memory, or the number of rows or edges.
    """

    stage: str
    seconds: float
    hours: float
    peak: float
    fits: bool
    breaks_at: float
    why: str


@dataclass(frozen=True)
class Plan:
    """Estimates for a log on a machine.

    Attributes:
        size: Users, items, interactions, and who is scored.
        cores: Of the machine.
        memory: Its bytes.
        stages: In their order.
        first: The stage that breaks first as the log grows.
        settings: Keys of a configuration to set, with the value that the size asks for.
        measured: On which sizes the costs rest.
    """

    size: Size
    cores: int
    memory: int
    stages: tuple[Estimate, ...]
    first: str
    settings: Mapping[str, Any]
    measured: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@cache
def costs() -> dict[str, Any]:
    """What `benchmarks/scale.py` measured."""
    found: dict[str, Any] = json.loads(COSTS.read_text(encoding="utf-8"))
    return found


def plan(
    users: int,
    items: int,
    interactions: int,
    *,
    scored: int = SCORED,
    asked: int | None = None,
    cores: int | None = None,
    bytes_: int | None = None,
) -> Plan:
    """Estimates what a log of this size costs, with the default settings and one epoch of gpt2-preset.

    Args:
        users: Users, at least 1.
        items: Items, at least 2.
        interactions: Rows, at least as many as users.
        scored: Held-out users who are scored, at most.
        asked: Users who get lists; all by default.
        cores: Of the machine; by default those of this one.
        bytes_: Its memory; by default that of this one.

    Raises:
        ArgumentError: A number is out of its range, or the memory of this machine is not known.
    """
    least = {"users": (users, 1), "items": (items, 2), "interactions": (interactions, users), "scored": (scored, 1)}
    chosen = {"asked": (asked, 0), "cores": (cores, 1), "bytes_": (bytes_, 1)}
    for name, (value, low) in (least | {name: one for name, one in chosen.items() if one[0] is not None}).items():
        check_integer(name, value, low, MOST)
    size = Size(users, items, interactions, min(scored, users), users if asked is None else min(asked, users))
    cores, room = cores or available_cores(), bytes_ or memory()
    if room == 0:
        raise ArgumentError("bytes_", "this system does not tell its memory; give it (on the command line --memory)")
    stages = tuple(_estimate(stage, size, scored, cores, room) for stage in SECONDS)
    first = min(stages, key=lambda one: (one.breaks_at, -one.peak)).stage
    return Plan(size, cores, room, stages, first, settings_for(size), costs()["measured"])


def settings_for(size: Size) -> dict[str, Any]:
    """Keys of a configuration whose defaults are not for this size, or are chosen by it."""
    found: dict[str, Any] = {"tokens.levels": list(auto_levels((size.users, size.items)))}
    if size.nodes > MANY:
        found["tokens.sample"] = A_TOKEN * max(found["tokens.levels"])
    found["model.item_softmax"] = "sampled" if ModelSettings().samples_of(size.items) else "full"
    if ModelSettings().updates_rows(size.items):
        found["model.item_updates"] = "rows"
    found["trainer.batch_size"] = recipe(size.targets).batch_size
    found["trainer.validation_users"] = min(TrainerSettings.validation_users or size.users, size.users)
    found["evaluate.fusion_users"] = min(EvaluateSettings.fusion_users, size.users)
    if size.scored < size.users:
        found["evaluate.users"] = size.scored
    return found


def _cost(kind: str, stage: str, size: Size) -> float:
    """Seconds or bytes of a stage."""
    about = costs()["stages"][stage][kind]
    drivers = (SECONDS if kind == "seconds" else BYTES)[stage]
    return float(about["fixed"] + sum(about["rates"][name] * getattr(size, name) for name in drivers))


def _estimate(stage: str, size: Size, scored: int, cores: int, room: int) -> Estimate:
    seconds, peak = _cost("seconds", stage, size), _cost("bytes", stage, size)
    breaks_at, why = _breaking(stage, size, scored, room)
    return Estimate(stage, seconds, seconds / cores / 3600, peak, breaks_at >= 1, breaks_at, why)


def _breaking(stage: str, size: Size, scored: int, room: int) -> tuple[float, str]:
    """How many times larger the log may be until the stage ends, and why; memory grows with every driver."""
    limits = {"ids of 32 bits": ROWS / size.nodes}
    if stage == "tokenize":
        limits["edges of the graph"] = EDGES / size.interactions
    low, high = 2.0**-SCALES, 2.0**SCALES
    for _ in range(2 * SCALES):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _cost("bytes", stage, _scaled(size, scored, middle)) <= room else (low, middle)
    limits["memory"] = low
    why = min(limits, key=limits.__getitem__)
    return limits[why], why


def _scaled(size: Size, scored: int, factor: float) -> Size:
    """A log so many times larger, of which no more users are scored than was said."""
    larger = {name: max(2, round(getattr(size, name) * factor)) for name in ("users", "items", "interactions")}
    return replace(size, **larger, scored=min(scored, larger["users"]))
