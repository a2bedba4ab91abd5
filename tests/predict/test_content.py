"""Likeness by categories, against a dense loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data.interactions import Interactions
from metatoken.data.ragged import Sequences
from metatoken.errors import ArgumentError
from metatoken.predict import content
from metatoken.predict.content import ContentGraph
from tests.predict.test_transitions import log_of, rows

CATEGORIES = st.lists(st.lists(st.sampled_from("abcde"), max_size=4), min_size=2, max_size=7)
HISTORIES = st.lists(st.lists(st.integers(0, 1), max_size=8), min_size=1, max_size=4)


def described(train: Interactions, categories: list[list[str] | None]) -> Interactions:
    item = pl.Series("item", np.arange(len(categories), dtype=np.int32))
    values = pl.Series("categories", categories, dtype=pl.List(pl.String))
    return replace(train, item_table=pl.DataFrame([item, values]))


def expected_steps(train: Interactions, categories: list[list[str]]) -> np.ndarray:
    """Item by item and category by category."""
    n, counts = len(categories), np.bincount(train.sequences().items, minlength=len(categories))
    rarity = {one: math.log(n / sum(one in own for own in categories)) for own in categories for one in own}
    vectors = [{one: rarity[one] for one in set(own) if rarity[one] > 0} for own in categories]
    length = [math.sqrt(sum(value**2 for value in vector.values())) for vector in vectors]
    steps = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            both = sum(vectors[i][one] * vectors[j][one] for one in vectors[i].keys() & vectors[j].keys())
            if i != j and both > 0:
                steps[i, j] = (both / length[i] / length[j]) ** 3 * math.sqrt(1 + counts[j])
        steps[i] /= max(steps[i].sum(), 1e-300)
    return steps


@given(CATEGORIES, HISTORIES)
def test_it_equals_a_dense_loop(categories: list[list[str]], histories: list[list[int]]) -> None:
    train = described(log_of(histories, len(categories)), categories)
    expected, found = expected_steps(train, categories), ContentGraph.fit(train)
    if found is None:
        assert not expected.any()
        return
    np.testing.assert_allclose(found.steps.toarray(), expected, rtol=1e-4, atol=1e-6)
    users = np.arange(len(histories))
    scores = found.scores(rows(histories), users)
    for _ in range(len(categories) + 1):  # first for what is asked alone, then from all steps
        np.testing.assert_array_equal(found.scores(rows(histories), users), scores)
    for row, history in zip(scores, histories, strict=True):
        total = sum((w * expected[item] for w, item in zip(content.RECENCY, history[::-1], strict=False)), np.zeros(1))
        mass = total.sum()
        np.testing.assert_allclose(row, total / mass if mass > 0 else np.zeros(len(row)), rtol=1e-4, atol=1e-6)


def test_an_item_leads_to_the_most_alike_alone_and_ties_go_to_the_lower_row(monkeypatch: pytest.MonkeyPatch) -> None:
    train = described(log_of([[]], 7), [["x"], ["x"], ["x"], ["x", "y"], ["z"], ["z"], None])
    monkeypatch.setattr(content, "LIKE", 2)
    monkeypatch.setattr(content, "BLOCK", 3)
    found = ContentGraph.fit(train)
    assert found is not None
    assert [np.flatnonzero(row).tolist() for row in found.steps.toarray()] == [
        [1, 2],
        [0, 2],
        [0, 1],
        [0, 1],
        [5],
        [4],
        [],
    ]


def test_only_the_popular_items_of_a_common_category_are_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    train = described(log_of([[3, 3, 3, 1, 1, 2]], 5), [["x"], ["x"], ["x"], ["x"], ["y"]])
    monkeypatch.setattr(content, "COMMON", 2)
    found = ContentGraph.fit(train)
    assert found is not None
    assert [np.flatnonzero(row).tolist() for row in found.steps.toarray()] == [[1, 3], [3], [1, 3], [1], []]


def test_without_categories_there_is_nothing() -> None:
    plain = log_of([[0, 1]], 3)
    assert ContentGraph.fit(plain) is None
    assert ContentGraph.fit(described(plain, [[], None, []])) is None
    assert ContentGraph.fit(described(plain, [["all"], ["all"], ["all"]])) is None


def test_items_of_another_catalogue_are_refused() -> None:
    found = ContentGraph.fit(described(log_of([[0, 1]], 3), [["x"], ["x"], []]))
    assert found is not None
    with pytest.raises(ArgumentError, match="from 0 to 2"):
        found.scores(Sequences(np.array([0, 1]), np.array([3], dtype=np.int32)), np.array([0]))
