from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import Sequences
from metatoken.tasks.datamodule import DIRECT, SEQUENTIAL, TrainingBatches, training_rows


def _histories(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(offsets, np.arange(offsets[-1], dtype=np.int32))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(2, 12), st.booleans())
def test_every_item_but_the_first_is_a_target_once(lengths, max_history, per_target):
    rows = training_rows(_histories(lengths), ["sequential"], max_history, per_target=per_target)
    found = {user: [] for user in range(len(lengths))}
    for task, user, end, n in rows.tolist():
        assert task == SEQUENTIAL
        start = max(0, end - max_history - int(per_target))
        found[user] += range(max(start + 1, end - n), end)
    for user, length in enumerate(lengths):
        assert sorted(found[user]) == list(range(1, length))


def test_direct_rows_need_two_items():
    rows = training_rows(_histories([1, 2, 5]), ["direct"], 10, per_target=False)
    assert rows[:, 1].tolist() == [1, 2]
    assert (rows[:, 0] == DIRECT).all()


@pytest.fixture
def batches(make_module, split):
    module = make_module(user_tokens="prefix")
    histories = split.train.sequences()
    rows = training_rows(histories, ("sequential", "direct"), 20, per_target=False)

    def make(**options):
        options = {"batch_size": 16, "seed": 0, "user_tokens": "none"} | options
        return TrainingBatches(rows, histories, module.vocabulary, module.builder, **options)

    return make


def test_a_share_of_the_users_gives_direct_rows(batches):
    data = batches(direct_share=0.25)
    tasks = [torch.cat([data[epoch, n].task for n in range(len(data))]) for epoch in (0, 1)]
    users = int((data.histories.lengths >= 2).sum())
    assert [int((t == DIRECT).sum()) for t in tasks] == [-(-users // 4)] * 2
    alone = TrainingBatches(
        data.rows[data.rows[:, 0] == DIRECT], data.histories, data.vocabulary, data.builder,
        batch_size=16, seed=0, user_tokens="none", direct_share=0.25,
    )  # fmt: skip
    assert len(alone) == -(-users // 16)


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_batch_is_a_function_of_seed_epoch_and_number(batches):
    one, two = batches(), batches()
    later = two[3, 5]  # another epoch first: nothing is carried over
    assert _same(one[0, 2], two[0, 2])
    assert _same(one[3, 5], later)
    assert not _same(one[0, 2], one[1, 2])
    assert not _same(one[0, 2], batches(seed=1)[0, 2])


def test_an_epoch_visits_every_row(batches):
    data = batches()
    tasks = torch.cat([data[0, n].task for n in range(len(data))])
    sequential = int((tasks == SEQUENTIAL).sum())
    lengths = data.histories.lengths
    assert sequential == int((lengths - 1).clip(0).sum())
    assert int((tasks == DIRECT).sum()) == int((lengths >= 2).sum())


@pytest.mark.parametrize("mode", ["prefix", "out_of_fold", "full"])
def test_rows_with_a_user_token_supervise_only_what_it_has_not_seen(batches, split, mode):
    """The leak rule of DESIGN decision 3 on every row of an epoch: tokens are folded in from items without targets."""
    data = batches(user_tokens=mode)
    sources, fold_in = [], data.vocabulary.user_codes_of

    def spied(sequences):
        codes = fold_in(sequences)
        sources.append((sequences, data.vocabulary.tokens_of_codes(codes) + data.builder.encoder.base))
        return codes

    data.tokens.vocabulary = SimpleNamespace(user_codes_of=spied, level_offsets=data.vocabulary.level_offsets)
    data[0, 0]
    checked = leaks = 0
    for row in data.rows:
        example = data._example(row, np.random.default_rng(0))
        user, targets = row[1], set(example.targets.tolist())
        if mode == "full":
            assert _contains(example.ids, data.builder.encoder.users.one(user))
            leaks += bool(targets & set(split.train.sequences()[user].tolist()))
            continue
        # Every source whose tokens the words before the first item show; one of them is the one it was given.
        words = example.ids[: np.flatnonzero(example.leaves >= 0)[0] - data.vocabulary.depth + 1]
        shown = [set(items[user].tolist()) for items, tokens in sources if _contains(words, tokens[user])]
        if shown:
            checked += 1
            assert any(not targets & source for source in shown)
    if mode == "full":
        assert leaks == len(data.rows)
    else:
        assert checked > len(data.rows) / 2


def _contains(ids, part):
    return any(ids[i : i + len(part)].tolist() == part.tolist() for i in range(len(ids) - len(part) + 1))
