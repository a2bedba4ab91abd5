import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import Interactions, leave_last_out, no_split
from metatoken.errors import ArgumentError

ROWS = st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdef")), min_size=1, max_size=40)


def log_of(rows):
    return Interactions.from_arrays(*map(list, zip(*rows, strict=True)))


@given(ROWS)
def test_against_a_slow_split(rows):
    log = log_of(rows)
    split = leave_last_out(log)
    full = [h.tolist() for h in log.sequences()]
    long = [u for u, h in enumerate(full) if len(h) >= 3]
    assert split.validation.users.tolist() == split.test.users.tolist() == long
    assert split.validation.items.tolist() == [full[u][-2] for u in long]
    assert split.test.items.tolist() == [full[u][-1] for u in long]
    assert [h.tolist() for h in split.train.sequences()] == [h[:-2] if len(h) >= 3 else h for h in full]
    assert [h.tolist() for h in split.history("validation")] == [h.tolist() for h in split.train.sequences()]
    assert [h.tolist() for h in split.history("test")] == [h[:-1] if len(h) >= 3 else h for h in full]
    assert split.train_only_users == len(full) - len(long)
    assert split.repeated_targets("test") == sum(full[u][-1] in full[u][:-1] for u in long)
    assert split.repeated_targets("validation") == sum(full[u][-2] in full[u][:-2] for u in long)


@given(ROWS)
def test_held_out_places_are_absent_from_train(rows):
    split = leave_last_out(log_of(rows))
    kept = set(split.train.frame.select("user", "order").iter_rows())
    lengths = split.log.sequences().lengths
    for user in split.test.users.tolist():
        assert not kept & {(user, int(lengths[user]) - 1), (user, int(lengths[user]) - 2)}
    assert len(split.train) + len(split.validation) + len(split.test) == len(split.log)


@given(ROWS, st.permutations("abcdef"))
def test_train_does_not_know_what_is_held_out(rows, renamed):
    """Other held-out items, same train: nothing that learns from train can tell."""
    log = log_of([*rows, *(("guard", item) for item in "abcdef")])
    lengths = log.sequences().lengths
    held = (log.frame["order"].to_numpy() >= lengths[log.frame["user"].to_numpy()] - 2) & (
        lengths[log.frame["user"].to_numpy()] >= 3
    )
    items = log.frame["item"].to_numpy().copy()
    items[held] = np.array(["abcdef".index(c) for c in renamed], dtype=np.int32)[items[held]]
    moved = log.with_rows(log.frame.with_columns(item=items))
    assert leave_last_out(moved).train.checksum() == leave_last_out(log).train.checksum()


def test_shapes_and_names():
    split = leave_last_out(log_of([("u", "a"), ("u", "b"), ("u", "c"), ("v", "a")]))
    assert split.name == "leave-last-out"
    assert split.test.users.dtype == split.test.items.dtype == np.int32
    assert (len(split.test), split.train_only_users) == (1, 1)
    assert split.train.users is split.log.users
    with pytest.raises(ArgumentError, match="part: expected 'validation' or 'test', got 'train'"):
        split.history("train")


def test_no_split_keeps_all():
    split = no_split(log_of([("u", "a"), ("u", "b"), ("u", "c")]))
    assert split.train is split.log
    assert (split.name, len(split.test), len(split.validation), split.train_only_users) == ("none", 0, 0, 1)
    assert [h.tolist() for h in split.history("test")] == [[0, 1, 2]]
    assert split.repeated_targets("test") == 0
