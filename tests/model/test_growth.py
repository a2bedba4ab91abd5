"""Where the new rows of a model begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from metatoken import MetaTokenModule, Vocabulary
from metatoken.model.growth import Growth, begin
from metatoken.tokens.vectors.cold import WALKED
from tests.conftest import SMALL
from tests.growing import cut, rows_of


@pytest.fixture(scope="module")
def vocabularies() -> list[Vocabulary]:
    """Of a log and of two extensions; the few codes of the first are taken, so that tokens are appended."""
    log, *parts = cut(rows_of(), 0.4, 0.7)
    found = [Vocabulary.fit(log, levels=[4, 9], dim=6, walks_per_node=2, walk_length=8, threads=1)]
    for part in parts:
        log = log.append(part)
        found.append(found[-1].extend(log, threads=1))
    return found


def grown(old: MetaTokenModule, vocabulary: Vocabulary) -> MetaTokenModule:
    """An old model over more items, as `load_model` does it."""
    new = MetaTokenModule(vocabulary, old.settings)
    own = dict(new.network.named_parameters())
    weights = Growth(vocabulary.n_users, vocabulary.n_items).weights(dict(old.network.named_parameters()), own)
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
    begin(new.network.items, vocabulary)
    return new


@torch.no_grad()
def taught(vocabulary: Vocabulary, **fields: Any) -> MetaTokenModule:
    """A model whose free rows are linear in the vectors of items and tokens, in part."""
    module = MetaTokenModule(vocabulary, preset=SMALL, max_history=20, **fields)
    items, generator = module.network.items, torch.Generator().manual_seed(1)
    for rows, x in ((items.residual, items.entities), (module.network.table.weight, module.network.table.centroids)):
        noise = torch.randn(rows.shape, generator=generator) * 0.02
        rows.copy_(x @ torch.randn(x.shape[1], rows.shape[1], generator=generator) + 0.7 + noise)
    return module


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_free_rows_begin_where_a_ridge_map_puts_them(vocabularies: list[Vocabulary], beta: float) -> None:
    first, second, _ = vocabularies
    old = taught(first, beta=beta)
    new = grown(old, second)
    n, items = first.n_items, new.network.items
    assert second.n_items > n
    assert torch.equal(items.residual[:n], old.network.items.residual)
    walked = first.origins[first.nodes("item")] == WALKED
    x, y = items.entities[:n].numpy()[walked].astype(float), items.residual[:n].detach().numpy()[walked].astype(float)
    centred = x - x.mean(0)
    # By normal equations; the noise is small, so the ridge is, and plain least squares come close.
    weight = np.linalg.solve(centred.T @ centred, centred.T @ (y - y.mean(0)))
    expected = (items.entities[n:].numpy() - x.mean(0)) @ weight + y.mean(0)
    np.testing.assert_allclose(items.residual[n:].detach().numpy(), expected, atol=0.05)


def test_a_token_begins_by_its_centroid(vocabularies: list[Vocabulary]) -> None:
    first = vocabularies[0]
    n = first.n_tokens
    second = next((one for one in vocabularies[1:] if one.n_tokens > n), None)
    assert second is not None, "no token was appended; this world says nothing"
    second = replace(second, earlier=(first_size(first),))
    old = taught(first)
    table = grown(old, second).network.table
    assert torch.equal(table.weight[:n], old.network.table.weight)
    assert table.weight[n:].abs().sum(1).min() > 0


def test_it_depends_on_what_was_learned_alone(vocabularies: list[Vocabulary]) -> None:
    first, second, third = vocabularies
    old = taught(first)
    once = grown(old, replace(third, earlier=(first_size(first),)))
    twice = grown(grown(old, second), third)
    assert torch.equal(once.network.items.residual, twice.network.items.residual)
    assert torch.equal(once.network.table.weight, twice.network.table.weight)


def first_size(vocabulary: Vocabulary) -> tuple[int, int, int]:
    return vocabulary.n_users, vocabulary.n_items, vocabulary.n_tokens
