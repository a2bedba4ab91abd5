"""Training that moves only the items of its steps: when it does, what it leaves alone, and that it can go on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch

from metatoken.config import SettingError
from metatoken.model.row_adamw import RowAdamW
from metatoken.model.settings import MANY, ModelSettings
from tests.model.store.test_checkpoints import StopAt, StopError, fit, same
from tests.model.test_network import _pairs, _training_batch

STILL = {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.0, "positions": 160}
SAMPLED: dict[str, Any] = {"item_softmax": "sampled", "softmax_samples": 4, "tasks": ["sequential"]}
ROWS = SAMPLED | {"item_updates": "rows"}


class Large(NamedTuple):
    """A world with many more items than a small step has."""

    split: Any
    vocabulary: Any


@pytest.fixture(scope="module")
def large() -> Large:
    from metatoken import Vocabulary
    from metatoken.data import generate_world, leave_last_out

    split = leave_last_out(generate_world(n_users=80, n_items=500, seed=0).interactions())
    options = {"dim": 16, "walks_per_node": 2, "walk_length": 10, "seed": 0}
    return Large(split, Vocabulary.fit(split.train, levels=[16, 64], **options))


@pytest.fixture
def make_large(large: Large, make_module: Any) -> Callable[..., Any]:
    return lambda **fields: make_module(large.vocabulary, **fields)


class Watch(L.Callback):
    """Looks on at every step: gradients as they were clipped, and which rows of the table and its moments moved."""

    def __init__(self) -> None:
        self.sparse: list[bool] = []
        self.norms: list[float] = []
        self.kinds: set[type] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        optimizer: Any = trainer.optimizers[0]
        self.kinds.add(type(optimizer))
        optimizer.register_step_post_hook(lambda *_: self._look(pl_module, optimizer))
        self.before = self._tables(pl_module, optimizer)

    def _tables(self, module: Any, optimizer: Any) -> list[torch.Tensor]:
        table = module.network.items.residual
        state = optimizer.state.get(table) or {name: torch.zeros_like(table) for name in ("exp_avg", "exp_avg_sq")}
        return [table.detach().clone(), state["exp_avg"].clone(), state["exp_avg_sq"].clone()]

    def _look(self, module: Any, optimizer: Any) -> None:
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        self.norms.append(sum(float(g.to_dense().square().sum()) for g in gradients) ** 0.5)
        gradient, after = module.network.items.residual.grad, self._tables(module, optimizer)
        self.sparse.append(gradient.is_sparse)
        if gradient.is_sparse:
            rows = gradient.coalesce().indices()[0]
            rest = torch.ones(len(gradient), dtype=torch.bool).index_fill(0, rows, value=False)
            assert rest.any()
            assert all(torch.equal(one[rest], was[rest]) for one, was in zip(after, self.before, strict=True))
            assert not torch.equal(after[0], self.before[0])
        self.before = after


@pytest.mark.parametrize("accumulate", [1, 2])
def test_rows_that_no_step_has_stay_as_they_are(make_large: Any, large: Large, accumulate: int) -> None:
    watch, module = Watch(), make_large(preset=STILL, **ROWS).train()
    options = {"gradient_clip_val": 0.05, "limit_val_batches": 0, "max_epochs": 1}
    options |= {"batch_size": 4 * accumulate, "accumulate_grad_batches": accumulate}
    trainer = fit(module, large.split, watch, **options)
    assert watch.kinds == {RowAdamW}
    assert trainer.global_step == len(watch.sparse) > 3
    assert all(watch.sparse)
    assert max(watch.norms) <= 0.05 * (1 + 1e-4)
    assert max(watch.norms) > 0.049  # or nothing would have been clipped


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}], ids=str)
def test_a_resumed_fit_ends_like_an_uninterrupted_one(
    make_large: Any, large: Large, tmp_path: Path, options: dict[str, Any]
) -> None:
    options = {"batch_size": 8, "limit_train_batches": 12} | options
    whole, seen = make_large(**ROWS).train(), Watch()
    fit(whole, large.split, seen, **options)
    assert all(seen.sparse)
    part = make_large(**ROWS).train()
    with pytest.raises(StopError):
        fit(part, large.split, StopAt(tmp_path / "a.ckpt", 9, 11), **options)
    resumed = make_large(**ROWS).train()
    torch.nn.init.normal_(resumed.network.items.residual.data)
    fit(resumed, large.split, resume=tmp_path / "a.ckpt", **options)
    assert same(resumed, whole)


def test_a_training_of_all_rows_goes_on_by_rows(make_large: Any, large: Large, tmp_path: Path) -> None:
    """As a run of an older version does, whose checkpoint has the state of torch's own optimizer."""
    options = {"batch_size": 8, "limit_train_batches": 12}
    part, watch = make_large(**ROWS | {"item_updates": "all"}).train(), Watch()
    with pytest.raises(StopError):
        fit(part, large.split, watch, StopAt(tmp_path / "a.ckpt", 3, 5), **options)
    assert watch.kinds == {torch.optim.AdamW}
    assert not any(watch.sparse)
    resumed, seen = make_large(**ROWS).train(), Watch()
    fit(resumed, large.split, seen, resume=tmp_path / "a.ckpt", **options)
    assert seen.kinds == {RowAdamW}
    assert all(seen.sparse)


