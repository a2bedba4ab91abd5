import pytest
import torch

from metatoken.errors import ArgumentError, ConfigError
from metatoken.tasks.sampling import ResumableLoader, StepSampler


def rows_of(batch):
    """Each row of a batch as a hashable thing: its ids, and where it is supervised at what."""
    found = []
    for row, (ids, mask) in enumerate(zip(batch.input_ids, batch.attention_mask, strict=True)):
        own = batch.state_row == row
        targets = tuple(batch.targets[own].tolist())
        found.append((tuple(ids[mask.bool()].tolist()), tuple(batch.state_position[own].tolist()), targets))
    return found


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_parts_hold_the_rows_of_their_step(batches, parts):
    whole, cut = batches("prefix"), batches("prefix", parts=parts)
    assert len(cut) == parts * len(whole)
    for epoch, step in ((0, 0), (0, len(whole) - 1), (2, 1)):
        pieces = [cut[epoch, step * parts + part] for part in range(parts)]
        expected = whole[epoch, step]
        assert sorted(row for piece in pieces for row in rows_of(piece)) == sorted(rows_of(expected))
        assert all(len(piece.input_ids) >= 1 for piece in pieces)
        for piece in pieces:
            torch.testing.assert_close(piece.normaliser, expected.normaliser / parts)


def test_parts_can_be_read_in_any_order(batches):
    one, two = batches("prefix", parts=2), batches("prefix", parts=2)
    two[1, 7]
    assert rows_of(one[0, 3]) == rows_of(two[0, 3])


def test_steps_hold_about_equally_many_rows(batches):
    data = batches("prefix")
    sizes = [len(data[0, n].input_ids) for n in range(len(data))]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 16


def test_a_step_smaller_than_its_parts_is_refused(batches):
    with pytest.raises(ArgumentError, match="cannot be cut into 20 parts"):
        batches("prefix", parts=20)


def test_rows_of_like_length_stand_together(batches):
    data = batches()
    padding = total = 0
    for n in range(len(data)):
        batch = data[0, n]
        own = [place for place, (table, _) in enumerate(data.plan(0)[n].tolist()) if table == 0]
        sequential = batch.attention_mask[own]
        padding += int((sequential == 0).sum())
        total += sequential.numel()
    assert padding / total < 0.2


@pytest.mark.parametrize(("accumulate", "ranks"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_processes_share_the_parts_of_every_step(accumulate, ranks):
    steps = 5
    read = []
    for rank in range(ranks):
        sampler = StepSampler(steps, accumulate=accumulate, ranks=ranks, rank=rank)
        sampler.set_epoch(4)
        pairs = list(sampler)
        assert {epoch for epoch, _ in pairs} == {4}
        assert len(pairs) == len(sampler) == steps * accumulate
        read.append([part for _, part in pairs])
    parts = accumulate * ranks
    for step in range(steps):
        own = slice(step * accumulate, (step + 1) * accumulate)
        assert sorted(p for one in read for p in one[own]) == list(range(step * parts, (step + 1) * parts))


def test_an_interrupted_epoch_goes_on_once():
    sampler = StepSampler(6)
    sampler.start_at(2, 4)
    passes = []
    for epoch in (2, 3):
        iterator = iter(sampler)  # Lightning makes it before it sets the epoch
        sampler.set_epoch(epoch)
        passes.append(list(iterator))
    assert passes == [[(2, 4), (2, 5)], [(3, n) for n in range(6)]]


def test_a_place_within_an_epoch_of_another_plan_is_refused(batches):
    loader = ResumableLoader(batches("prefix"), StepSampler(9), {"batch_size": 16, "seed": 0}, lambda: (1, 3))
    state = loader.state_dict()
    assert state == {"epoch": 1, "position": 3, "plan": {"batch_size": 16, "seed": 0}}
    other = ResumableLoader(batches("prefix"), StepSampler(9), {"batch_size": 8, "seed": 0}, lambda: (0, 0))
    with pytest.raises(ConfigError, match="batch_size 16"):
        other.load_state_dict(state)
    other.load_state_dict(state | {"position": 0})
    loader.load_state_dict(state)
    loader.sampler.set_epoch(1)
    assert next(iter(loader.sampler)) == (1, 3)
