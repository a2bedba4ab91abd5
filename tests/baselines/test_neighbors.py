"""item_knn and ease against slow twins, and how their settings are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from metatoken.baselines import EASE, ItemKNN, ease, item_knn
from metatoken.baselines.baseline import Origin
from metatoken.baselines.neighbors import Neighbors, users_by_items
from metatoken.baselines.settings import EASESettings, ItemKNNSettings
from metatoken.data import Sequences, leave_last_out, no_split
from metatoken.errors import ArgumentError
from tests.oracles import baselines as oracle
from tests.predict.test_transitions import log_of

ORIGIN = Origin("nothing", 0, 0.0)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    n_items = draw(st.integers(2, 9))
    return n_items, draw(st.lists(st.lists(st.integers(0, n_items - 1), max_size=7), min_size=1, max_size=8))


@given(world=worlds(), shrinkage=st.sampled_from([0.0, 1.0, 7.5]), k=st.integers(1, 9), block=st.integers(1, 4))
def test_item_knn_equals_its_slow_twin(world: Any, shrinkage: float, k: int, block: int) -> None:
    n_items, sequences = world
    matrix = users_by_items(log_of(sequences, n_items))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_knn, "BLOCK", block)
        found = item_knn.similarities(matrix, shrinkage, k)
    expected = oracle.item_knn(oracle.who_met_what(sequences, n_items), shrinkage, n_items)
    # Equal entries may round apart, so which of them the cut keeps is compared by their values.
    assert np.diff(found.indptr).max() <= k
    kept = found.toarray()
    np.testing.assert_allclose(kept[kept > 0], expected[kept > 0], rtol=1e-5)
    np.testing.assert_allclose(
        np.sort(kept, axis=1)[:, ::-1][:, :k], np.sort(expected, axis=1)[:, ::-1][:, :k], rtol=1e-5
    )


@given(world=worlds(), regularization=st.sampled_from([0.5, 10.0]), block=st.integers(1, 4))
def test_ease_equals_its_slow_twin(world: Any, regularization: float, block: int) -> None:
    n_items, sequences = world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ease, "BLOCK", block)
        found = ease.weights(users_by_items(log_of(sequences, n_items)), regularization, n_items)
    expected = oracle.ease(oracle.who_met_what(sequences, n_items), regularization, n_items)
    np.testing.assert_allclose(found.toarray(), expected, atol=2e-6)


def test_ease_keeps_the_largest_weights_of_either_sign(split: Any) -> None:
    sequences = list(split.train.sequences())
    found = ease.weights(users_by_items(split.train), 20.0, 7).toarray()
    expected = oracle.ease(oracle.who_met_what(sequences, split.train.n_items), 20.0, 7)
    assert ((found != 0).sum(axis=1) == 7).all()
    assert (found < 0).any()
    np.testing.assert_allclose(found, expected, atol=2e-6)


@given(
    lists=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=5),
    decay=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_scores_equal_their_slow_twin(lists: list[list[int]], decay: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(6, 6)) * (rng.random((6, 6)) < 0.5)
    popularity = rng.dirichlet(np.ones(6)).astype(np.float32)
    settings = ItemKNNSettings(decay=(decay,))
    ranker: Neighbors = ItemKNN(settings, ORIGIN, sparse.csr_array(weights.astype(np.float32)), popularity)
    found = ranker.scores(Sequences.of(lists), np.arange(len(lists)))
    expected = [oracle.scores(one, weights, popularity, decay) for one in lists]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_an_item_of_another_catalogue_is_refused() -> None:
    ranker = ItemKNN(ItemKNNSettings(), ORIGIN, sparse.csr_array((3, 3), dtype=np.float32), np.ones(3, np.float32) / 3)
    with pytest.raises(ArgumentError, match="expected item rows from 0 to 2, got 3"):
        ranker.scores(Sequences.of([[0, 3]]), np.array([0]))


@pytest.mark.parametrize(
    ("kind", "grid"),
    [
        (ItemKNN, ItemKNNSettings(neighbors=(2, 30), shrinkage=(0.0, 5.0), decay=(1.0, 0.3))),
        (EASE, EASESettings(regularization=(1.0, 300.0), decay=(1.0, 0.3))),
    ],
)
def test_the_best_of_the_grid_is_chosen_on_validation(kind: Any, grid: Any, split: Any) -> None:
    steps: list[tuple[int, int]] = []
    chosen = kind.fit(split, grid, progress=lambda *step: steps.append(step))
    history, targets = split.history("validation"), split.validation
    values = {name: value for name, value in vars(grid).items() if isinstance(value, tuple)}
    found = {}
    for cell in np.ndindex(*map(len, values.values())):
        single = {name: (value[at],) for (name, value), at in zip(values.items(), cell, strict=True)}
        one = kind.fit(split, kind.options.of(grid, single))
        scores = one.scores(history, targets.users)
        found[one.settings] = oracle.ndcg(scores, targets.items.tolist(), list(history.take(targets.users)))
        assert one.origin.ndcg == pytest.approx(found[one.settings], abs=1e-6)
    assert steps == [(n, len(found)) for n in range(1, len(found) + 1)]
    assert found[chosen.settings] == max(found.values())
    assert found[chosen.settings] > min(found.values())  # else any choice would pass


def test_what_cannot_be_fitted_is_refused(split: Any) -> None:
    with pytest.raises(ArgumentError, match=r"matrix of 100 items .* max_items allows 99"):
        EASE.fit(split, EASESettings(max_items=99))
    with pytest.raises(ArgumentError, match="holds nothing out"):
        ItemKNN.fit(no_split(split.log))
    with pytest.raises(ArgumentError, match="decay: expected a list of at least one"):
        ItemKNN.fit(split, ItemKNNSettings(decay=()))
    for wild in ({"decay": (1e300,)}, {"shrinkage": (1e300,)}):  # of which float32 makes infinity
        with pytest.raises(ArgumentError, match=r"expected a number of at least 0 and at most 1"):
            ItemKNNSettings(**wild)
    alike = leave_last_out(log_of([[0, 1, 2, 3]], 4))  # items of one user: a singular matrix
    with pytest.raises(ArgumentError, match="too small for this log"):
        EASE.fit(alike, EASESettings(regularization=(1e-30,)))