def test_the_first_step_is_that_of_all_rows(make_large: Any, large: Large) -> None:
    """Later ones differ: moments of rows that no step has go on moving them in AdamW."""
    options = {"limit_train_batches": 1, "limit_val_batches": 0, "max_epochs": 1, "batch_size": 4}
    modules = [make_large(preset=STILL, **ROWS | {"item_updates": kind}).train() for kind in ("all", "rows")]
    for module in modules:
        fit(module, large.split, **options)
    for one, other in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("updates", [None, "rows"])
def test_a_full_softmax_is_trained_as_ever(make_large: Any, large: Large, updates: str | None) -> None:
    watch, module = Watch(), make_large(item_updates=updates, tasks=["sequential"]).train()
    fit(module, large.split, watch, limit_train_batches=2, limit_val_batches=0, max_epochs=1)
    assert watch.kinds == {torch.optim.AdamW}
    assert watch.sparse == [False, False]


def test_a_step_without_targets_has_the_items_that_it_reads(make_large: Any, large: Large) -> None:
    network = make_large(preset=STILL, **ROWS).network.train()
    some = _training_batch(make_large(**ROWS), _pairs(large.split)[:2])
    none = replace(some, targets=some.targets[:0], state_row=some.targets[:0], state_position=some.targets[:0])
    _, rows = network._columns(none, around=True)
    assert rows is not None
    assert rows.tolist() == sorted({*none.items[none.items >= 0].tolist(), *none.taken.tolist()})
    states, _ = network._states(none, network.items(rows), text=False, rows=rows)
    torch.testing.assert_close(states, network._states(none, network.items(), text=False)[0])
    unread = replace(none, items=torch.full_like(none.items, -1))
    _, rows = network._columns(unread, around=True)
    assert rows is not None
    assert len(rows) == 1
    network._states(unread, network.items(rows), text=False, rows=rows)


def test_sizes_and_settings_decide() -> None:
    assert ModelSettings().updates_rows(MANY)
    assert not ModelSettings().updates_rows(MANY - 1)
    assert not ModelSettings(item_updates="all").updates_rows(MANY)
    assert not ModelSettings(item_softmax="full").updates_rows(MANY)
    assert not ModelSettings(item_softmax="sampled").updates_rows(MANY - 1)
    assert ModelSettings(item_softmax="sampled", item_updates="rows").updates_rows(10)
    with pytest.raises(SettingError, match=r"item_updates.*: sampled"):
        ModelSettings(item_softmax="full", item_updates="rows")


TWO = """
from metatoken.cli.starting import leave, starting
with starting():
    import lightning as L
    import torch
    from metatoken import MetaTokenModule, TaskDataModule, Vocabulary
    from metatoken.data import generate_world, leave_last_out

split = leave_last_out(generate_world(n_users=80, n_items=500, seed=0).interactions())
vocabulary = Vocabulary.fit(
    split.train, levels=[16, 64], dim=16, walks_per_node=2, walk_length=10, seed=0
)
preset = {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.0, "positions": 160}

class Alike(L.Callback):
    def setup(self, trainer, module, stage):
        if trainer.global_rank == 1:  # the first process says what all begin with
            module.network.items.residual.data.zero_()
    def on_train_end(self, trainer, module):
        for name, value in module.named_parameters():
            both = trainer.strategy.all_gather(value.detach())
            assert torch.equal(both[0], both[1]), name

class Own(MetaTokenModule):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

def train(updates, steps, kind=MetaTokenModule):
    module = kind(
        vocabulary, preset=preset, max_history=20, tasks=["sequential"], item_softmax="sampled", softmax_samples=4,
        item_updates=updates,
    )
    before = module.network.items.residual.detach().clone()
    data = TaskDataModule(split, vocabulary, tasks=module.tasks, batch_size=8)
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", devices=2, strategy="ddp_fork", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, gradient_clip_val=0.05,
        callbacks=[Alike()],
    )
    trainer.fit(module, data)
    after = module.network.items.residual.detach()
    return module, (after != before).any(1).sum().item()

every, moved = train("all", 1)
rows, moved_rows = train("rows", 1)
assert 0 < moved == moved_rows < 400, (moved, moved_rows)
for (name, one), other in zip(every.named_parameters(), rows.parameters()):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=name)
assert moved_rows < train("rows", 6)[1]
train("rows", 2, Own)  # of dense gradients
print("alike")
leave(0)
"""


def test_two_processes_exchange_rows(tmp_path: Path) -> None:
    """Each has rows of its own in a step; a step moves what one of whole tables moves, and all weights stay alike."""
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, tmp_path / "two.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("alike\n")
