"""What every ranker, rater and writer keeps, model or baseline; a new one inherits the tests of its kind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metatoken.baselines import BASELINES
from metatoken.baselines.settings import BaselineSettings
from metatoken.data import Sequences
from metatoken.errors import ArgumentError
from metatoken.evaluate.baselines import GlobalMean, ItemNeighbors, NearestPair, NearestText
from metatoken.evaluate.factorization import Factorization
from metatoken.model.heads.top import TOLERANCE
from metatoken.predict.fusion import Fusion
from metatoken.predict.ranker import ModelRanker, Ranker
from metatoken.predict.rater import BaseRater, ModelRater, Rater
from metatoken.predict.transitions import Popularity, TransitionGraph
from metatoken.predict.writer import ModelWriter, Writer
from metatoken.tasks.biases import RatingBias
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.task import find_task
from tests.conftest import TrainedRun


class RankerContract:
    """Distributions over the catalogue that depend on a user's history alone."""

    @pytest.fixture
    def history(self, trained_run: TrainedRun) -> Sequences:
        histories = trained_run.run.split.history("test")
        return Sequences.of([*histories.take(np.arange(7)), []])

    def test_rows_are_distributions(self, ranker: Ranker, history: Sequences, trained_run: TrainedRun) -> None:
        scores = ranker.scores(history, np.arange(len(history)))
        assert scores.dtype == np.float32
        assert scores.shape == (len(history), trained_run.run.split.log.n_items)
        assert (scores >= 0).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)

    def test_a_row_is_that_of_its_history_whatever_the_batch(self, ranker: Ranker, history: Sequences) -> None:
        users = np.array([3, 0, 7, 3])
        together = ranker.scores(history, users)
        for row, user in enumerate(users):
            alone = ranker.scores(Sequences.of([history[user]]), np.array([0]))
            np.testing.assert_allclose(together[row], alone[0], rtol=TOLERANCE, atol=1e-9)

    def test_asking_twice_gives_the_same(self, ranker: Ranker, history: Sequences) -> None:
        users = np.arange(len(history))
        assert np.array_equal(ranker.scores(history, users), ranker.scores(history, users))

    def test_nobody_is_no_error_and_a_stranger_is(self, ranker: Ranker, history: Sequences) -> None:
        assert len(ranker.scores(history, np.zeros(0, dtype=np.int64))) == 0
        with pytest.raises(ArgumentError, match="users"):
            ranker.scores(history, np.array([len(history)]))


class TestPopularity(RankerContract):
    @pytest.fixture
    def ranker(self, trained_run: TrainedRun) -> Ranker:
        return Popularity.fit(trained_run.run.split.train)


class TestTransitionGraph(RankerContract):
    @pytest.fixture
    def ranker(self, trained_run: TrainedRun) -> Ranker:
        return TransitionGraph.fit(trained_run.run.split.train)


@pytest.fixture(scope="module", params=list(BASELINES))
def fitted(trained_run: TrainedRun, request: pytest.FixtureRequest) -> Ranker:
    settings = BaselineSettings(sasrec={"dim": 8, "epochs": 2})  # type: ignore[arg-type]
    return BASELINES[request.param].fit(trained_run.run.split, getattr(settings, request.param))


class TestFittedBaselines(RankerContract):
    @pytest.fixture
    def ranker(self, fitted: Ranker) -> Ranker:
        return fitted


class TestModelRanker(RankerContract):
    @pytest.fixture(params=[Fusion(1.0, 0.0, 0.0), Fusion(0.4, 0.2, 0.4)], ids=["item head", "fused"])
    def ranker(self, trained_run: TrainedRun, request: pytest.FixtureRequest) -> Ranker:
        prior = TransitionGraph.fit(trained_run.run.split.train)
        return ModelRanker(trained_run.run.module, prior, request.param)


@pytest.fixture
def pairs(answering_run: TrainedRun, task: str) -> Pairs:
    run = answering_run.run
    return Pairs.of(find_task(task), run.split.pairs.test, run.module.tokenizer, 24).take(np.arange(9))


