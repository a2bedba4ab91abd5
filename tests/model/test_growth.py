"""Where the new rows of a model begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken import Interactions, MetaTokenModule, Vocabulary
from metatoken.data import IdMap
from metatoken.data.growth import nothing
from metatoken.model.growth import Growth, begin
from metatoken.model.store.saving import load_model, save_model
from metatoken.tokens.vectors.newcomers import came_late
from tests.conftest import SMALL
from tests.growing import cut, rows_of

WORLD = rows_of()


@pytest.fixture(scope="module")
def logs() -> list[Interactions]:
    """A log, and what it grows to."""
    found, *parts = cut(WORLD, 0.4, 0.7)
    grown = [found]
    for part in parts:
        grown.append(grown[-1].append(part))
    return grown


@pytest.fixture(scope="module")
def vocabularies(logs: list[Interactions]) -> list[Vocabulary]:
    """Of the log and its two extensions; the few codes of the first are taken, so that a token is appended."""
    found = [Vocabulary.fit(logs[0], levels=[4, 9], dim=6, walks_per_node=2, walk_length=8, threads=1)]
    for log in logs[1:]:
        found.append(found[-1].extend(log, threads=1))
    return found


def counts(log: Interactions) -> np.ndarray:
    return np.bincount(log.frame["item"].to_numpy(), minlength=log.n_items)


def growth(old: Interactions, new: Interactions) -> Growth:
    return Growth(new.n_users, new.n_items, counts(new), counts(old))


@torch.no_grad()
def taught(vocabulary: Vocabulary, log: Interactions, **fields: Any) -> MetaTokenModule:
    """A model whose item vectors, but for what features say, are linear in entity vectors and log counts, nearly."""
    module = MetaTokenModule(vocabulary, preset=SMALL, max_history=20, **fields)
    items, generator = module.network.items, torch.Generator().manual_seed(1)
    count = torch.log1p(torch.from_numpy(counts(log)).float())[:, None]
    dim = items.residual.shape[1]
    wanted = (
        items.entities @ torch.randn(6, dim, generator=generator) + 0.7 + count * torch.randn(dim, generator=generator)
    )
    noise = torch.randn(items.residual.shape, generator=generator) * 0.01
    items.residual += wanted + noise + items.of_features() - items()
    return module


@pytest.mark.parametrize(
    "fields", [{}, {"beta": 1.0}, {"features": True}, {"item_dim": 5}], ids=["plain", "beta", "features", "narrow"]
)
def test_new_items_begin_where_a_ridge_map_puts_them(
    vocabularies: list[Vocabulary], logs: list[Interactions], fields: dict[str, Any], tmp_path: Path
) -> None:
    (first, second, _), n = vocabularies, vocabularies[0].n_items
    features = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32) if fields.get("features") else None
    old = taught(first, logs[0], **({"features": features} if features is not None else fields))
    save_model(old, tmp_path / "model")
    new = load_model(tmp_path / "model", second, growth(logs[0], logs[1]))
    items, was = new.network.items, old.network.items
    assert second.n_items > n
    assert torch.equal(items.residual[:n], was.residual)
    with torch.no_grad():
        own, found = (was() - was.of_features()).numpy(), items()[n:].numpy()  # new items have no features

    def traits(vocabulary: Vocabulary, log: Interactions) -> np.ndarray:
        unit = F.normalize(torch.from_numpy(vocabulary.item_vectors), dim=1).numpy()
        return np.column_stack([unit, np.log1p(counts(log)), np.ones(len(unit))]).astype(float)

    # The noise is small, so the ridge is, and plain least squares come close.
    weight, *_ = np.linalg.lstsq(traits(first, logs[0]), own, rcond=None)
    np.testing.assert_allclose(found, (traits(second, logs[1]) @ weight)[n:], atol=0.05)


def test_two_extensions_give_what_one_gives(
    vocabularies: list[Vocabulary], logs: list[Interactions], tmp_path: Path
) -> None:
    first, second, third = vocabularies
    save_model(taught(first, logs[0]), tmp_path / "first")
    middle = load_model(tmp_path / "first", second, growth(logs[0], logs[1]))
    save_model(middle, tmp_path / "second")
    twice = load_model(tmp_path / "second", third, growth(logs[1], logs[2]))
    once = begin(middle.network.items, growth(logs[0], logs[1]), None)
    kept = twice.newcomers
    assert once is not None
    assert kept is not None
    assert all(np.array_equal(value, kept.tensors()[name]) for name, value in once.tensors().items())
    # A model that was trained since, which says so by forgetting the map, is asked anew.
    again = begin(twice.network.items, growth(logs[1], logs[2]), None)
    assert again is not None
    assert not np.array_equal(again.weight, kept.weight)


def test_a_token_begins_with_its_projected_centroid(
    vocabularies: list[Vocabulary], logs: list[Interactions], tmp_path: Path
) -> None:
    first, last = vocabularies[0], vocabularies[-1]
    n = first.n_tokens
    assert last.n_tokens > n, "no token was appended; this world says nothing"
    save_model(taught(first, logs[0]), tmp_path / "first")
    table = load_model(tmp_path / "first", last, growth(logs[0], logs[-1])).network.table
    assert not table.weight[n:].any()
    with torch.no_grad():
        assert torch.equal(table()[n:], table.projection(table.centroids)[n:])


def test_one_item_says_nothing_of_others(vocabularies: list[Vocabulary], logs: list[Interactions]) -> None:
    items = taught(vocabularies[0], logs[0]).network.items
    before = items.residual.clone()
    trained = np.zeros(vocabularies[0].n_items - 2, np.int64)
    trained[0] = 3
    assert begin(items, Growth(0, 0, counts(logs[0]), trained), None) is None
    assert torch.equal(items.residual, before)


def test_what_nobody_took_yet_counts_as_the_average_item(
    vocabularies: list[Vocabulary], logs: list[Interactions]
) -> None:
    items, n = taught(vocabularies[0], logs[0]).network.items, vocabularies[0].n_items
    trained, average = counts(logs[0])[: n - 4], np.expm1(np.log1p(counts(logs[0])[: n - 4]).mean())
    found = {}
    for count in (0, average, 50):
        begin(items, Growth(0, 0, np.concatenate([trained, np.full(4, count)]), trained), None)
        with torch.no_grad():
            found[count] = items()[n - 4 :]
    torch.testing.assert_close(found[0], found[average], atol=1e-4, rtol=0)
    assert (found[0] - found[50]).abs().max() > 0.1


def test_an_item_whose_rows_come_late_ends_where_it_would_have_begun(
    vocabularies: list[Vocabulary], logs: list[Interactions], tmp_path: Path
) -> None:
    first, (log, _, _) = vocabularies[0], logs
    empty = log.append(nothing())
    waiting = replace(empty, items=IdMap((*log.items.raw, "late"), "item"))
    new = Interactions.from_arrays(["p", "p"], [log.items.raw[0], "late"], times=[4 * 10**9, 4 * 10**9 + 1])
    whole = waiting.append(new)
    middle = first.extend(waiting, threads=1)
    save_model(taught(first, log), tmp_path / "first")
    save_model(load_model(tmp_path / "first", middle, growth(log, waiting)), tmp_path / "second")
    row = log.n_items
    known = middle.trained[middle.nodes("item")]
    late = came_late(middle.item_vectors, known, whole.sequences(), np.array([row]))
    np.testing.assert_allclose(late[1][0], middle.item_vectors[0], atol=1e-6)
    grown = middle.extend(whole, threads=1)
    change = replace(growth(waiting, whole), late=late)
    twice = load_model(tmp_path / "second", grown, change).network.items
    once = load_model(tmp_path / "first", first.extend(whole, threads=1), growth(log, whole)).network.items
    before = load_model(tmp_path / "second", middle).network.items
    with torch.no_grad():
        torch.testing.assert_close(twice()[row], once()[row], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(twice()[row], before()[row], atol=1e-2)
        assert torch.equal(twice()[:row], before()[:row])
    assert torch.equal(twice.tokens[row], before.tokens[row])
    assert torch.equal(twice.entities[row], before.entities[row])
