"""Ranked lists that were computed in batches of different shapes.

A matrix product rounds a row by its place in the matrix, and each kind of processor does so in its own way. A score is
thus the same but for rounding, and items whose scores differ by no more than that may change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def assert_same_list(
    items: Sequence[Any],
    scores: Sequence[float],
    expected: Sequence[Any],
    expected_scores: Sequence[float],
    rtol: float = 1e-4,
    atol: float = 1e-6,
) -> None:
    """Fails unless scores agree rank by rank, and items wherever their scores tell them apart.

    Args:
        items: A list, best first.
        scores: Its scores.
        expected: What it should be.
        expected_scores: Its scores.
        rtol: How far scores may differ, as a share.
        atol: And absolutely.
    """
    assert len(items) == len(expected)
    np.testing.assert_allclose(scores, expected_scores, rtol=rtol, atol=atol)
    for rank, (item, score) in enumerate(zip(items, scores, strict=True)):
        # An item that is not there at all may have been cut off behind the last one.
        own = [s for other, s in zip(expected, expected_scores, strict=True) if other == item] or [expected_scores[-1]]
        assert item == expected[rank] or np.isclose(score, own, rtol=rtol, atol=atol).any(), (
            rank,
            item,
            expected[rank],
        )
