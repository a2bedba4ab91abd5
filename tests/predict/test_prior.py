"""The prior of fused lists: transitions, and a share of what is alike that is chosen on held-out users."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from metatoken.data.split import Split, leave_last_out
from metatoken.data.world.world import generate_world
from metatoken.evaluate.ranking import ranking_metrics
from metatoken.model.heads.top import top_k
from metatoken.predict.choice import STEPS
from metatoken.predict.content import ContentGraph
from metatoken.predict.prior import CHANCE, Prior, mixed, multiplied
from metatoken.predict.transitions import TransitionGraph


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_last_out(generate_world(n_users=120, n_items=90, seed=4).interactions())


def test_the_share_makes_the_best_lists_of_the_prior_alone(split: Split) -> None:
    content = ContentGraph.fit(split.train)
    assert content is not None
    history, targets = split.history("validation"), split.validation
    opinions = TransitionGraph.fit(split.train).scores(history, targets.users), content.scores(history, targets.users)
    seen = history.take(targets.users)
    lists = (top_k(multiplied(*opinions, n / STEPS), seen, 10)[0] for n in range(STEPS + 1))
    gains = [ranking_metrics(one, targets.items, split.log.n_items)["ndcg@10"] for one in lists]
    found = Prior.chosen(split, limit=10_000)
    assert gains[round(found.share * STEPS)] == pytest.approx(max(gains), abs=1e-4)
    few = Prior.chosen(split, limit=20, seed=3)
    assert few.share == Prior.chosen(split, limit=20, seed=3).share


@pytest.mark.parametrize("form", ["product", "sum"])
def test_both_together_are_a_distribution(split: Split, form: Literal["product", "sum"]) -> None:
    history, users = split.history("test"), np.arange(split.log.n_users)
    scores = Prior.fit(split.train, 0.4, form).scores(history, users)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-4)
    assert (scores >= 0).all()


def test_a_user_whom_nothing_is_like_falls_back_on_the_transitions() -> None:
    counted = np.array([[0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    alike = np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(mixed(counted, alike, 0.25), [[0.4, 0.6], [0.5, 0.5]], rtol=1e-6)
    chance = CHANCE / 2
    product = (counted[0] + chance) ** 0.75 * (alike[0] + chance) ** 0.25
    np.testing.assert_allclose(multiplied(counted, alike, 0.25), [product / product.sum(), [0.5, 0.5]], rtol=1e-5)


def test_without_categories_it_is_the_transition_graph(split: Split) -> None:
    table = split.log.item_table
    assert table is not None
    plain = split.about(table.drop("categories"))
    history, users = plain.history("test"), np.arange(5)
    for prior in (Prior.chosen(plain), Prior.fit(plain.train, 0.5), Prior.fit(split.train)):
        assert prior.content is None
        expected = TransitionGraph.fit(split.train).scores(history, users)
        np.testing.assert_array_equal(prior.scores(history, users), expected)
    assert Prior.chosen(plain).share == 0
