"""Rows of a table move as torch's own optimizers move them; all others keep every bit."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from metatoken.model.heads.rows import Rows, clippable, settled
from metatoken.model.row_adamw import MOMENTS, RowAdamW

N, D = 40, 8
STEPS = st.lists(st.sets(st.integers(0, N - 1), min_size=1, max_size=12), min_size=1, max_size=6)


def start(seed: int = 0) -> tuple[nn.Parameter, nn.Parameter]:
    """A table and a dense weight."""
    rng = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(N, D, generator=rng)), nn.Parameter(torch.randn(5, D, generator=rng))


def backward(table: Tensor, weight: Tensor, rows: Tensor, seed: int, part: Tensor | None = None) -> None:
    """Gradients of a step; that of the table is sparse unless its rows are given."""
    part = Rows.apply(table, rows) if part is None else part
    given_ = torch.randn(len(rows), 5, generator=torch.Generator().manual_seed(seed))
    ((part @ weight.T).sin() * given_).sum().backward()


def steps_of(found: list[set[int]]) -> list[Tensor]:
    return [torch.tensor(sorted(rows)) for rows in found]


@given(STEPS)
def test_a_gradient_names_its_rows_and_is_that_of_the_whole(found: list[set[int]]) -> None:
    rows = steps_of(found)[0]
    table, weight = start()
    backward(table, weight, rows, 0)
    other, same = start()
    backward(other, same, rows, 0, part=other[rows])
    assert table.grad is not None
    assert other.grad is not None
    assert table.grad.is_sparse
    gradient = settled(table.grad)
    assert torch.equal(gradient.indices()[0], rows)
    assert gradient.values().data_ptr() == table.grad._values().data_ptr()  # nothing was sorted or added up
    assert torch.equal(table.grad.to_dense(), other.grad)
    assert torch.equal(weight.grad, same.grad)  # type: ignore[arg-type]


@given(STEPS)
def test_a_step_is_that_of_sparse_adam_and_leaves_other_rows(found: list[set[int]]) -> None:
    table, weight = start()
    other, _ = start()
    ours, theirs = RowAdamW([table, weight], lr=0.01, fused=True), torch.optim.SparseAdam([other], lr=0.01)
    for group in ours.param_groups + theirs.param_groups:
        group.update({"eps": 1e-30, "weight_decay": 0.0})  # SparseAdam adds eps before its correction, and has no decay
    for seed, rows in enumerate(steps_of(found)):
        state = ours.state[table]
        before = [table.detach().clone(), *(state[name].clone() if state else torch.zeros(N, D) for name in MOMENTS)]
        ours.zero_grad()
        theirs.zero_grad()
        backward(table, weight, rows, seed)
        other.grad = table.grad
        ours.step()
        theirs.step()
        rest = torch.ones(N, dtype=torch.bool).index_fill(0, rows, value=False)
        after = [table.detach(), *(ours.state[table][name] for name in MOMENTS)]
        assert all(torch.equal(one[rest], was[rest]) for one, was in zip(after, before, strict=True))
        assert not torch.equal(table.detach()[rows], before[0][rows])
        torch.testing.assert_close(table, other, rtol=1e-5, atol=1e-6)
        for name in MOMENTS:
            torch.testing.assert_close(ours.state[table][name], theirs.state[other][name])


@pytest.mark.parametrize("fused", [True, False])
def test_what_is_touched_in_every_step_moves_as_in_adamw(fused: bool) -> None:
    rows = torch.arange(3, 19)
    table, weight = start()
    other, same = start()
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [table], "weight_decay": 0.0}]
    ours = RowAdamW(groups, lr=0.01, fused=fused)
    groups = [{"params": [same], "weight_decay": 0.1}, {"params": [other], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, fused=fused)
    for seed in range(5):
        ours.zero_grad()
        backward(table, weight, rows, seed)
        other.grad, same.grad = table.grad.to_dense(), weight.grad.clone()  # type: ignore[union-attr]
        ours.step()
        theirs.step()
        assert torch.equal(weight, same)
        torch.testing.assert_close(table, other, rtol=1e-6, atol=1e-7)
    assert [list(state) for state in ours.state.values()] == [list(state) for state in theirs.state.values()]


@pytest.mark.parametrize("kinds", [(RowAdamW, RowAdamW), (torch.optim.AdamW, RowAdamW)])
def test_a_saved_state_goes_on(kinds: tuple[Any, Any], tmp_path: Any) -> None:
    """Also that of a version, or of settings, that moved all rows."""
    table, weight = start()
    first = kinds[0]([table, weight], lr=0.01, fused=True)
    for seed in range(2):
        first.zero_grad()
        backward(table, weight, torch.tensor([1, 5, 7]), seed)
        table.grad = table.grad if kinds[0] is RowAdamW else table.grad.to_dense()  # type: ignore[union-attr]
        first.step()
    torch.save(first.state_dict(), tmp_path / "state")
    copies = [nn.Parameter(one.detach().clone()) for one in (table, weight)]
    second = kinds[1](copies, lr=0.5, fused=True)
    second.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    whole = copy.deepcopy(first) if kinds[0] is RowAdamW else None
    second.zero_grad()
    backward(copies[0], copies[1], torch.tensor([2, 5]), 9)
    second.step()
    assert float(second.state[copies[0]]["step"]) == 3
    assert second.param_groups[0]["lr"] == 0.01
    if whole is not None:
        first.zero_grad()
        backward(table, weight, torch.tensor([2, 5]), 9)
        first.step()
        assert torch.equal(table, copies[0])
        assert torch.equal(weight, copies[1])


@given(STEPS, st.sampled_from([0.01, 1.0, 1e6]))
def test_clipping_is_that_of_the_dense_gradient(found: list[set[int]], most: float) -> None:
    """Also of one that was added up from several batches, which name rows again."""
    table, weight = start()
    for seed, rows in enumerate(steps_of(found)):
        backward(table, weight, rows, seed)
    assert table.grad is not None
    other, same = start()
    other.grad, same.grad = table.grad.to_dense(), weight.grad.clone()  # type: ignore[union-attr]
    optimizer = RowAdamW([{"params": [weight]}, {"params": [table]}], lr=0.01, fused=True)
    given_ = [one for group in clippable(optimizer).param_groups for one in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(given_, most)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_([same, other], most))
    assert table.grad.is_sparse
    torch.testing.assert_close(table.grad.to_dense(), other.grad)
    torch.testing.assert_close(weight.grad, same.grad)
    torch.nn.utils.clip_grad_value_(given_, 1 / 256)
    assert float(table.grad.to_dense().abs().max()) <= 1 / 256
    optimizer.step()  # the clipped values are what moves
    moment = optimizer.state[table]["exp_avg"]
    torch.testing.assert_close(moment, 0.1 * table.grad.to_dense())


def test_dense_gradients_are_clipped_as_before() -> None:
    table, weight = start()
    table.grad = torch.ones_like(table)
    optimizer = torch.optim.AdamW([table, weight], lr=0.1)
    assert [one for group in clippable(optimizer).param_groups for one in group["params"]] == [table, weight]
    assert math.isclose(float(torch.nn.utils.clip_grad_norm_([table], 1.0)), math.sqrt(N * D), rel_tol=1e-6)
