import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.errors import ArgumentError
from metatoken.tasks.mixture import draw, rows_per_task


def test_without_a_temperature_shares_are_taken_as_they_are() -> None:
    assert rows_per_task({"a": 100, "b": 10}, {"a": 0.5}) == {"a": 50, "b": 10}


def test_a_temperature_brings_tasks_nearer_and_keeps_the_total() -> None:
    found = rows_per_task({"a": 900, "b": 100}, temperature=2.0)
    assert found == {"a": 750, "b": 250}  # roots 30 and 10 of 1,000 rows


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), min_size=1), st.floats(1, 10))
def test_every_task_with_rows_has_a_part(counts: dict[str, int], temperature: float) -> None:
    found = rows_per_task(counts, temperature=temperature)
    assert all((n > 0) == (counts[task] > 0) for task, n in found.items())
    assert abs(sum(found.values()) - sum(counts.values())) <= len(counts)


@given(st.integers(1, 30), st.integers(0, 100))
def test_draws_repeat_no_row_more_than_they_must(n: int, wanted: int) -> None:
    found = draw(np.arange(n), wanted, np.random.default_rng(0))
    counts = np.bincount(found, minlength=n)
    assert len(found) == wanted
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("shares", "temperature", "message"),
    [({"z": 1.0}, 1.0, "no task"), ({"a": 0.0}, 1.0, "above 0"), ({}, 0.5, "at least 1")],
)
def test_bad_settings_are_refused(shares: dict[str, float], temperature: float, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        rows_per_task({"a": 3}, shares, temperature)