class RaterContract:
    """Ratings within the range of training that depend on their pair alone."""

    @pytest.fixture
    def task(self) -> str:
        return "rating"

    def test_ratings_are_of_the_range_of_training(self, rater: Rater, pairs: Pairs, answering_run: TrainedRun) -> None:
        known = answering_run.run.split.train.frame["rating"]
        found = rater.rate(pairs)
        assert found.dtype == np.float64
        assert found.shape == (len(pairs),)
        assert np.isfinite(found).all()
        assert known.min() <= found.min()
        assert found.max() <= known.max()

    def test_a_rating_is_that_of_its_pair_whatever_the_batch(self, rater: Rater, pairs: Pairs) -> None:
        rows = np.array([4, 0, 4])
        alone = [rater.rate(pairs.take(np.array([row])))[0] for row in rows]
        np.testing.assert_allclose(rater.rate(pairs.take(rows)), alone, rtol=1e-5)

    def test_no_pair_has_no_rating(self, rater: Rater, pairs: Pairs) -> None:
        assert len(rater.rate(pairs.take(np.arange(0)))) == 0


class TestGlobalMean(RaterContract):
    @pytest.fixture
    def rater(self, answering_run: TrainedRun) -> Rater:
        return GlobalMean.fit(answering_run.run.split.train)


class TestRatingBias(RaterContract):
    @pytest.fixture
    def rater(self, answering_run: TrainedRun) -> Rater:
        return RatingBias.fit(answering_run.run.split.train)


class TestItemNeighbors(RaterContract):
    @pytest.fixture
    def rater(self, answering_run: TrainedRun) -> Rater:
        pairs = answering_run.run.split.pairs
        assert pairs is not None
        return ItemNeighbors.fit(pairs.train, pairs.validation)

    def test_a_log_that_is_too_large_is_refused(
        self, answering_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pairs = answering_run.run.split.pairs
        assert pairs is not None
        monkeypatch.setattr("metatoken.tasks.neighbourhood.MOST", 10)
        with pytest.raises(ArgumentError, match=r"comparing 60 items by .* ratings takes too long"):
            ItemNeighbors.fit(pairs.train, pairs.validation)


class TestBaseRater(RaterContract):
    @pytest.fixture
    def rater(self, answering_run: TrainedRun) -> Rater:
        return BaseRater(answering_run.run.module)


class TestFactorization(RaterContract):
    @pytest.fixture
    def rater(self, answering_run: TrainedRun) -> Rater:
        return Factorization.fit(answering_run.run.split.train, factors=4, epochs=2)


class TestModelRater(RaterContract):
    @pytest.fixture(params=["rating", "review_rating"])
    def task(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def rater(self, answering_run: TrainedRun) -> Rater:
        return ModelRater(answering_run.run.module)


class WriterContract:
    """Texts that depend on their pair alone."""

    @pytest.fixture
    def task(self) -> str:
        return "review_summary"

    def test_every_pair_has_a_text(self, writer: Writer, pairs: Pairs) -> None:
        found = writer.write(pairs)
        assert len(found) == len(pairs)
        assert all(isinstance(text, str) for text in found)

    def test_a_text_is_that_of_its_pair_whatever_the_batch(self, writer: Writer, pairs: Pairs) -> None:
        rows = np.array([4, 0, 4])
        assert writer.write(pairs.take(rows)) == [writer.write(pairs.take(np.array([row])))[0] for row in rows]

    def test_no_pair_has_no_text(self, writer: Writer, pairs: Pairs) -> None:
        assert writer.write(pairs.take(np.arange(0))) == []


def training_pairs(run: Any, task: str) -> Pairs:
    return Pairs.of(find_task(task), run.split.train, run.module.tokenizer, 24)


class TestNearestPair(WriterContract):
    @pytest.fixture
    def writer(self, answering_run: TrainedRun, task: str) -> Writer:
        run = answering_run.run
        return NearestPair.of(run.module.vocabulary, training_pairs(run, task))


class TestNearestText(WriterContract):
    @pytest.fixture
    def writer(self, answering_run: TrainedRun, task: str) -> Writer:
        return NearestText.of("review", training_pairs(answering_run.run, task))


class TestModelWriter(WriterContract):
    @pytest.fixture(params=["explanation", "review_summary"])
    def task(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def writer(self, answering_run: TrainedRun) -> Writer:
        return ModelWriter(answering_run.run.module)


def test_a_model_without_ratings_does_not_rate(trained_run: TrainedRun) -> None:
    with pytest.raises(ArgumentError, match="RatingBase"):
        ModelRater(trained_run.run.module)
    with pytest.raises(ArgumentError, match="expected pairs of a log with ratings"):
        Pairs.true_ratings(SimpleNamespace(ratings=None))  # type: ignore[arg-type]
