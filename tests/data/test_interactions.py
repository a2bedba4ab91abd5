import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import Interactions
from metatoken.errors import ArgumentError, DataError

ROW = st.tuples(st.sampled_from(["u1", "u10", "u2", "é", "Z"]), st.sampled_from(["a", "b", "10", "9", "ß"]))
ROWS = st.lists(ROW, min_size=1, max_size=40)


def test_rows_are_sorted_by_raw_id():
    log = Interactions.from_arrays(["b", "a", "b"], ["y", "x", "x"])
    assert (log.users.raw, log.items.raw) == (("a", "b"), ("x", "y"))
    assert log.frame.rows() == [(0, 0, 0), (1, 1, 0), (1, 0, 1)]
    assert (log.n_users, log.n_items, len(log)) == (2, 2, 3)
    sequences = log.sequences()
    assert sequences.offsets.tolist() == [0, 1, 3]
    assert (sequences.offsets.dtype, sequences.items.dtype) == (np.int64, np.int32)
    assert [s.tolist() for s in sequences] == [[0], [1, 0]]
    with pytest.raises(IndexError):
        sequences[2]


def test_ties_keep_the_order_of_the_rows():
    log = Interactions.from_arrays(["u"] * 5, list("edcba"), times=[2, 1, 2, 1, 0])
    assert [log.items.raw[i] for i in log.sequences()[0]] == ["a", "d", "b", "e", "c"]


@given(ROWS, st.randoms(use_true_random=False))
def test_input_order_does_not_matter_when_times_are_distinct(rows, random):
    timed = [(user, item, time) for time, (user, item) in enumerate(rows)]
    shuffled = random.sample(timed, len(timed))
    logs = [build(part) for part in (timed, shuffled)]
    assert logs[0].frame.equals(logs[1].frame)
    assert logs[0].users == logs[1].users
    assert logs[0].checksum() == logs[1].checksum()


def build(timed):
    users, items, times = zip(*timed, strict=True)
    return Interactions.from_arrays(list(users), list(items), times=list(times))


@given(ROWS)
def test_against_a_dictionary(rows):
    expected: dict[str, list[str]] = {}
    for user, item in rows:
        expected.setdefault(user, []).append(item)
    log = Interactions.from_arrays(*map(list, zip(*rows, strict=True)))
    assert log.users.raw == tuple(sorted(expected))
    assert log.items.raw == tuple(sorted({item for _, item in rows}))
    assert {u: [log.items.raw[i] for i in log.sequences()[r]] for r, u in enumerate(log.users.raw)} == expected
    order = [place for history in log.sequences() for place in range(len(history))]
    assert log.frame["order"].to_list() == order


@given(ROWS, st.data())
def test_with_rows_keeps_ids_and_counts_places_anew(rows, data):
    log = Interactions.from_arrays(*map(list, zip(*rows, strict=True)))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(log), max_size=len(log))), dtype=np.bool_)
    part = log.with_rows(mask)
    assert part.users is log.users
    assert part.items is log.items
    assert len(part.sequences()) == log.n_users
    assert part.frame["item"].to_list() == log.frame["item"].to_numpy()[mask].tolist()
    for user in range(log.n_users):
        kept = part.frame.filter(pl.col("user") == user)["order"].to_list()
        assert kept == list(range(len(kept)))
    assert part.frame.equals(log.with_rows(log.frame.filter(pl.Series(mask))).frame)
    assert (part.checksum() == log.checksum()) == bool(mask.all())


def test_with_rows_rejects_what_does_not_fit():
    log = Interactions.from_arrays(["u", "u"], ["a", "b"])
    with pytest.raises(ArgumentError, match=r"expected bool \[2\], got bool \[3\]"):
        log.with_rows(np.ones(3, dtype=bool))
    with pytest.raises(ArgumentError, match="lacks order"):
        log.with_rows(log.frame.drop("order"))
    with pytest.raises(ArgumentError, match=r"item rows must lie in 0\.\.1"):
        log.with_rows(log.frame.with_columns(item=pl.lit(7, dtype=pl.Int32)))


def test_checksum_sees_every_column():
    base = pl.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "t": [1, 2], "r": [3.0, 4.0], "x": ["p", "q"]})
    items = pl.DataFrame({"item_id": ["a"], "title": ["A"], "categories": [["c", "d"]]})
    read = {"time": "t", "rating": "r", "review": "x"}
    changed = [
        base.with_columns(user=pl.Series(["v", "v"])),
        base.with_columns(item=pl.Series(["a", "c"])),
        base.with_columns(t=pl.Series([1, 3])),
        base.with_columns(r=pl.Series([3.0, 4.5])),
        base.with_columns(x=pl.Series(["pq", ""])),
    ]
    sums = [Interactions.from_frame(frame, items=items, **read).checksum() for frame in (base, *changed)]
    other = items.with_columns(categories=pl.Series([["cd", ""]])), items.with_columns(title=pl.lit("B"))
    sums += [Interactions.from_frame(base, items=table, **read).checksum() for table in other]
    sums.append(Interactions.from_frame(base, **read).checksum())
    assert len(set(sums)) == len(sums)


def test_arrays_of_other_kinds():
    ids = np.arange(12)[::2]
    log = Interactions.from_arrays(ids, ids.astype(object), times=ids.astype(np.float32) / 4, ratings=[1] * 6)
    assert log.users.raw == ("0", "10", "2", "4", "6", "8")
    assert log.frame.schema["rating"] == pl.Float32
    titles = Interactions.from_arrays(["u"], ["a"], titles={"a": "Aye", "zzz": "no"}).titles()
    assert titles == ["Aye"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"users": ["u"], "items": ["a", "b"]}, ArgumentError, "items: expected 1 values"),
        ({"users": [["u"]], "items": ["a"]}, ArgumentError, "users: expected values in one dimension"),
        ({"users": [], "items": []}, DataError, "no rows"),
        ({"users": ["u", None], "items": ["a", "b"]}, DataError, r"empty user id in column 'user'.*\(row 2\)"),
        ({"users": [1.0, float("nan")], "items": ["a", "b"]}, DataError, "empty user id"),
        ({"users": ["u"], "items": ["a"], "ratings": [float("inf")]}, DataError, "rating inf"),
        ({"users": ["u"], "items": ["a"], "times": [float("nan")]}, DataError, "time nan"),
    ],
)
def test_arrays_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        Interactions.from_arrays(**arguments)
