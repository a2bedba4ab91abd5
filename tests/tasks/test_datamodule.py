"""Training rows and batches of tasks that rank, and the leak rule of user tokens."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metatoken import TaskDataModule
from metatoken.data import Sequences
from metatoken.data.ragged import offsets_of
from metatoken.tasks.ranking import DirectRows, SequentialRows
from metatoken.tasks.task import find_task


def _rows(kind, lengths, max_history=10, *, per_target=False):
    """Rows of a task over histories of some lengths."""
    offsets = offsets_of(np.array(lengths, dtype=np.int64))
    histories = Sequences(offsets, np.arange(offsets[-1], dtype=np.int32))
    builder = SimpleNamespace(max_history=max_history, encoder=SimpleNamespace(encoder_decoder=per_target))
    return kind(find_task("sequential"), histories, builder, None).rows.tolist()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(2, 12), st.booleans())
def test_every_item_but_the_first_is_a_target_once(lengths, max_history, per_target):
    found = {user: [] for user in range(len(lengths))}
    for user, end, n in _rows(SequentialRows, lengths, max_history, per_target=per_target):
        start = max(0, end - max_history - int(per_target))
        found[user] += range(max(start + 1, end - n), end)
    for user, length in enumerate(lengths):
        assert sorted(found[user]) == list(range(1, length))


def test_direct_rows_need_two_items():
    assert _rows(DirectRows, [1, 2, 5]) == [[1, 2, 1], [2, 5, 1]]


def _drawn(data, epoch):
    """Names of the tasks of all rows of an epoch."""
    return [data.tables[table].task.name for step in data.plan(epoch) for table, _ in step.tolist()]


def test_a_share_of_the_users_gives_direct_rows(batches, split):
    data = batches(direct_share=0.25)
    users = int((split.train.sequences().lengths >= 2).sum())
    assert [_drawn(data, epoch).count("direct") for epoch in (0, 1)] == [-(-users // 4)] * 2
    assert len(batches(tasks=("direct",), direct_share=0.25)) == -(-users // 16)  # alone: every user


def _same(a, b):
    pairs = zip(vars(a).values(), vars(b).values(), strict=True)
    return all(x is y is None or torch.equal(x, y) for x, y in pairs)


def test_a_batch_is_a_function_of_seed_epoch_and_number(batches):
    one, two = batches(), batches()
    later = two[3, 5]  # another epoch first: nothing is carried over
    assert _same(one[0, 2], two[0, 2])
    assert _same(one[3, 5], later)
    assert not _same(one[0, 2], one[1, 2])
    assert not _same(one[0, 2], batches(seed=1)[0, 2])


def test_an_epoch_visits_every_row(batches, split):
    data = batches()
    lengths = split.train.sequences().lengths
    found = [tuple(row) for step in data.plan(0) for row in step.tolist()]
    assert len(set(found)) == len(found)
    assert _drawn(data, 0).count("direct") == int((lengths >= 2).sum())
    targets = sum(len(data[0, n].targets) for n in range(len(data)))
    assert targets == int((lengths - 1).clip(0).sum()) + int((lengths >= 2).sum())


@pytest.mark.parametrize("mode", ["prefix", "out_of_fold", "full"])
def test_rows_with_a_user_token_supervise_only_what_it_has_not_seen(batches, split, mode):
    """The leak rule (docs/design.md, decision 3): tokens of every row are folded in from items without its targets."""
    data = batches(user_tokens=mode)
    vocabulary, encoder = data.tokens.vocabulary, data.tokens.encoder
    sources = []

    def spied(sequences):
        codes = vocabulary.user_codes_of(sequences)
        sources.append((sequences, vocabulary.tokens_of_codes(codes) + encoder.base))
        return codes

    data.tokens.vocabulary = SimpleNamespace(user_codes_of=spied, tokens_of_codes=vocabulary.tokens_of_codes)
    data[0, 0]
    checked = leaks = 0
    rows = [(table, row) for table in data.tables for row in range(len(table))]
    for table, row in rows:
        example = table.example(row, np.random.default_rng(0))
        user, targets = int(table.rows[row, 0]), set(example.targets.tolist())
        if mode == "full":
            assert _contains(example.ids, encoder.users[user])
            leaks += bool(targets & set(split.train.sequences()[user].tolist()))
            continue
        # Every source whose tokens the words before the first item show; one of them is the one it was given.
        words = example.ids[: min([*np.flatnonzero(example.items >= 0), example.states[0] + 1])]
        shown = [set(items[user].tolist()) for items, tokens in sources if _contains(words, tokens[user])]
        if shown:
            checked += 1
            assert any(not targets & source for source in shown)
    if mode == "full":
        assert leaks == len(rows)
    else:
        assert checked > len(rows) / 2


def _contains(ids, part):
    return any(ids[i : i + len(part)].tolist() == part.tolist() for i in range(len(ids) - len(part) + 1))


def test_data_that_served_one_model_serve_another(make_module, split):
    """Each fit makes batches as its own model reads them."""
    one, two = make_module(tasks=["sequential"]), make_module(tasks=["sequential"], max_history=3)
    data = TaskDataModule(split, one.vocabulary, tasks=["sequential"], batch_size=16)
    longest = []
    for module in (one, two, one):
        data.trainer = SimpleNamespace(
            lightning_module=module, world_size=1, global_rank=0, accumulate_grad_batches=1
        )  # fmt: skip
        batches = data.train_dataloader().dataset
        longest.append(max(batches[0, n].input_ids.shape[1] for n in range(len(batches))))
        assert all(loader.dataset.builder is module.builder for loader in data.val_dataloader())
    assert longest[0] == longest[2] > longest[1]


def test_without_a_model_there_are_no_batches(make_module, split):
    data = TaskDataModule(split, make_module().vocabulary, tasks=["sequential"])
    with pytest.raises(RuntimeError, match=r"connect\(model\.reader\)"):
        data.training_batches()


def _counts(batch):
    answers = len(batch.targets if batch.answers is None else batch.answers)
    return torch.tensor([len(batch.targets), len(batch.text_ids), len(batch.ratings), answers], dtype=torch.float32)


@pytest.mark.parametrize("user_tokens", ["none", "prefix", "out_of_fold", "full"])
@pytest.mark.parametrize("fields", [{}, {"backbone": "t5-preset", "preset": {"dim": 32, "layers": 1}}], ids=str)
def test_every_step_is_divided_by_the_mean_number_of_targets_of_its_epoch(batches, user_tokens, fields):
    data = batches(user_tokens, direct_share=0.5, fields=fields)
    for epoch in (0, 2):
        steps = [data[epoch, step] for step in range(len(data))]
        found = torch.stack([_counts(batch) for batch in steps])
        assert len(set(found[:, 0].tolist())) > 1
        for batch in steps:
            torch.testing.assert_close(batch.normaliser, found.mean(dim=0))


def test_a_later_epoch_does_not_change_the_divisor_of_a_step_that_was_drawn(batches):
    data = batches("out_of_fold")
    first = data[0, 2].normaliser
    assert not torch.equal(first, data[1, 2].normaliser)
    data.plan(1)
    torch.testing.assert_close(data[0, 2].normaliser, first, rtol=0, atol=0)


def test_words_of_titles_are_counted_too(batches, split, vocabulary):
    titles = [" ".join(["Story"] * (1 + row % 5)) for row in range(vocabulary.n_items)]
    titled = dataclasses.replace(vocabulary, titles=titles)
    fields = {"vocabulary": titled, "titles": True, "max_history": 12}
    data = batches(tasks=("sequential",), fields=fields)
    steps = [data[1, step] for step in range(len(data))]
    found = torch.stack([_counts(batch) for batch in steps]).mean(dim=0)
    assert found[1] > found[0] > 0
    torch.testing.assert_close(steps[0].normaliser, found)
    # What a direct row predicts is drawn later: its title has a mean length, and the sum is near.
    data = batches(fields=fields)
    found = torch.stack([_counts(data[0, step]) for step in range(len(data))]).mean(dim=0)
    torch.testing.assert_close(data[0, 0].normaliser, found, rtol=0.05, atol=0)


def test_ratings_and_written_answers_are_counted_too(answering_run):
    run = answering_run.run
    data = TaskDataModule(run.split, run.module.vocabulary, tasks=run.module.tasks, batch_size=16)
    data.connect(run.module.reader)
    found = data.training_batches()
    counts = torch.stack([_counts(found[1, step]) for step in range(len(found))]).mean(dim=0)
    assert bool((counts > 0).all())
    torch.testing.assert_close(found[1, 0].normaliser, counts)
