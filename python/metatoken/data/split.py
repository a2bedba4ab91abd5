"""Hold interactions out. Everything that learns sees `Split.train` only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metatoken.data.interactions import Interactions
from metatoken.data.ragged import Sequences
from metatoken.errors import ArgumentError

Part = Literal["validation", "test"]
# One item to train on, one to validate, one to test.
SHORTEST = 3


@dataclass(frozen=True, eq=False)
class Targets:
    """Held-out interactions, at most one a user, sorted by user.

    Attributes:
        users: int32 `[m]`, user rows.
        items: int32 `[m]`, the item row held out for each.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Split:
    """A log and what is held out of it.

    Attributes:
        log: The whole log.
        train: What may be learned from; same users, items and item table as `log`.
        validation: For choices during development.
        test: For the numbers that are reported.
        name: "leave-last-out" or "none".
        train_only_users: Users of the log who have too few interactions to be held out.
    """

    log: Interactions
    train: Interactions
    validation: Targets
    test: Targets
    name: str
    train_only_users: int

    def targets(self, part: Part) -> Targets:
        """Held-out interactions of a part.

        Raises:
            ArgumentError: The part is neither "validation" nor "test".
        """
        if part not in ("validation", "test"):
            raise ArgumentError("part", f"expected 'validation' or 'test', got {part!r}")
        return self.validation if part == "validation" else self.test

    def history(self, part: Part) -> Sequences:
        """What precedes the targets of a part, for all user rows: train, and for "test" the validation item too."""
        train = self.train.sequences()
        if self.targets(part) is self.validation:
            return train
        held = self.validation
        items = np.insert(train.items, train.offsets[held.users + 1], held.items)
        longer = np.zeros(len(train), dtype=np.int64)
        longer[held.users] = 1
        return Sequences(train.offsets + np.concatenate(([0], np.cumsum(longer))), items)

    def repeated_targets(self, part: Part) -> int:
        """Targets of a part that are already in their user's history; a filter of seen items makes them misses."""
        history, targets = self.history(part), self.targets(part)
        users = np.repeat(np.arange(len(history), dtype=np.int64), history.lengths)
        seen = users * self.log.n_items + history.items
        return int(np.isin(targets.users.astype(np.int64) * self.log.n_items + targets.items, seen).sum())


def leave_last_out(log: Interactions) -> Split:
    """Hold out each user's last interaction for test and the one before for validation.

    Users with fewer than three interactions are for training only.
    """
    sequences = log.sequences()
    lengths = sequences.lengths
    users = np.flatnonzero(lengths >= SHORTEST).astype(np.int32)
    last = sequences.offsets[users + 1] - 1
    mask = np.ones(len(log), dtype=np.bool_)
    mask[last] = mask[last - 1] = False
    return Split(
        log=log,
        train=log.with_rows(mask),
        validation=Targets(users, sequences.items[last - 1]),
        test=Targets(users, sequences.items[last]),
        name="leave-last-out",
        train_only_users=int(((lengths > 0) & (lengths < SHORTEST)).sum()),
    )


def no_split(log: Interactions) -> Split:
    """Hold nothing out: for a vocabulary or model that is to be used, not measured."""
    none = Targets(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    return Split(log, log, none, none, "none", int((log.sequences().lengths > 0).sum()))
