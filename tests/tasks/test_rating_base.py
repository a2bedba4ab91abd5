"""The base of the rating head: factors, neighbourhoods, their weights, and intervals around ratings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from metatoken.data import Interactions, RowSplit, random_split
from metatoken.errors import ArgumentError
from metatoken.tasks.biases import RatingBias, ratings_of
from metatoken.tasks.collaborative import Collaborative, Unseen, left_over
from metatoken.tasks.factors import RatingFactors
from metatoken.tasks.intervals import RatingErrors
from metatoken.tasks.neighbourhood import DAMPING, SHRINKAGE, Neighbourhood
from metatoken.tasks.rating import rest_of
from metatoken.tasks.rating_base import RatingBase, best_share, certain_share
from tests.evaluate.test_factorization import two_tastes


@pytest.fixture(scope="module")
def split() -> RowSplit:
    return random_split(two_tastes(), seed=0)


@pytest.fixture(scope="module")
def base(split: RowSplit) -> RatingBase:
    return RatingBase.fit(split.train, split.validation, seed=0)


def rows_of(log: Interactions) -> tuple[np.ndarray, np.ndarray]:
    return log.frame["user"].to_numpy(), log.frame["item"].to_numpy()


def error(predicted: np.ndarray, log: Interactions) -> float:
    return float(np.sqrt(((predicted - ratings_of(log)) ** 2).mean()))


def test_factors_are_where_neither_side_can_do_better() -> None:
    """The gradient of the penalised squared error is zero in the side that was solved for last."""
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((12, 9)) < 0.6, rng.normal(size=(12, 9)), 0.0)
    dense[4] = 0.0
    left = sparse.csr_array(dense)
    found = RatingFactors.fit(left, 0.3, seed=1)
    p, q = found.user.astype(np.float64), found.item.astype(np.float64)
    known = dense != 0
    rest = np.where(known, dense - p @ q.T, 0.0)
    np.testing.assert_allclose(rest.T @ p, 0.3 * known.sum(axis=0)[:, None] * q, atol=1e-5)
    np.testing.assert_array_equal(p[4], 0.0)
    again = RatingFactors.fit(left, 0.3, seed=1)
    np.testing.assert_array_equal(again.item, found.item)


def by_hand(left: np.ndarray, row: int, column: int) -> float:
    """The formula of the module, one column at a time."""
    known = left != 0
    power = weight = 0.0
    for other in np.flatnonzero(known[row]):
        both = known[:, column] & known[:, other]
        if other == column or not both.any():
            continue
        a, b = left[both, column], left[both, other]
        near = max(0.0, a @ b / np.sqrt((a @ a) * (b @ b))) * both.sum() / (both.sum() + SHRINKAGE)
        power, weight = power + near * left[row, other], weight + near
    return power / (weight + DAMPING)


def test_neighbours_speak_as_the_formula_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatoken.tasks.neighbourhood.CELLS", 20)  # some blocks
    rng = np.random.default_rng(2)
    dense = np.where(rng.random((15, 8)) < 0.5, rng.normal(size=(15, 8)), 0.0).astype(np.float32)
    near = Neighbourhood(sparse.csr_array(dense))
    rows, columns = (rng.integers(n, size=40) for n in (15, 8))
    expected = [by_hand(dense.astype(np.float64), row, column) for row, column in zip(rows, columns, strict=True)]
    np.testing.assert_allclose(near.predict(rows, columns), expected, atol=1e-5)
    assert len(near.predict(rows[:0], columns[:0])) == 0


def test_only_the_nearest_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatoken.tasks.neighbourhood.NEAREST", 1)
    dense = np.array([[1, 1, -1], [1, 1, 0], [2, 2, 2], [0, 3, 1]], dtype=np.float32)
    # Column 1 is like column 0 in three rows, column 2 in two of which one disagrees: the first speaks alone.
    near = 3 / (3 + SHRINKAGE)
    found = Neighbourhood(sparse.csr_array(dense)).predict(np.array([0]), np.array([0]))
    np.testing.assert_allclose(found, near * 1 / (near + DAMPING), rtol=1e-5)


def test_it_finds_tastes_that_biases_miss(split: RowSplit, base: RatingBase) -> None:
    rows = rows_of(split.test)
    assert error(base.biases.predict(*rows), split.test) > 1.3
    assert error(base.known(*rows), split.test) < 0.6
    assert base.collaborative is not None
    assert (base.collaborative.weights >= 0).all()


def test_it_holds_training_ratings_alone_and_depends_on_nothing_but_the_seed(split: RowSplit, base: RatingBase) -> None:
    rows = rows_of(split.test)
    assert base.collaborative is not None
    assert base.collaborative.left.nnz == len(split.train)
    again = RatingBase.fit(split.train, split.validation, seed=0)
    np.testing.assert_array_equal(again.known(*rows), base.known(*rows))


def test_what_is_left_of_training_rows_was_not_seen(split: RowSplit, base: RatingBase) -> None:
    """A rating does not change what is said of it, which it does where it was trained on."""
    biases, rows = base.biases, rows_of(split.train)
    before = Unseen.of(split.train, biases, 0.2, seed=3)
    frame = split.train.frame
    users, items = (
        ids.column(frame[name]).to_list() for ids, name in ((split.train.users, "user"), (split.train.items, "item"))
    )
    other = frame["rating"].to_numpy().copy()
    other[7] = 1.0 if other[7] > 2 else 5.0
    log = Interactions.from_arrays(users, items, ratings=other.tolist())
    place = np.flatnonzero(
        (log.frame["user"] == log.users.row(users[7])).to_numpy()
        & (log.frame["item"] == log.items.row(items[7])).to_numpy()
    )
    after = Unseen.of(log, biases, 0.2, seed=3)
    assert after.biases[place[0]] == pytest.approx(before.biases[7])
    np.testing.assert_allclose(after.parts[place[0]], before.parts[7], atol=1e-6)
    own = Collaborative.fit(split.train, biases, 0.2, np.ones(3))
    seen = biases.predict(*rows) + own.factors.predict(*rows)
    assert error(seen, split.train) < error(before.biases + before.parts[:, 0], split.train)


def test_the_rest_is_what_the_base_leaves_over(split: RowSplit, base: RatingBase) -> None:
    held = rest_of(split.validation, base, fold_seed=None)
    expected = ratings_of(split.validation) - base.known(*rows_of(split.validation))
    np.testing.assert_allclose(held, expected / base.spread, atol=1e-5)
    trained = rest_of(split.train, base, fold_seed=0)
    np.testing.assert_allclose(
        trained, (ratings_of(split.train) - base.unseen(split.train, 0)) / base.spread, atol=1e-5
    )
    assert trained.std() == pytest.approx(1.0, abs=1e-4)
    assert not np.allclose(rest_of(split.train, base, fold_seed=1), trained)


def test_a_log_that_is_too_wide_has_no_neighbours(
    split: RowSplit, base: RatingBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are fewer items than users here, so that near items stay where near users are left out."""
    own, rows = base.collaborative, rows_of(split.test)
    assert own is not None
    own = replace(own, weights=np.ones(3))
    whole = own.parts(*rows)
    monkeypatch.setattr("metatoken.tasks.neighbourhood.WIDEST", split.train.n_users - 1)
    narrow = own.parts(*rows)
    np.testing.assert_array_equal(narrow[:, :2], whole[:, :2])
    assert not narrow[:, 2].any()
    monkeypatch.setattr("metatoken.tasks.neighbourhood.MOST", len(split.train) - 1)
    assert not own.parts(*rows)[:, 1:].any()


