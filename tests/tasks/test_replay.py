"""Which rows of a log that has grown are trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metatoken import Interactions, TaskDataModule, no_split
from metatoken.tasks.replay import Replay


def log_of(lengths: list[int]) -> Interactions:
    """Users who have taken so many items, one after the other, at times 0, 1, 2, ..."""
    rows = [(f"u{user}", f"i{place}", place) for user, length in enumerate(lengths) for place in range(length)]
    users, items, times = zip(*rows, strict=True)
    return Interactions.from_arrays(users, items, times=times)


def test_new_and_old_rows() -> None:
    log = log_of([3, 4, 2])
    replay = Replay.of(log, np.array([3, 2]), 0.5)
    assert np.flatnonzero(replay.new).tolist() == [5, 6, 7, 8]  # the last two of u1, all of u2
    assert np.flatnonzero(replay.again).tolist() == [0, 1, 2, 3, 4]
    late = Replay.of(log, np.array([3, 2]), 0.5, since=1)
    assert np.flatnonzero(late.again).tolist() == [1, 2, 4]
    assert not (late.new & late.again).any()


@pytest.mark.parametrize("tasks", [["sequential"], ["sequential", "direct"]])
def test_a_pass_has_all_new_rows_and_a_share_of_the_old_ones(
    tasks: list[str], split: Any, vocabulary: Any, make_module: Callable[..., Any]
) -> None:
    train = split.train
    lengths = train.sequences().lengths
    known = np.where(np.arange(len(lengths)) % 4 == 0, lengths - 1, lengths)  # a quarter of the users have a new item
    fresh = set(np.flatnonzero((known < lengths) & (lengths > 1)).tolist())
    counts = {}
    for share in (0.0, 0.5, 1.0):
        replay = Replay.of(train, known, share)
        data = TaskDataModule(split, vocabulary, tasks=tasks, batch_size=16, replay=replay, seed=1)
        data.connect(make_module(tasks=tasks, max_history=60).reader)
        batches = data.training_batches()
        plans = [np.concatenate(batches.plan(epoch)) for epoch in range(2)]
        seen = []
        for plan in plans:
            users = [
                int(batches.tables[table].table.rows[batches.tables[table].chosen[row], 0])  # type: ignore[attr-defined]
                for table, row in plan.tolist()
                if batches.tables[table].task.name == "sequential"
            ]
            assert len(users) == len(set(users))
            assert fresh <= set(users)
            seen.append(set(users) - fresh)
        counts[share] = len(seen[0])
        if share == 0.5:
            assert seen[0] != seen[1]  # drawn anew
        assert len(batches[(0, 0)].targets) > 0
    old = int((lengths > 1).sum()) - len(fresh)
    assert counts == {0.0: 0, 0.5: round(old / 2), 1.0: old}


def test_pairs_are_new_or_old_by_their_row() -> None:
    from metatoken.tasks.pairs import Pairs
    from metatoken.tasks.prompts import train_tokenizer
    from metatoken.tasks.task import find_task

    rows = [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", None), ("b", "y", 4.0)]
    users, items, ratings = zip(*rows, strict=True)
    log = Interactions.from_frame({"user": users, "item": items, "rating": ratings}, rating="rating")
    pairs = Pairs.of(find_task("rating"), no_split(log).train, train_tokenizer(["rating"]), 8)
    replay = Replay.of(log, np.array([1, 2]), 1.0)
    assert replay.new[pairs.rows].tolist() == [False, True, False]
