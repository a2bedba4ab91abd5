"""Training further on a log that has grown: all new rows, and a share of the old ones, so that nothing fades.

A row of a task is new where the newest interaction that it is about is; what else a window of a history holds is
trained on again with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.tasks.examples import Example
    from metatoken.tasks.mixture import TaskRows


class Some:
    """Some rows of a table, as a table.

    Args:
        table: All rows.
        chosen: int64 `[n]`, numbers of those that count.
    """

    def __init__(self, table: TaskRows, chosen: NDArray[np.int64]) -> None:
        self.table, self.chosen, self.task = table, chosen, table.task

    def __len__(self) -> int:
        return len(self.chosen)

    def sizes(self) -> np.ndarray:
        """See `TaskRows`."""
        return self.table.sizes()[self.chosen]

    def supervised(self) -> np.ndarray:
        """See `TaskRows`."""
        return self.table.supervised()[self.chosen]

    def newest(self) -> np.ndarray:
        """See `TaskRows`."""
        return self.table.newest()[self.chosen]

    def example(self, row: int, rng: np.random.Generator) -> Example:
        """See `TaskRows`."""
        return self.table.example(int(self.chosen[row]), rng)


@dataclass(frozen=True)
class Replay:
    """Which interactions of a training log are new, and which old ones are trained on again.

    Attributes:
        new: bool `[n]`, by rows of the log.
        again: The same; none of them is new.
        share: Part of the rows about the latter that a pass draws, from 0 to 1.
    """

    new: NDArray[np.bool_]
    again: NDArray[np.bool_]
    share: float

    @classmethod
    def of(cls, train: Interactions, known: NDArray[np.int64], share: float, since: float | None = None) -> Replay:
        """From the training log, and how many interactions of each of its first users were trained on before.

        Args:
            train: The log.
            known: int64 `[old users]`.
            share: See there.
            since: Time from which on old interactions are trained on again; None for all.
        """
        before = np.pad(known, (0, train.n_users - len(known)))
        new = train.frame["order"].to_numpy() >= before[train.frame["user"].to_numpy()]
        old = ~new if since is None else ~new & (train.frame["timestamp"] >= since).to_numpy()
        return cls(new, old, share)

    def mixture(
        self, tables: Mapping[str, TaskRows], wanted: Callable[[Mapping[str, TaskRows]], Mapping[str, int]]
    ) -> tuple[list[TaskRows], list[int]]:
        """Tables of new rows and of old ones, and how many of each a pass draws.

        Args:
            tables: All rows by task.
            wanted: How many rows of tables a pass would draw.
        """
        found: list[tuple[TaskRows, int]] = []
        for mask, share in ((self.new, 1.0), (self.again, self.share)):
            some = {name: Some(table, np.flatnonzero(mask[table.newest()])) for name, table in tables.items()}
            some = {name: table for name, table in some.items() if len(table)}
            found += [(some[name], round(share * n)) for name, n in wanted(some).items()] if some else []
        kept = [(table, n) for table, n in found if n]
        return [table for table, _ in kept], [n for _, n in kept]
