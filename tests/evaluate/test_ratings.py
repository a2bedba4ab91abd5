import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.data import Interactions, random_split
from metatoken.errors import ArgumentError
from metatoken.evaluate.baselines import GlobalMean
from metatoken.evaluate.ratings import number_in, rating_metrics, written_ratings
from metatoken.tasks.biases import RatingBias

RATINGS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcde"), st.sampled_from([1.0, 2.0, 3.5, 5.0])),
    min_size=1,
    max_size=30,
)
VALUES = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=20)


def log_of(rows):
    users, items, ratings = map(list, zip(*rows, strict=True))
    return Interactions.from_arrays(users, items, ratings=ratings)


@given(VALUES)
def test_metrics_agree_with_torch(values):
    predicted, actual = (np.array(column) for column in zip(*values, strict=True))
    found = rating_metrics(predicted, actual)
    p, r = torch.from_numpy(predicted), torch.from_numpy(actual)
    assert found["rmse"] == pytest.approx(torch.nn.functional.mse_loss(p, r).sqrt().item(), abs=1e-12)
    assert found["mae"] == pytest.approx(torch.nn.functional.l1_loss(p, r).item(), abs=1e-12)


@settings(max_examples=50)
@given(RATINGS, st.sampled_from([0.5, 3.0, 25.0]))
def test_biases_are_the_ridge_solution(rows, damping):
    """Against the normal equations, solved densely."""
    log = log_of(rows)
    fit = RatingBias.fit(log, damping)
    users, items = log.frame["user"].to_numpy(), log.frame["item"].to_numpy()
    ratings = log.frame["rating"].to_numpy().astype(np.float64)
    design = np.zeros((len(log), log.n_users + log.n_items))
    design[np.arange(len(log)), users] = 1
    design[np.arange(len(log)), log.n_users + items] = 1
    normal = design.T @ design + damping * np.eye(design.shape[1])
    exact = np.linalg.solve(normal, design.T @ (ratings - ratings.mean()))
    np.testing.assert_allclose(np.concatenate([fit.user, fit.item]), exact, atol=1e-6)
    wanted = np.clip(ratings.mean() + design @ exact, ratings.min(), ratings.max())
    np.testing.assert_allclose(fit.predict(users, items), wanted, atol=1e-6)


def test_biases_beat_the_mean_where_people_differ():
    rng = np.random.default_rng(0)
    user, item = rng.normal(size=40), rng.normal(size=30)
    rows = [(f"u{u}", f"i{i}", float(3 + user[u] + item[i])) for u in range(40) for i in range(30)]
    split = random_split(log_of(rows), seed=0)
    users, items = (split.test.frame[name].to_numpy() for name in ("user", "item"))
    actual = split.test.frame["rating"].to_numpy()
    mean = rating_metrics(np.full(len(actual), GlobalMean.fit(split.train).mean), actual)["rmse"]
    chosen = RatingBias.choose(split.train, split.validation)
    assert rating_metrics(chosen.predict(users, items), actual)["rmse"] < 0.2 * mean
    assert chosen.damping == 1  # the data are exactly additive: the least damping is best


def test_unknown_users_get_the_item_alone():
    log = log_of([("u", "a", 1.0), ("u", "b", 5.0), ("v", "b", 5.0)])
    only_u = log.with_rows(log.frame["user"].to_numpy() == 0)
    fit = RatingBias.fit(only_u, 1.0)
    assert fit.user[1] == 0.0
    assert fit.predict(np.array([1]), np.array([1]))[0] == pytest.approx(fit.mean + fit.item[1])


@pytest.mark.shared_data
def test_musical_instruments(shared_data):
    log = Interactions.read(
        shared_data / "musical_instruments" / "reviews.jsonl.gz",
        user="reviewerID",
        item="asin",
        time="unixReviewTime",
        rating="overall",
    )
    split = random_split(log, seed=0)
    users, items = (split.test.frame[name].to_numpy() for name in ("user", "item"))
    actual = split.test.frame["rating"].to_numpy()
    bias = rating_metrics(RatingBias.choose(split.train, split.validation).predict(users, items), actual)
    mean = rating_metrics(np.full(len(actual), GlobalMean.fit(split.train).mean), actual)
    assert bias["rmse"] < mean["rmse"] < 1.0
    assert len(split.test) == round(0.1 * len(log))


def test_bad_arguments():
    log = log_of([("u", "a", 1.0)])
    with pytest.raises(ArgumentError, match="damping: expected a number above 0, got 0"):
        RatingBias.fit(log, 0)
    with pytest.raises(ArgumentError, match="expected interactions with ratings"):
        GlobalMean.fit(Interactions.from_arrays(["u"], ["a"]))
    with pytest.raises(ArgumentError, match="expected as many values as ratings"):
        rating_metrics(np.zeros(2), np.zeros(3))
    with pytest.raises(ArgumentError, match="expected finite values"):
        rating_metrics(np.array([np.nan]), np.zeros(1))


@pytest.mark.parametrize(
    ("text", "number"), [("4", 4.0), ("about 3.5 of 5", 3.5), ("5.", 5.0), ("", None), ("good", None)]
)
def test_the_first_number_counts(text, number):
    assert np.isnan(number_in(text)) if number is None else number_in(text) == number


def test_a_number_beyond_the_ratings_of_training_counts_as_the_nearest_of_these():
    known = np.array([1.0, 2.0, 4.0, 5.0])
    values, none = written_ratings(["4", "9" * 64, "0", "good", "9" * 400], known)
    assert values.tolist() == [4.0, 5.0, 1.0, 3.0, 5.0]
    assert none == 1 / 5
