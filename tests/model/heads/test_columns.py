"""Samples of the catalogue: they stand for all of it in expectation, and have what a step needs exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metatoken.model.heads.columns import all_columns, sampled_columns
from metatoken.model.heads.item_scores import ItemScores
from metatoken.model.heads.trie_index import TrieIndex
from metatoken.model.objective import FEW, loss_parts
from metatoken.model.settings import MANY, ModelSettings
from metatoken.tokens.trie import Trie
from tests.model.test_network import _pairs, _training_batch

N, D = 3000, 8


@pytest.fixture(scope="module")
def index() -> TrieIndex:
    """300 nodes of ten items each."""
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(N), (20, 15, 10)), 1)
    return TrieIndex(Trie.from_codes(codes.astype(np.int32)))


def test_the_sum_is_unbiased_and_the_slices_are_exact(index: TrieIndex) -> None:
    rng = torch.Generator().manual_seed(1)
    states, vectors = torch.randn(12, D, generator=rng), torch.randn(N, D, generator=rng)
    targets = torch.randint(N, (12,), generator=rng)
    whole = all_columns(index, targets)
    own, total, below = ItemScores.apply(states, vectors, whole.targets, whole.begin, whole.end)
    torch.manual_seed(0)
    ratios = []
    for _ in range(400):
        part = sampled_columns(index, targets, 300)
        assert part.leaves is not None
        assert len(part.leaves) < N / 4
        found = ItemScores.apply(states, vectors[part.leaves], part.targets, part.begin, part.end, part.bias)
        torch.testing.assert_close(found[0], own)
        torch.testing.assert_close(found[2], below)
        ratios.append((found[1] - total).exp())
    drawn = torch.stack(ratios)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert (error < 0.1).all()
    assert ((drawn.mean(0) - 1).abs() < 4 * error + 1e-6).all()


def test_gradients_are_those_of_the_whole_sum_in_expectation(index: TrieIndex) -> None:
    """Of the sum itself, since its logarithm is biased by the variance of the sample."""
    rng = torch.Generator().manual_seed(2)
    states = torch.randn(5, D, generator=rng, requires_grad=True)
    vectors, targets = torch.randn(N, D, generator=rng), torch.randint(N, (5,), generator=rng)
    (expected,) = torch.autograd.grad((states @ vectors.T).exp().sum(), states)
    torch.manual_seed(0)
    found = []
    for _ in range(400):
        part = sampled_columns(index, targets, 300)
        _, total, _ = ItemScores.apply(states, vectors[part.leaves], part.targets, part.begin, part.end, part.bias)
        found.append(torch.autograd.grad(total.exp().sum(), states)[0])
    drawn = torch.stack(found)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - expected).abs() < 5 * error).all()


def test_without_surroundings_targets_and_draws_are_all(index: TrieIndex) -> None:
    rng = torch.Generator().manual_seed(1)
    states, vectors = torch.randn(40, D, generator=rng), torch.randn(N, D, generator=rng)
    targets, labels = torch.randint(N, (2, 40), generator=rng)
    whole = all_columns(index, targets)
    own, total, _ = ItemScores.apply(states, vectors, whole.targets, whole.begin, whole.end)
    torch.manual_seed(0)
    ratios = []
    for _ in range(400):
        part = sampled_columns(index, targets, 300, labels, around=False)
        assert part.leaves is not None
        assert len(part.leaves) <= 300 + 80
        assert not part.around
        assert torch.equal(part.begin, part.end)
        assert torch.equal(index.leaf_items[part.leaves[part.labels]].long(), labels)
        found = ItemScores.apply(states, vectors[part.leaves], part.targets, part.begin, part.end, part.bias)
        torch.testing.assert_close(found[0], own)
        ratios.append((found[1] - total).exp())
    drawn = torch.stack(ratios)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - 1).abs() < 4.5 * error + 1e-6).all()


@pytest.mark.parametrize("depth", [2, 3])
def test_tokens_that_follow_are_told_as_of_all_items(
    make_module: Any, vocabularies: Any, split: Any, depth: int
) -> None:
    """Of at most `FEW` targets the figure of the last token is exact, though the items around them are not drawn."""
    size = {"dim": 16, "dropout": 0.0}
    full = make_module(vocabularies[depth], item_softmax="full", preset=size)
    part = make_module(vocabularies[depth], item_softmax="sampled", softmax_samples=2, preset=size)
    part.load_state_dict(full.state_dict(), strict=False)
    batch = _training_batch(full, _pairs(split)[:5])
    assert len(batch.targets) == 5 <= FEW
    found = []
    for module in (full, part):
        torch.manual_seed(0)
        found.append(loss_parts(module.train().network(batch, follow=True), module.settings.weights))
    torch.testing.assert_close(found[0]["generation"], found[1]["generation"])
    found[1]["loss"].backward()
    touched = int((part.network.items.residual.grad.abs().sum(1) > 0).sum())
    assert touched <= 2 + len(set(batch.targets.tolist())) + len(set(batch.items[batch.items >= 0].tolist()))


def test_a_sample_that_would_hold_most_items_is_all_of_them(index: TrieIndex) -> None:
    targets = torch.arange(0, N, 7)
    assert sampled_columns(index, targets, 100).leaves is None
    few = sampled_columns(index, targets[:5], 100)
    assert few.leaves is not None
    assert len(few.leaves) == len(few.leaves.unique())


@pytest.mark.parametrize("depth", [2, 3])
def test_a_step_on_a_sample_is_near_one_on_all(make_module: Any, vocabularies: Any, split: Any, depth: int) -> None:
    full = make_module(vocabularies[depth], item_softmax="full", preset={"dim": 16, "dropout": 0.0})
    part = make_module(
        vocabularies[depth], item_softmax="sampled", softmax_samples=4, preset={"dim": 16, "dropout": 0.0}
    )
    part.load_state_dict(full.state_dict(), strict=False)
    batch = _training_batch(full, _pairs(split)[:1])
    torch.manual_seed(0)
    losses = []
    for module in (full, part):
        scores = module.train().network(batch)
        losses.append(loss_parts(scores, module.settings.weights))
    assert part.network.samples == 4
    for name in ("generation", "shared"):  # these are exact whatever is drawn
        torch.testing.assert_close(losses[0][name], losses[1][name])
    assert not torch.equal(losses[0]["item"], losses[1]["item"])
    torch.testing.assert_close(losses[0]["item"], losses[1]["item"], rtol=0.5, atol=0.5)
    losses[1]["loss"].backward()
    touched = part.network.items.residual.grad.abs().sum(1) > 0
    assert 0 < int(touched.sum()) < len(touched)


def test_large_catalogues_are_sampled_by_default() -> None:
    assert ModelSettings().samples_of(MANY - 1) == 0
    assert ModelSettings().samples_of(MANY) == ModelSettings().softmax_samples
    assert ModelSettings(item_softmax="full").samples_of(MANY) == 0
    assert ModelSettings(item_softmax="sampled").samples_of(10) == 8192
