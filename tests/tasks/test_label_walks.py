"""Labels drawn by walks: their distribution, which of them count, and what a loss makes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken import TaskDataModule
from metatoken.data import Sequences
from metatoken.data.ragged import offsets_of
from metatoken.data.transitions import BACKWARD, DAMPING, GAPS, SECOND_HOP
from metatoken.errors import ArgumentError
from metatoken.model.heads.columns import all_columns, sampled_columns
from metatoken.model.heads.trie_index import TrieIndex
from metatoken.tasks.label_walks import LabelWalks
from metatoken.tokens.trie import Trie
from tests.oracles import evaluate as oracle

N_ITEMS, DRAWS = 7, 4000
GRAPH = {
    "gaps": GAPS, "backward": BACKWARD, "damping": DAMPING, "recency": (1.0,), "second_hop": SECOND_HOP,
    "smoothing": 0.0,
}  # fmt: skip


def histories_of(lists: list[list[int]]) -> Sequences:
    offsets = offsets_of(np.array([len(one) for one in lists], dtype=np.int64))
    return Sequences(offsets, np.array([item for one in lists for item in one], dtype=np.int32))


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=6), min_size=1, max_size=5), st.data())
def test_labels_have_the_distribution_of_the_transition_graph(lists: list[list[int]], data: Any) -> None:
    user = data.draw(st.integers(0, len(lists) - 1))
    at = data.draw(st.integers(0, len(lists[user]) - 1))
    histories, before = histories_of(lists), lists[user][:at]
    place = int(histories.offsets[user]) + at
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    drawn = LabelWalks(histories, N_ITEMS).draw(np.full(DRAWS, place), rng)
    found = np.bincount(drawn + 1, minlength=N_ITEMS + 1) / DRAWS
    expected = np.zeros(N_ITEMS + 1)
    if before and any(len(one) > 1 and set(one) & set(before[-1:]) for one in lists):
        expected[1:] = oracle.transition_graph(lists, N_ITEMS, [before], **GRAPH)[0]
        expected[1 + np.unique(before)] = 0  # not recommended, so no label
    expected[0] = 1 - expected[1:].sum()
    error = np.sqrt(expected * (1 - expected) / DRAWS)
    assert (np.abs(found - expected) <= 5 * error + 1e-6).all()


def test_no_history_or_no_known_step_gives_no_label() -> None:
    walks = LabelWalks(histories_of([[3], [4, 5]]), N_ITEMS)
    rng = np.random.default_rng(0)
    assert walks.draw(np.array([-1, 0, 1]), rng).tolist() == [-1, -1, -1]
    assert walks.draw(np.array([2]), rng).tolist() in ([5], [-1])  # a second step may lead back to 4
    assert len(walks.draw(np.zeros(0, dtype=np.int64), rng)) == 0


def test_as_many_numbers_are_drawn_whatever_the_walks_meet() -> None:
    walks = LabelWalks(histories_of([[0, 1, 2], [1, 2, 3]]), N_ITEMS)
    one, two = np.random.default_rng(0), np.random.default_rng(0)
    walks.draw(np.array([1, 2, 4]), one)
    walks.draw(np.array([-1, -1, 0]), two)
    assert one.random() == two.random()


def test_a_batch_has_labels_beside_the_targets_of_its_histories(batches: Any, split: Any) -> None:
    data = batches(walk_share=0.3)
    histories = split.train.sequences()
    targets = labeled = 0
    for number in range(len(data)):
        batch = data[0, number]
        for example in data._drawn[1]:
            assert example.labels is not None
            if example.place < 0:
                assert (example.labels == -1).all()
                continue
            n = len(example.targets)
            assert histories.items[example.place : example.place + n].tolist() == example.targets.tolist()
        assert batch.label_share == pytest.approx(0.3)
        expected = np.concatenate([np.where(e.labels < 0, e.targets, e.labels) for e in data._drawn[1]])
        assert batch.labels.tolist() == expected.tolist()
        targets, labeled = targets + len(expected), labeled + int((batch.labels != batch.targets).sum())
    assert 0.5 * targets < labeled < targets


def test_labels_do_not_depend_on_the_parts_of_a_step(batches: Any) -> None:
    whole, parts = batches(walk_share=0.3), batches(walk_share=0.3, parts=2)
    one = whole[0, 3]
    two = [parts[0, 6], parts[0, 7]]
    pairs = sorted(zip(one.targets.tolist(), one.labels.tolist(), strict=True))
    assert pairs == sorted(p for part in two for p in zip(part.targets.tolist(), part.labels.tolist(), strict=True))


def test_without_a_share_there_are_no_labels(batches: Any, split: Any, make_module: Any) -> None:
    assert batches(walk_share=0.0)[0, 0].labels is None
    module = make_module()
    assert TaskDataModule(split, module.vocabulary).walk_share == 0
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ArgumentError, match="walk_share: expected a share of at least 0 and below 1"):
            TaskDataModule(split, module.vocabulary, walk_share=share)


def test_a_label_shares_the_cross_entropy_of_its_target(batches: Any, make_module: Any) -> None:
    batch = batches(walk_share=0.3)[0, 1]
    network = make_module().network
    plain = dataclasses.replace(batch, labels=None, label_share=None)
    with torch.no_grad():
        mixed, target = network(batch, follow=True), network(plain, follow=True)
        label = network(dataclasses.replace(plain, targets=batch.labels), follow=True)
    torch.testing.assert_close(mixed.item, 0.7 * target.item + 0.3 * label.item)
    torch.testing.assert_close(mixed.tokens[0], 0.7 * target.tokens[0] + 0.3 * label.tokens[0])
    torch.testing.assert_close(mixed.tokens[1], target.tokens[1])


def test_a_sample_of_the_catalogue_holds_the_labels() -> None:
    n = 3000
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(n), (20, 15, 10)), 1).astype(np.int32)
    index = TrieIndex(Trie.from_codes(codes))
    targets, labels = torch.tensor([5, 9, 700]), torch.tensor([1, 2999, 9])
    torch.manual_seed(0)
    part = sampled_columns(index, targets, 100, labels)
    assert part.leaves is not None
    assert part.labels is not None
    assert part.bias is not None
    assert index.leaf_items[part.leaves[part.labels]].tolist() == labels.tolist()
    assert part.bias[part.labels].tolist() == [0.0] * 3
    whole = all_columns(index, targets, labels)
    assert whole.labels is not None
    assert index.leaf_items[whole.labels].tolist() == labels.tolist()
