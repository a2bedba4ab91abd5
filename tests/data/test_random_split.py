import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import Interactions, leave_last_out, random_split
from metatoken.errors import ArgumentError

ROWS = st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdef")), min_size=1, max_size=60)


def log_of(rows):
    return Interactions.from_arrays(
        *map(list, zip(*rows, strict=True)), ratings=[float(place % 5) for place in range(len(rows))]
    )


def pairs(log):
    return set(log.frame.select("user", "item").iter_rows())


@given(ROWS, st.integers(0, 5), st.sampled_from([(0.1, 0.1), (0.0, 0.3), (0.45, 0.5)]))
def test_parts_are_disjoint_and_train_knows_everyone(rows, seed, shares):
    log = log_of(rows)
    split = random_split(log, validation=shares[0], test=shares[1], seed=seed)
    parts = [split.train, split.validation, split.test]
    assert sum(map(len, parts)) == len(log)
    assert pairs(parts[0]) | pairs(parts[1]) | pairs(parts[2]) == pairs(log)
    assert sum(len(pairs(part)) for part in parts) == len(pairs(log))  # a pair is on one side only
    for column in ("user", "item"):
        assert set(split.train.frame[column]) == set(log.frame[column])
    assert len(pairs(split.test)) <= round(shares[1] * len(pairs(log)))


def test_the_shares_are_met_where_the_log_allows(world):
    log = world.interactions()
    split = random_split(log, seed=3)
    n = len(pairs(log))
    assert len(pairs(split.test)) == len(pairs(split.validation)) == round(0.1 * n)
    assert len(split.train) + len(split.validation) + len(split.test) == len(log)
    assert split.part("test") is split.test
    assert split.part("validation") is split.validation


def test_the_seed_decides(world):
    log = world.interactions()
    assert random_split(log, seed=1).test.checksum() == random_split(log, seed=1).test.checksum()
    assert random_split(log, seed=1).test.checksum() != random_split(log, seed=2).test.checksum()


@given(ROWS)
def test_within_a_ranking_split_nothing_held_out_returns(rows):
    """What one task holds out is in no training row of another."""
    ranking = leave_last_out(log_of(rows))
    if len(ranking.train) == 0:
        return
    split = random_split(ranking, seed=0)
    held = [(int(u), int(place)) for u in ranking.test.users for place in (1, 2)]
    lengths = ranking.log.sequences().lengths
    all_rows = len(split.train) + len(split.validation) + len(split.test)
    assert all_rows == len(ranking.log) - len(held) == int(lengths.sum()) - len(held)
    assert not pairs(split.train) & (pairs(split.validation) | pairs(split.test))


def test_ratings_travel_with_their_rows():
    log = log_of([(u, i) for u in "uvwxyz" for i in "abcdefgh"])
    split = random_split(log, validation=0.2, test=0.2)
    known = {row[:2]: row[2] for row in log.frame.select("user", "item", "rating").iter_rows()}
    for part in (split.train, split.validation, split.test):
        for user, item, rating in part.frame.select("user", "item", "rating").iter_rows():
            assert known[user, item] == rating
    assert len(split.test) == len(split.validation) == round(0.2 * 48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": -0.1}, "test: expected a share of at least 0 and below 1, got -0.1"),
        ({"validation": 1.0}, "validation: expected a share"),
        ({"validation": 0.5, "test": 0.5}, "test: expected validation and test to sum to less than 1, got 1"),
        ({"seed": -1}, "seed: expected at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        random_split(log_of([("u", "a")]), **arguments)


def test_unknown_part_and_empty_log():
    split = random_split(log_of([("u", "a"), ("v", "a")]))
    with pytest.raises(ArgumentError, match="expected one of train, validation, test, got 'all'"):
        split.part("all")
    with pytest.raises(ArgumentError, match="source: expected at least one interaction"):
        random_split(split.test)


def test_ids_stay_the_same(split):
    rows = random_split(split)
    assert rows.train.users is split.log.users
    assert rows.train.items is split.log.items
    assert np.array_equal(np.unique(rows.train.frame["item"]), np.unique(split.train.frame["item"]))