def test_it_comes_back_from_its_arrays(split: RowSplit, base: RatingBase) -> None:
    rows = rows_of(split.test)
    base.share["rating"] = 0.5
    assert base.errors is not None
    base.errors.calibrate("rating", base.known(*rows), ratings_of(split.test), *rows)
    found = RatingBase.from_tensors(base.tensors(), ["rating"])
    np.testing.assert_array_equal(found.known(*rows), base.known(*rows))
    assert found.share == {"rating": 0.5}
    assert found.errors is not None
    for ours, theirs in zip(
        found.errors.interval("rating", 0.8, found.known(*rows), *rows),
        base.errors.interval("rating", 0.8, base.known(*rows), *rows),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_an_older_base_is_its_biases(split: RowSplit) -> None:
    biases = RatingBias.fit(split.train, 5.0)
    arrays = {
        "user": biases.user, "item": biases.item, "shares": np.array([0.25]),
        "numbers": np.array([biases.mean, biases.low, biases.high, 5.0, 0.9]),
    }  # fmt: skip
    found, rows = RatingBase.from_tensors(arrays, ["rating"]), rows_of(split.test)
    np.testing.assert_array_equal(found.known(*rows), biases.predict(*rows))
    assert found.collaborative is None
    assert found.errors is None
    grown = found.grown(split.train.n_users + 1, split.train.n_items + 1)
    assert grown.known(np.array([split.train.n_users]), np.array([split.train.n_items]))[0] == biases.mean


def test_it_grows(split: RowSplit, base: RatingBase) -> None:
    rows, log = rows_of(split.test), split.train
    grown = base.grown(log.n_users + 2, log.n_items + 3)
    np.testing.assert_array_equal(grown.known(*rows), base.known(*rows))
    users, items = np.array([log.n_users, log.n_users + 1, 0]), np.array([0, log.n_items + 2, log.n_items])
    known = base.biases.mean + np.array([base.biases.item[0], 0.0, base.biases.user[0]])
    np.testing.assert_allclose(grown.known(users, items), np.clip(known, base.biases.low, base.biases.high))
    assert grown.errors is not None
    assert (grown.errors.width(users, items) > 0).all()


def test_other_ratings_keep_what_was_chosen(split: RowSplit, base: RatingBase) -> None:
    found = base.refitted(split.validation)
    assert base.collaborative is not None
    assert found.collaborative is not None
    np.testing.assert_array_equal(found.collaborative.weights, base.collaborative.weights)
    assert found.collaborative.left.nnz == len(split.validation)
    expected = left_over(split.validation, found.biases)
    np.testing.assert_array_equal(found.collaborative.left.toarray(), expected.toarray())


def test_intervals_hold_what_they_promise() -> None:
    """Errors of users who are easy and hard to foretell; half of the rows choose, the others are counted."""
    rng = np.random.default_rng(5)
    n = 8000
    users, items = rng.integers(40, size=n), rng.integers(30, size=n)
    log = Interactions.from_arrays([f"{u:02}" for u in users], [f"{i:02}" for i in items], ratings=[3.0] * n)
    users, items = rows_of(log)
    scale = np.where(users < 20, 0.3, 1.2)
    errors = rng.normal(scale=scale)
    found = RatingErrors.fit(log, errors)
    width = found.width(users, items)
    assert width[users < 20].mean() == pytest.approx(0.35, abs=0.01)  # drawn towards the mean
    assert width[users >= 20].mean() == pytest.approx(1.2, abs=0.03)
    half = rng.random(n) < 0.5
    zeros = np.zeros(n)
    found.calibrate("rating", zeros[half], errors[half], users[half], items[half])
    low, high = found.interval("rating", 0.8, zeros[~half], users[~half], items[~half])
    inside = (low <= errors[~half]) & (errors[~half] <= high)
    easy = users[~half] < 20
    assert inside.mean() == pytest.approx(0.8, abs=0.02)
    for part in (easy, ~easy):  # one width for all would hold nearly all errors of the one, and half of the other
        assert inside[part].mean() == pytest.approx(0.8, abs=0.08)
    with pytest.raises(ArgumentError, match=r"above 0 and below 1, e\.g\. 0\.8; got 80"):
        found.interval("rating", 80, zeros, users, items)
    with pytest.raises(ArgumentError, match="nothing was held out"):
        found.interval("review_rating", 0.8, zeros, users, items)


def test_a_share_that_the_rows_leave_in_doubt_is_none() -> None:
    rng = np.random.default_rng(0)
    added = rng.normal(size=400)
    noise = rng.normal(size=400)
    assert certain_share(added, 0.5 * added + noise) == best_share(added, 0.5 * added + noise) > 0.3
    assert certain_share(added, 3.0 * added + noise) == 1.0
    assert certain_share(added, -0.5 * added + noise) == 0.0
    assert certain_share(np.zeros(400), noise) == 0.0
    assert certain_share(np.zeros(0), np.zeros(0)) == 0.0
    assert certain_share(added, 0.5 * added) == 0.5
    assert certain_share(np.array([2.0]), np.array([1.0])) == 0.0  # one row fits itself
    assert certain_share(np.array([2.0, 0.0, 0.0]), np.array([1.0, 0.3, -0.2])) == 0.0
    # Of parts that say nothing, half are best with a share above 0, and one in forty passes for certain.
    shares = [(best_share(a, r), certain_share(a, r)) for a, r in rng.normal(size=(400, 2, 200))]
    best, certain = (np.mean([share > 0 for share in column]) for column in zip(*shares, strict=True))
    assert 0.4 < best < 0.6
    assert certain < 0.05


def test_the_doubt_of_a_share_is_that_of_repeated_rows() -> None:
    """Standard error by formula and by drawing the rows again, where they differ in how loud they are."""
    rng = np.random.default_rng(1)
    added = rng.normal(size=300)
    rest = 0.1 * added + rng.normal(size=300) * (0.2 + np.abs(added))
    draws = rng.integers(300, size=(4000, 300))
    weights = (added[draws] * rest[draws]).sum(1) / (added[draws] ** 2).sum(1)
    weight = added @ rest / (added @ added)
    for scale in (0.6, 1.0, 1.6):  # the share alone is changed by it, not its error
        shifted = rest + (scale - 1) * weight * added
        assert (certain_share(added, shifted) > 0) == (scale * weight > 2 * weights.std()), scale
