"""Two tokens are enough for every item of a real catalogue, at a small price in quantisation error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metatoken.data.interactions import Interactions
from metatoken.data.split import leave_last_out
from metatoken.tokens.codes.clustering import encode, fit
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.vectors import skipgram


@pytest.mark.shared_data
@pytest.mark.slow
def test_beauty_items_get_two_unique_tokens(shared_data: Path) -> None:
    """12,101 items, 128 x 256 = 32,768 tuples; 70 % keep both nearest, 2.8 % more error."""
    log = Interactions.read(shared_data / "beauty" / "user_sequence.txt", format="sequences")
    graph = Graph.from_interactions(leave_last_out(log).train)
    x = skipgram.fit(graph, dim=64, walks_per_node=10, seed=0).items
    book = fit(x, [128, 256], seed=0, max_cluster_size=256)
    done = encode(book, x)
    assert done.codes.shape == (12_101, 2)
    assert len(np.unique(done.codes, axis=0)) == 12_101
    assert np.bincount(done.codes[:, 0], minlength=128).max() <= 256
    assert done.error_before <= done.error_after <= 1.15 * done.error_before
    assert done.kept_share > 0.5
    print(f"kept {done.kept_share:.3f}, error {done.error_before:.4f} -> {done.error_after:.4f}")
