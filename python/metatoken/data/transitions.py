"""Which item follows which in the histories of a log: counted transitions, scaled to the steps of a walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data.ragged import Sequences

GAPS = (1.0, 0.7)
"""Weight of a pair one place apart, two places apart, ..."""
BACKWARD = 0.3
"""Weight of a transition against the order of time."""
DAMPING = 0.8
"""Power of the row sum that a row is divided by."""
SECOND_HOP = 0.5
"""Weight of the second step. All of these were chosen on the validation items of Amazon Beauty."""


def transition_steps(
    histories: Sequences,
    n_items: int,
    *,
    gaps: Sequence[float] = GAPS,
    backward: float = BACKWARD,
    damping: float = DAMPING,
) -> sparse.csr_array:
    """`T = diag(C 1)^-a C`, sparse float32 `[n_items, n_items]`, with a the `damping`.

    `C[i, j]` adds `gaps[g - 1]` whenever j comes g places after i, and `backward` times that to `C[j, i]`. With a = 1
    each item's next step weighs the same; a < 1 trusts items with more evidence more.

    Args:
        histories: Item rows of every user, oldest first.
        n_items: Items of the catalogue.
        gaps: Weight of a pair one place apart, two places apart, ...
        backward: Weight of a transition against the order of time.
        damping: Power of the row sum that a row is divided by.
    """
    user = histories.owners
    counts = sparse.csr_array((n_items, n_items), dtype=np.float64)
    for gap, weight in enumerate(gaps, start=1):
        same = user[:-gap] == user[gap:]
        earlier, later = histories.items[:-gap][same], histories.items[gap:][same]
        pairs = sparse.csr_array((np.full(len(earlier), weight), (earlier, later)), shape=(n_items, n_items))
        counts = sparse.csr_array(counts + pairs + backward * pairs.T)
    support: np.ndarray = np.asarray(counts.sum(axis=1)).ravel()
    scale = np.divide(1.0, support**damping, out=np.zeros_like(support), where=support > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ counts).astype(np.float32)
