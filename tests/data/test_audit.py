import json

import numpy as np
import polars as pl
import pytest

from metatoken.data import Interactions, audit, generate_world


def shop(seed=0, n_users=100, length=8, n_items=60):
    """Random histories without repeats, item ids that are no numbers."""
    rng = np.random.default_rng(seed)
    names = np.array([f"p{row:03d}" for row in range(n_items)])
    users = np.repeat([f"u{row:03d}" for row in range(n_users)], length)
    return users, np.concatenate([rng.permutation(names)[:length] for _ in range(n_users)])


def test_a_clean_log_has_no_warnings():
    report = audit(generate_world().interactions())
    assert (report.tied_neighbours, report.ascending_ties, report.duplicate_rows) == (0.0, None, 0)
    assert report.warnings == []
    assert 0.4 < report.ascending_neighbours < 0.6
    assert json.loads(json.dumps(report.to_dict()))["users"] == 200


@pytest.mark.parametrize(("step", "word"), [(1, "ascending"), (-1, "descending")])
def test_histories_sorted_by_id(step, word):
    users, items = shop()
    items = np.sort(items.reshape(100, 8), axis=1)[:, ::step].ravel()
    warning = audit(Interactions.from_arrays(users, items)).warnings[0]
    assert f"100% of consecutive items of a user are in {word} order" in warning
    assert "sorted by item id, not by time" in warning


@pytest.mark.parametrize("key", [int, str])
def test_numbers_sorted_by_value_or_as_text(key):
    users, items = shop()
    numbers = np.array([name[1:].lstrip("0") or "0" for name in items]).reshape(100, 8)
    ordered = [name for row in numbers for name in sorted(row, key=key)]
    report = audit(Interactions.from_arrays(users, ordered))
    assert report.ascending_neighbours == 1.0
    assert "sorted by item id" in report.warnings[0]


def test_sorted_despite_times():
    users, items = shop()
    items = np.sort(items.reshape(100, 8), axis=1).ravel()
    warning = audit(Interactions.from_arrays(users, items, times=np.arange(800))).warnings[0]
    assert "Check that the time column is the right one" in warning


def test_order_leaning_on_ids_is_a_milder_note():
    users, items = shop()
    table = items.reshape(100, 8)
    # Four days of two items each, sorted within the day.
    days = np.sort(table.reshape(100, 4, 2), axis=2).ravel()
    report = audit(Interactions.from_arrays(users, days))
    assert 0.6 < report.ascending_neighbours < 0.9
    (warning,) = report.warnings
    assert "part of the order seems to come from the ids" in warning
    timed = audit(Interactions.from_arrays(users, days, times=np.tile([1, 1, 2, 2, 3, 3, 4, 4], 100)))
    assert timed.tied_neighbours == pytest.approx(4 / 7)
    assert timed.ascending_ties == 1.0
    assert "57% of consecutive interactions of a user share a timestamp" in timed.warnings[0]
    assert "sorted by item id there" in timed.warnings[0]


def test_random_order_and_tiny_logs_raise_no_alarm():
    assert audit(Interactions.from_arrays(*shop())).warnings == []
    tiny = audit(Interactions.from_arrays(["u"] * 4, list("abcd")))
    assert tiny.ascending_neighbours == 1.0
    assert not any("order of their ids" in warning for warning in tiny.warnings)


def test_counts():
    users = ["a"] * 5 + ["b"] * 2 + ["c"] * 3
    items = ["x", "y", "x", "y", "x", "x", "y", "x", "y", "z"]
    times = [1, 2, 3, 4, 3, 1, 2, 1, 2, 3]
    report = audit(Interactions.from_arrays(users, items, times=times))
    # a visits x y x x y: three repeats, and x at time 3 twice is an exact copy.
    assert (report.repeated_pairs, report.users_with_repeats, report.duplicate_rows) == (3, 1, 1)
    assert report.tied_neighbours == pytest.approx(1 / 7)
    assert (report.short_users, report.items_seen_once) == (1, 1)
    assert (report.targets, report.cold_targets, report.repeated_targets) == (2, 1, 1)
    text = "\n".join(report.warnings)
    for part in (
        "1 rows are exact copies",
        "3 interactions repeat an item that the user already had (1 users). 1 of 2 test targets are such repeats",
        "1 of 3 users have fewer than 3 interactions",
        "1 of 2 test targets (50.0%) are items that never occur in train",
        "1 of 3 items (33%) were met once only",
    ):
        assert part in text
    assert str(report).startswith("3 users, 3 items, 10 interactions\n- ")


def test_ratings_that_are_not_finite_are_counted():
    log = Interactions.from_arrays(["u", "u", "u"], ["a", "b", "c"], ratings=[1, 2, 3])
    spoiled = log.with_rows(log.frame.with_columns(rating=pl.Series([1.0, np.nan, np.inf], dtype=pl.Float32)))
    report = audit(spoiled)
    assert report.non_finite_ratings == 2
    assert "2 ratings are not finite" in report.warnings[0]


def test_a_log_without_rows():
    log = Interactions.from_arrays(["u"], ["a"], times=[1], ratings=[1])
    report = audit(log.with_rows(np.zeros(1, dtype=bool)))
    assert (report.users, report.interactions, report.targets) == (0, 0, 0)
    assert report.ascending_neighbours is None
    assert report.warnings == [
        "No user has enough interactions to be held out, so nothing can be measured on this log."
    ]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1_700_000_000_000 + n for n in range(8)] + [1_700_000_001], "1 of 9 times, e.g. 1700000001, are of another"),
        ([1_700_000_000 + n for n in range(8)] + [1_700_000_000_000], "unit than the others, which are seconds since"),
        ([1_700_000_000 + n for n in range(8)] + [0], "1 of 9 times, e.g. 0, lie before 1980 or after 2100"),
        ([1_700_000_000.5] * 8 + [5_700_000_000.0], "1 of 9 times, e.g. 5700000000.0, lie before 1980 or after"),
        (list(range(9)), None),
        ([1_700_000_000 + n for n in range(9)], None),
    ],
)
def test_times_of_other_units_and_years(times, said):
    frame = pl.DataFrame({"user": ["u"] * 9, "item": [f"i{n}" for n in range(9)], "t": times})
    warned = [one for one in audit(Interactions.from_frame(frame, time="t")).warnings if "times, e.g." in one]
    assert len(warned) == (said is not None)
    assert said is None or said in warned[0]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([20240131, 20240201, 20231231], "time_format: %Y%m%d"),
        ([31012024, 1022024, 12122023], "whose order is another"),
        ([20240131, 20241301, 20231231], None),
        ([5, 6, 7], None),
        ([2.0**60, 2.0**60, 2.0**61 + 0.5], "3 times are larger than a float tells apart"),
    ],
)
def test_numbers_that_are_no_unix_times(times, said):
    frame = pl.DataFrame({"user": ["u"] * 3, "item": ["a", "b", "c"], "t": times})
    found = "\n".join(audit(Interactions.from_frame(frame, time="t")).warnings)
    if said is None:
        assert "times" not in found
    else:
        assert said in found


def test_ids_that_are_lists(tmp_path):
    (tmp_path / "l.csv").write_text('user,item\nu,"[""a"", ""b""]"\nv,"{""x"": 1}"\nw,"[live]"\nx,"(a, b)"\ny,c\n')
    found = audit(Interactions.read(tmp_path / "l.csv", user="user", item="item")).warnings
    assert found[0] == (
        "3 of 5 item ids, e.g. (a, b), look like lists or objects; each counts as one id. Write one id a row."
    )
