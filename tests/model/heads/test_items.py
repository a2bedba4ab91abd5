"""Vectors of items: the sum of their parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 0.25), (0.0, 0.0)])
def test_a_vector_is_the_sum_of_its_parts(make_module: Any, vocabulary: Any, alpha: float, beta: float) -> None:
    network = make_module(alpha=alpha, beta=beta).network
    table, items = network.table, network.items
    with torch.no_grad():
        found = items()
        for row, tokens in enumerate(vocabulary.item_tokens.tolist()):
            own = F.normalize(torch.from_numpy(vocabulary.item_vectors[row]), dim=0)
            expected = items.residual[row] + beta * items.projection(own)
            for token in tokens:
                expected = expected + table.weight[token] + alpha * table.projection(table.centroids[token])
            torch.testing.assert_close(found[row], expected)


def test_without_weight_nothing_is_known_of_the_skip_gram(make_module: Any) -> None:
    items = make_module(beta=0.0).network.items
    items().square().sum().backward()
    assert items.projection.weight.grad.abs().max() == 0
    assert items.residual.grad.abs().max() > 0
