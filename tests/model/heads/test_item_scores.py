"""The item head's node of the graph against plain operations, in values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from metatoken._core import cluster, softmax
from metatoken.model.heads import softmax_blocks, softmax_native
from metatoken.model.heads.item_scores import ItemScores, Reordered
from metatoken.model.heads.items import Unit
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


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    p=st.integers(1, 140),
    n=st.integers(1, 300),
    d=st.integers(1, 70),
    biased=st.booleans(),
    even=st.booleans(),
)
def test_the_native_core_equals_blocks_of_torch(seed: int, p: int, n: int, d: int, biased: bool, even: bool) -> None:
    """Values and gradients, where all rows have the same gradient and where each has its own."""
    rng = torch.Generator().manual_seed(seed)
    states, vectors, bias = (torch.randn(*shape, generator=rng) for shape in ((p, d), (n, d), (n,)))
    targets = torch.randint(0, n, (p,), generator=rng)
    begin = (targets - torch.randint(0, n, (p,), generator=rng)).clamp_min(0)
    end = (targets + torch.randint(0, n, (p,), generator=rng)).clamp_max(n)  # some are empty
    found = []
    for dtype in (torch.float64, torch.float32):
        inputs = [
            x.detach().to(dtype).requires_grad_() for x in ((states, vectors, bias) if biased else (states, vectors))
        ]
        own, total, below = ItemScores.apply(inputs[0], inputs[1], targets, begin, end, *inputs[2:])
        below = torch.where(torch.isfinite(below), below, 0.0)
        loss = (2 * own - 1.5 * total).sum() if even else (own - total).square().sum() + below.square().sum()
        found.append([x.detach() for x in (own, total, below, *torch.autograd.grad(loss, inputs))])
    for oracle, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, oracle.float(), rtol=1e-4, atol=1e-4 * max(1.0, float(oracle.abs().max())))


def test_a_second_backward_pass_gives_the_same_gradients() -> None:
    states, vectors = torch.randn(20, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    none = torch.zeros(20, dtype=torch.int64)
    _, total, _ = ItemScores.apply(states, vectors, none, none, none)
    first, second = (torch.autograd.grad(3 * total.sum(), (states, vectors), retain_graph=True) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


def test_threads_change_no_byte_and_every_instruction_set_agrees() -> None:
    rng = np.random.default_rng(0)
    states, vectors = (rng.standard_normal(shape, dtype=np.float32) for shape in ((150, 24), (700, 24)))
    weights = np.ones(150, np.float32)
    found = [
        softmax.catalogue(states, vectors, None, weights, threads=threads, kernel=kernel)[:3]
        for kernel in cluster.kernels()
        for threads in (1, 3)
    ]
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))
    for other in found:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_no_gradient_is_computed_where_none_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    forward = softmax_native.forward
    monkeypatch.setattr(
        softmax_native, "forward", lambda *a, gradient: (wanted.append(gradient), forward(*a, gradient=gradient))[1]
    )
    states, none = torch.randn(4, 8, requires_grad=True), torch.zeros(4, dtype=torch.int64)
    ItemScores.apply(states, torch.randn(5, 8), none, none, none)
    with torch.no_grad():
        ItemScores.apply(states, torch.randn(5, 8), none, none, none, None, torch.is_grad_enabled())
    assert wanted == [True, False]


def test_rows_of_one_length_as_torch_makes_them() -> None:
    x, weight = torch.randn(9, 5, dtype=torch.float64, requires_grad=True), torch.randn(9, 5, dtype=torch.float64)
    ours, theirs = Unit.apply(x, 3.5), 3.5 * F.normalize(x, dim=1)
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(*(torch.autograd.grad((y * weight).sum(), x) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other)


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

    def by_heads(states, columns, item_head, vectors):
        scaled = F.normalize(vectors, dim=-1) / head.temperature
        return *plain(states, scaled, columns.targets, columns.begin, columns.end), None

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
