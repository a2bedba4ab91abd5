"""The item head's node of the graph against plain operations, in values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from metatoken.model.heads import softmax_blocks
from metatoken.model.heads.item_scores import ItemScores, Reordered
from metatoken.model.objective import loss_parts
from tests.model.test_network import _pairs, _training_batch


def plain(
    states: torch.Tensor, vectors: torch.Tensor, targets: torch.Tensor, begin: torch.Tensor, end: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    logits = states @ vectors.T
    columns = torch.arange(len(vectors))
    below = [
        torch.logsumexp(row[(columns >= b) & (columns < e)], 0) for row, b, e in zip(logits, begin, end, strict=True)
    ]
    return logits[torch.arange(len(targets)), targets], torch.logsumexp(logits, 1), torch.stack(below)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    p=st.integers(1, 9),
    n=st.integers(1, 12),
    weights=st.tuples(*[st.floats(-2, 2)] * 3),
    block=st.sampled_from([1, 30, 1 << 20]),
)
def test_equals_plain_operations(seed: int, p: int, n: int, weights: tuple[float, float, float], block: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    states = torch.randn(p, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(n, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, n, (p,), generator=rng)
    begin = (targets - torch.randint(0, n, (p,), generator=rng)).clamp_min(0)
    end = (targets + 1 + torch.randint(0, n, (p,), generator=rng)).clamp_max(n)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax_blocks, "BLOCK", block)  # rows in one block, in several, and one a block
        for one in (ItemScores.apply, plain):
            values = one(states, vectors, targets, begin, end)
            loss = sum(w * (v * v).sum() for w, v in zip(weights, values, strict=True))
            found.append((*values, *torch.autograd.grad(loss, (states, vectors))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_an_empty_slice_has_no_probability_and_no_gradient() -> None:
    states, vectors = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    begin = torch.tensor([1, 0])
    _, _, below = ItemScores.apply(states, vectors, torch.tensor([0, 1]), begin, torch.tensor([1, 4]))
    assert below[0] == -torch.inf
    below[1].backward()
    assert torch.equal(states.grad[0], torch.zeros(3))
    assert torch.isfinite(vectors.grad).all()


def test_another_order_and_back() -> None:
    order = torch.randperm(6)
    inverse, weight = torch.argsort(order), torch.randn(6, 2)
    one, two = torch.randn(6, 2, requires_grad=True), torch.randn(6, 2)
    two = one.detach().clone().requires_grad_()
    assert torch.equal(Reordered.apply(one, order, inverse), two[order])
    (Reordered.apply(one, order, inverse) * weight).sum().backward()
    (two[order] * weight).sum().backward()
    assert torch.equal(one.grad, two.grad)


@pytest.mark.parametrize("depth", [2, 3])
def test_the_loss_is_that_of_the_heads(
    make_module: Any, vocabularies: Any, split: Any, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole objective and its gradients against the plain operations of the two heads."""
    module = make_module(vocabularies[depth])
    head = module.network.item_head

    def by_heads(states, leaf, node, item_head, generation, vectors):
        begin, end = generation.index.leaf_begin[node.long()], generation.index.leaf_end[node.long()]
        return plain(states, F.normalize(vectors, dim=-1) / head.temperature, leaf, begin, end)

    batch = _training_batch(module, _pairs(split))
    losses = []
    for plain_heads in (False, True):
        if plain_heads:
            monkeypatch.setattr("metatoken.model.objective._item_scores", by_heads)
        module.zero_grad()
        loss = loss_parts(module.network(batch), module.settings.weights)["loss"]
        loss.backward()
        losses.append((loss.detach(), {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(losses[0][0], losses[1][0])
    assert losses[0][1].keys() == losses[1][1].keys()
    for name, gradient in losses[0][1].items():
        torch.testing.assert_close(gradient, losses[1][1][name], rtol=1e-4, atol=1e-6, msg=name)
