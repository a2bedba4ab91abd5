"""Labels from walks: the next items of other users stand beside the user's own next item.

A log shows one continuation of a history, where users of its last item went on in many ways. A part of each target's
weight therefore goes to an item that a short walk over the log's transitions ends at, drawn afresh every time. From the
item x before the target its distribution is that of the transition graph (`predict.transitions`),

    P(j) = g_j / |g|_1,    g = (T + second_hop T^2)[x],

with T the steps of `data.transitions`. With `m = T 1` the walk makes one step with the odds `m : second_hop T m` of x,
or two, the first of them by `T diag(m)`, and so has exactly that distribution.

In place of the draws one could give the model the whole distribution. That is the same in expectation, and dearer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from metatoken.data.transitions import SECOND_HOP, transition_steps

if TYPE_CHECKING:
    from metatoken.data import Sequences

    Ids = np.ndarray


class LabelWalks:
    """Draws labels for targets in the histories of a log.

    Args:
        histories: Train items of every user.
        n_items: Items of the catalogue.
    """

    def __init__(self, histories: Sequences, n_items: int) -> None:
        self.histories, self.n_items = histories, n_items
        steps = transition_steps(histories, n_items)
        once = np.asarray(steps.sum(axis=1)).ravel()
        mass = once + SECOND_HOP * (steps @ once)
        self._known = mass > 0
        self._single = np.divide(once, mass, out=np.zeros_like(once), where=self._known)  # chance of one step, not two
        self._last, self._before = Steps(steps), Steps(sparse.csr_array(steps @ sparse.diags_array(once)))
        self._owners = histories.owners
        self._begin = histories.offsets[self._owners]
        taken = self._owners * n_items + histories.items
        self._order = np.argsort(taken, kind="stable")  # of what was taken twice the first place stands first
        self._taken = taken[self._order]

    def draw(self, places: Ids, rng: np.random.Generator) -> Ids:
        """A label for each target.

        Args:
            places: int64 `[P]` places of the targets in `histories.items`; -1 for one without a history.
            rng: Draws; equally many numbers whatever the walks meet.

        Returns:
            int64 `[P]` item rows; -1 where no step is known, or where the walk ends at an item of the history, which
            would not be recommended.
        """
        chance = rng.random((3, len(places)))
        begun = np.flatnonzero((places >= 0) & (places > self._begin[places]))
        walks = begun[self._known[self.histories.items[places[begun] - 1]]]
        middle = self.histories.items[places[walks] - 1].astype(np.int64)
        two = chance[0, walks] >= self._single[middle]
        middle[two] = self._before.draw(middle[two], chance[1, walks[two]])
        ends = self._last.draw(middle, chance[2, walks])
        labels = np.full(len(places), -1, dtype=np.int64)
        labels[walks] = np.where(self._seen(places[walks], ends), -1, ends)
        return labels

    def _seen(self, places: Ids, items: Ids) -> np.ndarray:
        """Whether each item `[P]` was taken before the place beside it, bool `[P]`."""
        key = self._owners[places] * self.n_items + items
        found = np.searchsorted(self._taken, key).clip(max=len(self._taken) - 1)
        seen: np.ndarray = (self._taken[found] == key) & (self._order[found] < places)
        return seen


class Steps:
    """Draws columns of the rows of a matrix, in proportion to its entries.

    Args:
        matrix: Sparse, none of its entries below 0.
    """

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.offsets, self.columns = matrix.indptr.astype(np.int64), matrix.indices
        self.sums = np.concatenate([[0.0], np.cumsum(matrix.data, dtype=np.float64)])

    def draw(self, rows: Ids, chance: np.ndarray) -> Ids:
        """Columns int64 `[n]` for rows `[n]`, each with an entry above 0, and numbers `[n]` from 0 to below 1."""
        begin, end = self.offsets[rows], self.offsets[rows + 1]
        wanted = self.sums[begin] + chance * (self.sums[end] - self.sums[begin])
        # Rounding may lead to the first entry of the next row.
        place = (np.searchsorted(self.sums, wanted, side="right") - 1).clip(begin, end - 1)
        found: np.ndarray = self.columns[place].astype(np.int64)
        return found
