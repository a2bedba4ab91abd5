"""Caps and unique ids: exact where they say so, beside ids that are taken, and the same bytes for any threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from metatoken.data import Interactions, leave_last_out
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.tokens.codes.clustering import ClusterReport, Codebook, encode, fit, make_unique
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.vectors import skipgram
from tests.oracles import cluster as oracle


def blobs(n: int, dim: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, dim)) * 3
    return (centres[rng.integers(12, size=n)] + rng.normal(size=(n, dim))).astype(np.float32)


def plain_book(*centroids: np.ndarray) -> Codebook:
    arrays = tuple(np.asarray(c, np.float32) for c in centroids)
    return Codebook("residual", "euclidean", arrays, ClusterReport(1, None, (), (), (), 0))


# --- caps --------------------------------------------------------------------------------------------------------


def cheapest(cost: np.ndarray, room: list[int]) -> float:
    """Least total cost with at most `room[c]` rows in column c: an assignment to as many copies of each column."""
    wide = np.repeat(cost, room, axis=1)
    place = linear_sum_assignment(wide)
    return float(wide[place].sum())


@given(
    n=st.integers(2, 60), k=st.integers(1, 8), slack=st.integers(0, 5), seed=st.integers(0, 10**6), crowd=st.booleans()
)
@settings(max_examples=200, deadline=None)
def test_capped_labels_are_the_cheapest(n: int, k: int, slack: int, seed: int, crowd: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, size=(n, 3)).astype(np.float32)
    words = rng.integers(-4, 5, size=(k, 3)).astype(np.float32)
    if crowd:
        words[:-1] += 20  # one codeword is nearest to nearly all rows
    cap = -(-n // k) + slack
    codes = encode(plain_book(words, np.zeros((n, 3))), x, max_cluster_size=cap).codes[:, 0]
    assert np.bincount(codes).max() <= cap
    cost = oracle.squared_distances(x.astype(np.float64), words.astype(np.float64))
    assert cost[np.arange(n), codes].sum() == pytest.approx(cheapest(cost, [cap] * k), abs=1e-3)


@pytest.mark.parametrize("method", ["residual", "tree", "flat+rank"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_fit_keeps_within_the_cap(method: str, metric: str) -> None:
    x = np.concatenate([blobs(400, seed=1) * 0.05, blobs(200, seed=2)])
    free = fit(x, [10, 64], metric=metric)
    book = fit(x, [10, 64], method=method, metric=metric, max_cluster_size=64)
    assert max(free.report.sizes) > 64
    assert max(book.report.sizes) <= 64
    assert sum(book.report.sizes) == 600
    assert (book.report.balance, book.report.max_cluster_size) == ("exact", 64)
    assert 0 < book.report.moved < 600
    assert (free.report.balance, free.report.moved) == (None, 0)
    done = encode(book, x, max_cluster_size=64)
    assert np.bincount(done.codes[:, 0]).max() <= 64
    assert len(np.unique(done.codes, axis=0)) == 600


def test_centroids_follow_their_capped_rows() -> None:
    x = blobs(300, seed=3)
    book = fit(x, [10], max_cluster_size=30)
    assert book.report.sizes == (30,) * 10
    cost = oracle.squared_distances(x.astype(np.float64), book.centroids[0].astype(np.float64))
    assert book.report.inertia[0] == pytest.approx(cheapest(cost, [30] * 10), rel=1e-4)
    labels = encode(plain_book(book.centroids[0], np.zeros((30, 5))), x, max_cluster_size=30).codes[:, 0]
    means = np.stack([x[labels == k].mean(0) for k in range(10)])
    np.testing.assert_allclose(book.centroids[0], means, atol=1e-3)


def test_a_large_cap_changes_nothing_and_many_rows_are_capped_greedily() -> None:
    x = blobs(300, seed=4)
    assert fit(x, [10], max_cluster_size=300).centroids[0].tobytes() == fit(x, [10]).centroids[0].tobytes()
    many = blobs(70_000, seed=5)
    book = fit(many, [256], max_cluster_size=280, max_iterations=1)
    assert (book.report.balance, max(book.report.sizes)) == ("greedy", 280)


def test_equal_rows_fill_tokens_that_would_stay_unused() -> None:
    book = fit(np.ones((40, 3)), [5, 8], max_cluster_size=8)
    assert book.report.sizes == (8, 8, 8, 8, 8)
    assert len(np.unique(encode(book, np.ones((40, 3)), max_cluster_size=8).codes, axis=0)) == 40


def test_caps_that_cannot_be_kept_are_refused() -> None:
    x = blobs(100)
    book = fit(x, [10, 32])
    for call in (
        lambda: fit(x, [10], max_cluster_size=9),
        lambda: fit(x, [10], max_cluster_size=20, sample=50),
        lambda: fit(x, [10], max_cluster_size=0),
        lambda: encode(book, x, max_cluster_size=9),
        lambda: encode(book, x, max_cluster_size=0),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.argument == "max_cluster_size"


# --- ids that are taken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unique", ["assignment", "nearest", "counter"])
@pytest.mark.parametrize("levels", [[8, 32], [3, 5, 16], [150]])
def test_new_ids_keep_away_from_occupied_ones(unique: str, levels: list[int]) -> None:
    x = blobs(200, seed=6)
    kinds = np.arange(200) % 2
    book = fit(x, levels)
    old = encode(book, x[:120], kinds=kinds[:120], unique=unique).codes
    new = make_unique(
        book,
        book.assign(x[120:]),
        x[120:],
        occupied=old,
        kinds=kinds[120:],
        occupied_kinds=kinds[:120],
        unique=unique,
    )
    together = np.column_stack([np.concatenate([old, new.codes]), kinds])
    assert len(np.unique(together, axis=0)) == 200
    if unique != "counter":
        assert (new.codes < np.array(levels)).all()


def test_free_codewords_are_assigned_at_the_least_cost() -> None:
    x = blobs(80, seed=7)
    book = fit(x, [1, 100])
    old = encode(book, x[:40]).codes
    new = make_unique(book, book.assign(x[40:]), x[40:], occupied=old).codes
    free = np.setdiff1d(np.arange(100), old[:, 1])
    left = x[40:] - book.centroids[0][0].astype(np.float64)
    cost = oracle.squared_distances(left, book.centroids[1][free].astype(np.float64))
    place = linear_sum_assignment(cost)
    ours = cost[np.arange(40), np.searchsorted(free, new[:, 1])].sum()
    assert ours == pytest.approx(cost[place].sum(), rel=1e-5)


def test_a_full_prefix_sends_new_rows_elsewhere() -> None:
    words = np.array([[0.0, 0.0], [10.0, 0.0]])
    book = plain_book(words, np.array([[0.0, 0.0], [0.0, 1.0]]))
    old = np.array([[0, 0], [0, 1]], np.int32)
    new = make_unique(book, np.array([[0, 0], [0, 0]]), np.zeros((2, 2)), occupied=old)
    assert sorted(new.codes.tolist()) == [[1, 0], [1, 1]]
    assert new.kept_share == 0
    with pytest.raises(ArgumentError, match="5 rows of one kind do not fit the 4 codes"):
        make_unique(book, np.zeros((3, 2), int), np.zeros((3, 2)), occupied=old)
    with pytest.raises(ArgumentError, match="max_cluster_size"):
        make_unique(book, np.zeros((2, 2), int), np.zeros((2, 2)), occupied=old, max_cluster_size=1)


def test_counters_take_the_lowest_free_count() -> None:
    book = plain_book(np.zeros((1, 2)))
    codes = make_unique(
        book, np.zeros((3, 1), int), np.zeros((3, 2)), occupied=np.array([[0, 1], [0, 4]]), unique="counter"
    ).codes
    assert codes.tolist() == [[0, 0], [0, 2], [0, 3]]


def test_new_rows_of_a_ranked_codebook_take_free_ranks() -> None:
    x = blobs(150, seed=8)
    book = fit(x, [6, 120], method="flat+rank")
    old = encode(book, x[:100]).codes
    new = make_unique(book, book.assign(x[100:]), x[100:], occupied=old).codes
    np.testing.assert_array_equal(new[:, 0], book.assign(x[100:])[:, 0])
    assert len(np.unique(np.concatenate([old, new]), axis=0)) == 150


def test_codes_that_are_none_are_refused() -> None:
    x = blobs(20)
    book = fit(x, [4, 16])
    near = book.assign(x)
    for change, argument in [
        ({"codes": near[:5]}, "codes"),
        ({"codes": near[:, :1]}, "codes"),
        ({"codes": near + 20}, "codes"),
        ({"codes": near - 20}, "codes"),
        ({"codes": near.astype(float)}, "codes"),
        ({"occupied": near[:, 0]}, "occupied"),
        ({"occupied": near[:1] + 50}, "occupied"),
        ({"occupied": near[[0, 0]]}, "occupied"),
        ({"occupied": near[:1], "occupied_kinds": [1, 2]}, "occupied_kinds"),
        ({"kinds": [1]}, "kinds"),
        ({"unique": "never"}, "unique"),
        ({"x": np.where(np.arange(20)[:, None] == 7, np.nan, x)}, "x"),
    ]:
        with pytest.raises(ArgumentError) as caught:
            make_unique(**{"codebook": book, "codes": near, "x": x, **change})
        assert caught.value.argument == argument
    make_unique(book, near, x, occupied=near[[0, 0]], occupied_kinds=[0, 1])


# --- the same bytes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "levels", "options"),
    [
        ("residual", [16, 64], {"sample": 3000}),
        ("tree", [8, 8, 16], {"sample": 700}),
        ("flat+rank", [9, 9000], {"sample": 3000}),
        ("residual", [64, 128], {"max_cluster_size": 150}),
        ("tree", [16, 8, 16], {"max_cluster_size": 600}),
        ("residual", [16, 64], {"init": "random"}),
    ],
)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_threads_and_runs_give_the_same_bytes(method: str, levels: list[int], options: dict, metric: str) -> None:
    x = blobs(9001, 7, seed=9)
    kinds = np.arange(9001) % 40
    results = []
    for threads in (1, 2, 8, 2):
        book = fit(x, levels, method=method, metric=metric, threads=threads, max_iterations=5, **options)
        found = [book.report, *(c.tobytes() for c in book.centroids), book.assign(x, threads=threads).tobytes()]
        for unique in ("assignment", "nearest", "counter", "none"):
            done = encode(book, x, kinds=kinds, unique=unique, threads=threads)
            found += [done.codes.tobytes(), done.kept_share, done.error_before, done.error_after]
        results.append(found)
    assert results[0] == results[1] == results[2] == results[3]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_sampled_tree_descends_into_its_own_rows(metric: str) -> None:
    x = blobs(5000, seed=10)
    book = fit(x, [6, 8, 8], method="tree", metric=metric, sample=600)
    whole = fit(x, [6, 8, 8], method="tree", metric=metric)
    assert book.report.sample == 600
    assert sum(book.report.sizes) == 5000
    for ours, theirs in zip(book.report.inertia, whole.report.inertia, strict=True):
        assert ours < 1.1 * theirs
    rows = oracle.normalise(x.astype(np.float64)) if metric == "cosine" else x.astype(np.float64)
    cost = oracle.squared_distances(rows, book.centroids[0].astype(np.float64))
    assert book.report.inertia[0] == pytest.approx(cost.min(1).sum(), rel=0.02 if metric == "cosine" else 1e-4)


# --- real items --------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.slow
def test_beauty_items_get_two_tokens_each(shared_data) -> None:
    """128 clusters x 256 shared offsets: about a tenth more error, more than half of the items keep their nearest."""
    split = leave_last_out(Interactions.read(shared_data / "beauty" / "user_sequence.txt", "sequences"))
    graph = Graph.from_interactions(split.train)
    found = skipgram.fit(graph, ("user-item-user", "item-user-item"), walks_per_node=4, seed=0)
    x = found.vectors[found.n_users :][found.trained[found.n_users :]]
    book = fit(x, [128, 256], seed=0, max_cluster_size=256)
    done = encode(book, x)
    print(f"{len(x)} items: {done.kept_share:.3f} keep, error {done.error_before:.3f} -> {done.error_after:.3f}")
    assert len(np.unique(done.codes, axis=0)) == len(x) > 11_000
    assert done.codes.shape[1] == 2
    assert np.bincount(done.codes[:, 0]).max() <= 256
    assert done.kept_share > 0.4
    assert done.error_after < 1.25 * done.error_before


def test_a_codebook_is_saved_alone(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    book = fit(rows, [4, 4], seed=0)
    book.save(tmp_path / "book")
    again = Codebook.load(tmp_path / "book")
    assert (again.method, again.metric, again.report) == (book.method, book.metric, book.report)
    np.testing.assert_array_equal(again.assign(rows), book.assign(rows))
    fit(rows, [8], seed=0).save(tmp_path / "book")  # an older one is replaced
    assert Codebook.load(tmp_path / "book").levels == (8,)
    (tmp_path / "book" / "centroids.safetensors").write_bytes(b"altered")
    with pytest.raises(ArtifactError, match="altered"):
        Codebook.load(tmp_path / "book")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(ArtifactError):
        book.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "mine"
