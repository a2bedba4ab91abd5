"""Matrix factorisation by lenskit as a baseline of ratings."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from metatoken.data import Interactions, random_split
from metatoken.errors import ArgumentError
from metatoken.evaluate.factorization import Factorization
from metatoken.evaluate.ratings import rating_metrics
from metatoken.tasks.biases import RatingBias


def two_tastes(seed: int = 0, n_users: int = 60, n_items: int = 40) -> Interactions:
    """Ratings that biases cannot tell: a user likes one half of the items and not the other."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{u}", f"i{i}", 4.5 - 3.0 * ((u + i) % 2) + rng.choice([0.0, 0.5]))
        for u in range(n_users)
        for i in range(n_items)
        if rng.random() < 0.6
    ]
    users, items, ratings = map(list, zip(*rows, strict=True))
    return Interactions.from_arrays(users, items, ratings=ratings)


def test_it_finds_tastes_that_biases_miss() -> None:
    split = random_split(two_tastes(), seed=0)
    users, items = (split.test.frame[name].to_numpy() for name in ("user", "item"))
    actual = split.test.frame["rating"].to_numpy()
    biases = RatingBias.choose(split.train, split.validation)
    found = Factorization.choose(split.train, split.validation)
    assert rating_metrics(biases.predict(users, items), actual)["rmse"] > 1.3
    assert rating_metrics(found.predict(users, items), actual)["rmse"] < 0.5


def test_its_values_are_lenskits_own_for_each_pair_whatever_their_order() -> None:
    from lenskit.data import ItemList

    split = random_split(two_tastes(), seed=1)
    fit = Factorization.fit(split.train, factors=4, regularization=0.3, seed=3)
    users, items = (split.test.frame[name].to_numpy() for name in ("user", "item"))
    found = fit.predict(users, items)
    for at in range(0, len(users), 17):
        alone = fit.scorer(int(users[at]), ItemList(item_ids=items[at : at + 1])).scores()
        assert found[at] == pytest.approx(float(np.clip(alone[0], fit.low, fit.high)), abs=1e-5)
    back = np.arange(len(users))[::-1]
    np.testing.assert_allclose(fit.predict(users[back], items[back]), found[back], atol=1e-5)
    assert found.min() >= fit.low
    assert found.max() <= fit.high
    assert len(fit.predict(users[:0], items[:0])) == 0


def test_a_pair_that_was_rated_twice_counts_with_its_mean() -> None:
    log = two_tastes(n_users=20)
    users, items = log.users.column(log.frame["user"]).to_list(), log.items.column(log.frame["item"]).to_list()
    ratings = log.frame["rating"].to_list()
    again = Interactions.from_arrays([*users, *users[:9]], [*items, *items[:9]], ratings=[*ratings, *[1.0] * 9])
    means = [*((rating + 1) / 2 for rating in ratings[:9]), *ratings[9:]]
    pairs = np.arange(20), np.arange(20)
    twice, mean = (Factorization.fit(one, epochs=3).predict(*pairs)
                   for one in (again, Interactions.from_arrays(users, items, ratings=means)))  # fmt: skip
    np.testing.assert_allclose(twice, mean, atol=1e-5)


def test_the_same_seed_gives_the_same_fit() -> None:
    log = two_tastes(n_users=20)
    users, items = np.arange(20), np.arange(20)
    one, two = (Factorization.fit(log, seed=5).predict(users, items) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="rating="):
        Factorization.fit(Interactions.from_arrays(["u"], ["i"]))
    monkeypatch.setitem(sys.modules, "lenskit.als", None)
    with pytest.raises(ArgumentError, match=r"metatoken\[rating\]"):
        Factorization.fit(two_tastes())
