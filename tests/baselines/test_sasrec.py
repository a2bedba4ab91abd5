"""SASRec: what its states know, what its loss is, and what its training keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from metatoken.baselines import SASRec, histories
from metatoken.baselines.histories import NOTHING, Steps, last_items
from metatoken.baselines.network import SASRecNetwork
from metatoken.baselines.sasrec import summed_loss
from metatoken.baselines.settings import SASRecSettings
from metatoken.config import SettingError
from metatoken.data import Sequences, generate_world, leave_last_out, no_split
from metatoken.errors import ArgumentError, DivergedError
from tests.oracles import baselines as oracle

SMALL = SASRecSettings(dim=16, heads=2, dropout=0.2, batch_size=32, max_history=8, epochs=4, validate_every=1)
N_ITEMS = 11

lists = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=9), min_size=1, max_size=12)


@pytest.fixture
def network() -> SASRecNetwork:
    """Of weights so large that every part counts."""
    torch.manual_seed(0)
    network = SASRecNetwork(SMALL, N_ITEMS).eval()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    return network


@given(sequences=lists, most=st.integers(1, 9))
def test_last_items(sequences: list[list[int]], most: int) -> None:
    users = np.arange(len(sequences))[::-1]
    table = last_items(Sequences.of(sequences), users, most)
    assert table.shape[1] == max(1, *(min(len(one), most) for one in sequences))
    for row, user in zip(table, users, strict=True):
        known = sequences[user][-most:]
        assert row.tolist() == known + [NOTHING] * (len(row) - len(known))


@given(sequences=lists, batch_size=st.integers(1, 5), most=st.integers(1, 6), epoch=st.integers(0, 3))
def test_an_epoch_has_every_target_once(sequences: list[list[int]], batch_size: int, most: int, epoch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories, "POOL", 2)
        steps = Steps(Sequences.of(sequences), batch_size=batch_size, max_history=most, seed=3)
        batches = list(steps.epoch(epoch))
    assert len(batches) == steps.count
    assert all(0 < len(items) <= batch_size for items, _ in batches)
    found = [
        (read[: int((next_ != NOTHING).sum())].tolist(), next_[next_ != NOTHING].tolist())
        for items, targets in batches
        for read, next_ in zip(items, targets, strict=True)
    ]
    cut = [one[-most - 1 :] for one in sequences if len(one) > 1]
    assert sorted(found) == sorted((one[:-1], one[1:]) for one in cut)
    assert steps.targets * steps.count == pytest.approx(sum(len(one) - 1 for one in cut))


def test_epochs_differ_and_a_seed_repeats_them(split: Any) -> None:
    def rows(seed: int, epoch: int) -> list[list[int]]:
        steps = Steps(split.train.sequences(), batch_size=32, max_history=8, seed=seed)
        return [items.flatten().tolist() for items, _ in steps.epoch(epoch)]

    assert rows(0, 0) == rows(0, 0)
    assert rows(0, 0) != rows(0, 1)
    assert rows(0, 0) != rows(1, 0)


def test_the_loss_is_the_cross_entropy_of_each_place_by_itself(network: SASRecNetwork) -> None:
    sequences = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3], [10, 0, 7, 7, 7, 2]]
    table = torch.from_numpy(last_items(Sequences.of(sequences), np.arange(4), 9))
    loss = summed_loss(network, table[:, :-1], table[:, 1:])
    expected = torch.zeros(())
    for one in sequences:
        read = torch.tensor([one[:-1]])
        states = network(read, torch.tensor([read.shape[1]]))[0]
        for state, target in zip(states, one[1:], strict=True):
            logits = torch.stack([state @ item for item in network.items.weight])
            expected = expected + functional.cross_entropy(logits, torch.tensor(target))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    ours, theirs = (torch.autograd.grad(x, list(network.parameters())) for x in (loss, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_state_knows_what_stands_up_to_it_and_nothing_behind(network: SASRecNetwork) -> None:
    items, lengths = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([5])
    before = network(items, lengths)
    for place in range(5):
        changed = items.clone()
        changed[0, place] = 8
        after = network(changed, lengths)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.isclose(after[:, place:], before[:, place:]).all(-1).any()


def test_what_stands_behind_the_end_changes_nothing(network: SASRecNetwork) -> None:
    lengths = torch.tensor([2, 4])
    one = network(torch.tensor([[3, 1, 0, 0], [4, 1, 5, 9]]), lengths)
    other = network(torch.tensor([[3, 1, 7, 2], [4, 1, 5, 9]]), lengths)
    assert torch.equal(one[0, :2], other[0, :2])
    torch.testing.assert_close(network(torch.tensor([[3, 1]]), torch.tensor([2]))[0], one[0, :2])


@pytest.fixture(scope="module")
def fitted(split: Any) -> SASRec:
    return SASRec.fit(split, SMALL, seed=5)


def test_a_seed_is_a_model_and_leaves_the_generator_alone(split: Any, fitted: SASRec) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    again = SASRec.fit(split, SMALL, seed=5)
    assert torch.equal(torch.rand(3), expected)
    other = SASRec.fit(split, SMALL, seed=6)
    for name, weights in fitted.arrays().items():
        np.testing.assert_array_equal(weights, again.arrays()[name])
    assert not np.array_equal(fitted.arrays()["items.weight"], other.arrays()["items.weight"])


def test_it_learns_and_its_figure_is_that_of_the_validation_items(split: Any, fitted: SASRec) -> None:
    targets, history = split.validation, split.history("validation")
    scores = fitted.scores(history, targets.users)
    known = list(history.take(targets.users))
    expected = oracle.ndcg(scores, targets.items.tolist(), known)
    assert fitted.origin.ndcg == pytest.approx(expected, abs=1e-3)
    untrained = np.tile(fitted.popularity, (len(targets), 1))
    assert fitted.origin.ndcg > 1.2 * oracle.ndcg(untrained, targets.items.tolist(), known)


def test_the_best_epoch_is_kept_and_patience_ends_the_training(split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([0.1, 0.3, 0.2, 0.25, 0.9])
    monkeypatch.setattr("metatoken.baselines.sasrec.Judge.ndcg", lambda _self, _ranker: next(figures))
    said: list[str] = []
    stopped = SASRec.fit(split, SASRecSettings.of(SMALL, {"epochs": 50, "patience": 2}), seed=5, say=said.append)
    assert [line.partition(",")[0] for line in said] == [f"sasrec: epoch {n}" for n in (1, 2, 3, 4)]
    assert ["best" in line for line in said] == [True, True, False, False]
    assert (stopped.settings.epochs, stopped.origin.ndcg) == (2, 0.3)
    figures = iter([0.1])
    short = SASRec.fit(split, SASRecSettings.of(SMALL, {"epochs": 2, "validate_every": 2}), seed=5)
    np.testing.assert_array_equal(short.arrays()["items.weight"], stopped.arrays()["items.weight"])


def test_what_is_left_open_is_filled_in_by_the_size_of_the_log(split: Any) -> None:
    found = [SASRecSettings().resolved(n, 22_363) for n in (60_000, 60_001)]
    assert [(one.dropout, one.batch_size) for one in found] == [(0.2, 64), (0.6, 512)]
    # A pass over few users with long histories, as those of MovieLens, has 40 steps or steps of 16 users.
    assert [SASRecSettings().resolved(99_006, n).batch_size for n in (610, 4000, 30_000)] == [16, 100, 512]
    assert SASRecSettings(dropout=0.0, batch_size=9).resolved(1, 1) == SASRecSettings(dropout=0.0, batch_size=9)
    assert SASRec.fit(split, SASRecSettings(dim=8, epochs=1)).settings.dropout == 0.2


def test_a_user_without_a_history_gets_popularity(fitted: SASRec) -> None:
    scores = fitted.scores(Sequences.of([[], [1, 2]]), np.array([0, 1]))
    np.testing.assert_array_equal(scores[0], fitted.popularity)
    assert not np.allclose(scores[1], fitted.popularity)


def test_what_cannot_be_is_refused(split: Any, fitted: SASRec) -> None:
    with pytest.raises(ArgumentError, match="expected item rows from 0 to 99, got 100"):
        fitted.scores(Sequences.of([[100]]), np.array([0]))
    with pytest.raises(ArgumentError, match="holds nothing out"):
        SASRec.fit(no_split(split.log), SMALL)
    with pytest.raises(SettingError, match=r"sasrec\.heads: expected a divisor of dim, 64; got 3"):
        SASRecSettings(heads=3)


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_that_diverges_is_an_error(epochs: int) -> None:
    log = generate_world(n_users=50, n_items=36, n_groups=3).interactions()
    wild = replace(SMALL, learning_rate=1e20, epochs=epochs)
    with pytest.raises(DivergedError, match=r"diverged.*smaller (sasrec\.)?learning.rate"):
        SASRec.fit(leave_last_out(log), wild)
