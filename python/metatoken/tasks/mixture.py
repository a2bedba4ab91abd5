"""How many rows of each task an epoch holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping


def rows_per_task(
    counts: Mapping[str, int], shares: Mapping[str, float] | None = None, temperature: float = 1.0
) -> dict[str, int]:
    """Rows of each task in an epoch.

    With `n_t` rows and share `s_t`, task t gets the part `(s_t n_t)^(1/T) / sum_u (s_u n_u)^(1/T)` of
    `sum_u s_u n_u` rows. `T = 1` gives `s_t n_t`; a larger temperature brings the tasks nearer to equal parts (Raffel
    et al. 2020, section 3.5.2).

    Args:
        counts: Rows that there are, by task.
        shares: Weights by task, 1 where left out; below 1 an epoch sees a part of the rows, above 1 some of them twice.
        temperature: At least 1.

    Returns:
        At least one row for every task that has rows.

    Raises:
        ArgumentError: A share is not above 0 or of an unknown task, or the temperature is below 1.
    """
    shares = dict(shares or {})
    if unknown := set(shares) - set(counts):
        raise ArgumentError("shares", f"{', '.join(sorted(unknown))} is no task of the run: {', '.join(counts)}")
    if any(not np.isfinite(share) or share <= 0 for share in shares.values()):
        raise ArgumentError("shares", f"expected numbers above 0, got {shares}")
    if not temperature >= 1:
        raise ArgumentError("temperature", f"expected at least 1, got {temperature}")
    wanted = {task: shares.get(task, 1.0) * n for task, n in counts.items()}
    total = sum(wanted.values())
    powers = {task: n ** (1 / temperature) if n else 0.0 for task, n in wanted.items()}
    whole = sum(powers.values())
    return {task: max(1, round(total * powers[task] / whole)) if counts[task] else 0 for task in counts}


def draw(rows: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """`wanted` of the rows: all of them as often as they fit, and a part of them drawn without repeats.

    Args:
        rows: int64 `[n]`.
        wanted: How many.
        rng: Source of chance; not used where `wanted` is a multiple of n.

    Returns:
        int64 `[wanted]`, in no order that matters.
    """
    whole, rest = divmod(wanted, len(rows))
    parts = [rows] * whole
    if rest:
        parts.append(rng.choice(rows, rest, replace=False))
    return np.concatenate(parts) if parts else rows[:0]
