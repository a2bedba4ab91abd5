"""Clustering and encoding equal their NumPy twins, for every kernel and any number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from metatoken._core import cluster as native
from metatoken._core import codes as native_codes
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.tokens.codes import clustering
from metatoken.tokens.codes.clustering import ClusterReport, Codebook, auto_levels, encode, fit
from tests.oracles import cluster as oracle

METHODS = [("residual", [8, 16]), ("tree", [8, 16]), ("flat+rank", [8, 300])]


def blobs(n: int = 300, dim: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, dim)) * 3
    return (centres[rng.integers(12, size=n)] + rng.normal(size=(n, dim))).astype(np.float32)


def native_fit(
    x, levels, method="residual", *, metric="euclidean", iterations=20, sample=None, kernel=None, init="k-means++"
):
    return native.fit(x, levels, method, metric, init, 7, iterations, sample, None, 1, kernel, None)


def unique_codes(x, centroids, kinds, *, threads):
    report = ClusterReport(len(x), None, (), (), (), 0)
    book = Codebook("residual", "euclidean", tuple(centroids), report)
    return encode(book, x, kinds=kinds, unique="nearest", threads=threads).codes


# --- k-means, residual, tree -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", native.kernels())
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("iterations", [0, 1, 2, 3, 20])
def test_lloyd_equals_oracle_step_by_step(kernel, metric, iterations):
    x = blobs()
    centroids, codes, *_ = native_fit(x, [20], metric=metric, iterations=iterations, kernel=kernel)
    expected, labels = oracle.residual(x, [20], metric, 7, iterations)
    np.testing.assert_array_equal(codes, labels)
    np.testing.assert_allclose(centroids[0], expected[0], atol=1e-5)


@pytest.mark.parametrize("kernel", native.kernels())
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_residual_equals_oracle(kernel, metric):
    x = blobs(seed=1)
    centroids, codes, inertia, *_ = native_fit(x, [10, 12, 5], metric=metric, kernel=kernel)
    expected, labels = oracle.residual(x, [10, 12, 5], metric, 7, 20)
    np.testing.assert_array_equal(codes, labels)
    for ours, theirs in zip(centroids, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    rows = oracle.normalise(x.astype(np.float64)) if metric == "cosine" else x
    decoded = sum(c[codes[:, level]].astype(np.float64) for level, c in enumerate(centroids))
    assert inertia[-1] == pytest.approx(((rows - decoded) ** 2).sum(), rel=1e-4)


def test_tree_nodes_equal_oracle():
    """Siblings may be renamed by the shared codebook, so partitions are compared, not names."""
    x = blobs(400, seed=2)
    _, codes, *_ = native_fit(x, [5, 6, 4], "tree")
    paths = oracle.tree_partition(x, [5, 6, 4], 7, 20)
    for depth in (1, 2, 3):
        ours = [tuple(row[:depth]) for row in codes.tolist()]
        theirs = [path[:depth] for path in paths]
        assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True)))


def test_tree_children_keep_distinct_tokens_and_share_offsets():
    x = blobs(600, seed=3)
    centroids, codes, *_ = native_fit(x, [6, 8], "tree")
    parents = np.stack([x[codes[:, 0] == k].astype(np.float64).mean(0) for k in range(6)])
    np.testing.assert_allclose(centroids[0], parents, atol=1e-4)
    # A shared offset is the mean, over the rows below it, of (child centroid - parent centroid), hence of x - parent.
    left = x - parents[codes[:, 0]]
    for token in range(8):
        np.testing.assert_allclose(centroids[1][token], left[codes[:, 1] == token].mean(0), atol=1e-4)


def test_many_rows_are_sampled_by_themselves(monkeypatch):
    x = np.random.default_rng(0).normal(size=(1500, 4)).astype(np.float32)
    monkeypatch.setattr(clustering, "MANY", 1499)
    monkeypatch.setattr(clustering, "A_TOKEN", 50)
    found = fit(x, [8, 12], seed=1)
    assert found.report.sample == 600
    assert found.centroids[0].tobytes() == fit(x, [8, 12], seed=1, sample=600).centroids[0].tobytes()
    assert fit(x, [8, 12], seed=1, sample=1500).report.sample is None
    assert fit(x, [8, 12], seed=1, max_cluster_size=400).report.sample is None
    assert fit(x[:1499], [8, 12], seed=1).report.sample is None


def test_sample_is_reported_and_close():
    x = blobs(3000, seed=4)
    whole, part = fit(x, [12], seed=1), fit(x, [12], seed=1, sample=500)
    assert (whole.report.sample, part.report.sample) == (None, 500)
    assert part.report.inertia[0] < 1.3 * whole.report.inertia[0]
    picked = oracle.sorted_sample(3000, 500, 7, 0)
    inner, _, _ = oracle.lloyd(
        rows := oracle.prepare(x, "euclidean")[0][picked], oracle.seed_centres(rows, 12, 7, 0), 20
    )
    expected, labels, _ = oracle.lloyd(oracle.prepare(x, "euclidean")[0], inner, 1)
    centroids, codes, *_ = native_fit(x, [12], sample=500)
    np.testing.assert_array_equal(codes[:, 0], labels)
    np.testing.assert_allclose(centroids[0], expected + x.mean(0, dtype=np.float64), atol=1e-5)


def test_empty_cluster_takes_the_farthest_row():
    centres = np.array([[0.0], [0.2], [50.0]])
    x = np.array([[0.0], [0.1], [0.3], [9.0]])
    found, labels, _ = oracle.lloyd(x, centres, 20)
    assert len(set(labels)) == 3
    assert found[labels[3]] == 9.0
    # The native routine meets the same on data where greedy seeding leaves a cluster empty: all K stay in use.
    duplicates = np.repeat(np.arange(10.0)[:, None], 5, axis=0)
    book = fit(duplicates, [10])
    assert book.report.inertia[0] == pytest.approx(0, abs=1e-9)


# --- assignment and encoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", native.kernels())
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("sizes", [(1, 3), (24, 25), (64, 17), (130, 7)])
@pytest.mark.parametrize("dim", [1, 16, 33])
def test_assign_equals_oracle(kernel, metric, sizes, dim):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(203, dim)).astype(np.float32)
    centroids = [rng.normal(size=(k, dim)).astype(np.float32) for k in sizes]
    codes = native_codes.assign(x, centroids, metric, 1, kernel, None)
    expected = oracle.greedy_codes(x, centroids, metric)
    if dim > 1 or metric == "euclidean":
        np.testing.assert_array_equal(codes, expected)
    else:  # one dimension under cosine is all ties: the lowest index of the right sign
        np.testing.assert_array_equal(codes[:, 0], expected[:, 0])


def test_ties_go_to_the_lowest_index():
    centroids = [np.ones((70, 3), dtype=np.float32)]
    for kernel in native.kernels():
        assert not native_codes.assign(np.zeros((9, 3), np.float32), centroids, "euclidean", 1, kernel, None).any()


def test_far_from_zero_is_no_problem():
    x = blobs(seed=6)
    near, far = fit(x, [12, 8]), fit(x.astype(np.float64) + 1000, [12, 8])
    assert far.report.inertia[1] == pytest.approx(near.report.inertia[1], rel=0.1)
    assert (far.assign(x + np.float32(1000)) == near.assign(x)).mean() > 0.9


@given(
    rows=st.integers(0, 12), extra=st.integers(0, 6), seed=st.integers(0, 1000), values=st.sampled_from([2, 5, 10**6])
)
@settings(max_examples=150, deadline=None)
def test_linear_assignment_equals_scipy(rows, extra, seed, values):
    columns = max(1, rows + extra)
    cost = np.random.default_rng(seed).integers(-values, values, size=(rows, columns)).astype(np.float64)
    found = native.linear_assignment(cost)
    assert len(set(found.tolist())) == rows
    place, expected = linear_sum_assignment(cost)
    assert cost[np.arange(rows), found].sum() == cost[place, expected].sum()


def test_large_linear_assignment_equals_scipy():
    cost = np.random.default_rng(0).random((150, 256))
    place, expected = linear_sum_assignment(cost)
    np.testing.assert_array_equal(native.linear_assignment(cost), expected[place])


@pytest.mark.parametrize("method", ["residual", "tree"])
@pytest.mark.parametrize("unique", ["assignment", "nearest"])
@pytest.mark.parametrize("levels", [[8, 32], [4, 8, 8], [3, 5, 14]])
def test_codes_are_unique_within_a_kind(method, unique, levels):
    x = blobs(400, seed=8)
    kinds = np.random.default_rng(1).integers(2, size=400)
    book = fit(x, levels, method=method)
    done = encode(book, x, kinds=kinds, unique=unique)
    for kind in (0, 1):
        own = done.codes[kinds == kind]
        assert len(np.unique(own, axis=0)) == len(own)
    assert ((done.codes >= 0) & (done.codes < np.array(levels))).all()
    kept = (done.codes == book.assign(x)).all(1).mean()
    assert done.kept_share == pytest.approx(kept)
    for codes, error in ((book.assign(x), done.error_before), (done.codes, done.error_after)):
        lost = ((x - book.decode(codes)).astype(np.float64) ** 2).sum()
        assert error == pytest.approx(lost / ((x - x.mean(0, dtype=np.float64)) ** 2).sum(), rel=1e-4)


def test_last_level_is_the_cheapest_assignment():
    x = blobs(200, seed=9)
    book = fit(x, [4, 64])
    done = encode(book, x)
    for prefix in range(4):
        rows = np.flatnonzero(done.codes[:, 0] == prefix)
        cost = oracle.squared_distances(x[rows] - book.centroids[0][prefix].astype(np.float64), book.centroids[1])
        place, expected = linear_sum_assignment(cost)
        ours = cost[np.arange(len(rows)), done.codes[rows, 1]].sum()
        assert ours == pytest.approx(cost[place, expected].sum(), rel=1e-5)


def test_a_full_codebook_still_fits():
    x = blobs(60, seed=10)
    codes = encode(fit(x, [3, 4, 5]), x).codes
    assert len(np.unique(codes, axis=0)) == 60


def test_only_overfull_prefixes_lose_rows():
    x = np.concatenate([blobs(40, seed=11) * 0.01, blobs(20, seed=12) * 0.01 + 50])
    book = fit(x, [2, 32])
    first, near = encode(book, x).codes[:, 0], book.assign(x)[:, 0]
    assert np.bincount(near).max() == 40
    assert np.bincount(first).tolist() in ([32, 28], [28, 32])
    moved = np.flatnonzero(first != near)
    distance = oracle.squared_distances(x.astype(np.float64), book.centroids[0])
    price = distance.max(1) - distance.min(1)
    crowd = np.flatnonzero(near == np.bincount(near).argmax())
    assert set(moved) == set(crowd[np.argsort(price[crowd])[:8]])


def test_counter_and_none():
    x = np.repeat(blobs(10, seed=13), 3, axis=0)
    kinds = np.tile([0, 0, 1], 10)
    book = fit(x, [5, 4])
    done = encode(book, x, kinds=kinds, unique="counter")
    np.testing.assert_array_equal(done.codes[:, :2], book.assign(x))
    assert len(np.unique(np.column_stack([done.codes, kinds]), axis=0)) == 30
    np.testing.assert_array_equal(encode(book, x, kinds=kinds, unique="none").codes, book.assign(x))
    for row in np.unique(np.column_stack([done.codes[:, :2], kinds]), axis=0):
        members = (np.column_stack([done.codes[:, :2], kinds]) == row).all(1)
        np.testing.assert_array_equal(done.codes[members, 2], np.arange(members.sum()))


def test_too_many_rows_says_which_levels_would_do():
    x = blobs(100, seed=14)
    book = fit(x, [5, 8])
    with pytest.raises(ArgumentError, match=r"100 rows .* 40 codes .*\[5, 32\]"):
        encode(book, x)
    encode(book, x, kinds=np.arange(100) % 3)


def test_flat_rank_is_rank_by_distance():
    x = blobs(200, seed=15)
    book = fit(x, [6, 200], method="flat+rank")
    codes = encode(book, x).codes
    for cluster in range(6):
        rows = np.flatnonzero(codes[:, 0] == cluster)
        distance = ((x[rows] - book.centroids[0][cluster].astype(np.float64)) ** 2).sum(1)
        np.testing.assert_array_equal(codes[rows[np.argsort(distance)], 1], np.arange(len(rows)))
    first = codes[:, 1] == 0
    offset = (x[first] - book.centroids[0][codes[first, 0]]).mean(0)
    np.testing.assert_allclose(book.centroids[1][0], offset, atol=1e-5)
    with pytest.raises(ArgumentError, match=r"largest cluster has \d+ rows but there are only 20 rank tokens"):
        fit(x, [6, 20], method="flat+rank")


@pytest.mark.parametrize("levels", [(60, 8), (6, 5, 12), (1, 500)])
def test_moves_equal_one_at_a_time(levels):
    """Most rows lie near few codewords, so that many codewords fill up and rows move several times over."""
    rng = np.random.default_rng(20)
    x = (rng.normal(size=(330, 3)) * np.where(rng.random(330) < 0.9, 0.1, 2.0)[:, None]).astype(np.float32)
    centroids = [rng.normal(size=(k, 3)).astype(np.float32) / (1 + level) for level, k in enumerate(levels)]
    kinds = rng.integers(2, size=330) * 7
    codes = unique_codes(x, centroids, kinds, threads=1)
    for kind in (0, 7):
        rows = kinds == kind
        np.testing.assert_array_equal(codes[rows], oracle.nearest_free_codes(x[rows], centroids))
    assert unique_codes(x, centroids, kinds, threads=3).tobytes() == codes.tobytes()


# --- the same bytes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "levels"), [("residual", [16, 32]), ("tree", [8, 8, 4]), ("flat+rank", [9, 9000])])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_threads_give_the_same_bytes(method, levels, metric):
    x = blobs(9001, 7, seed=16)  # more than two blocks of rows
    kinds = np.arange(9001) % 40
    results = []
    for threads in (1, 2, 3):
        book = fit(x, levels, method=method, metric=metric, threads=threads, max_iterations=6)
        codes = encode(book, x, kinds=kinds, threads=threads).codes
        arrays = [*book.centroids, codes, book.assign(x, threads=threads)]
        results.append([*(array.tobytes() for array in arrays), book.report])
    assert results[0] == results[1] == results[2]


def test_seeds_differ_and_repeat():
    x = blobs(seed=17)
    assert fit(x, [16], seed=3).centroids[0].tobytes() == fit(x, [16], seed=3).centroids[0].tobytes()
    assert fit(x, [16], seed=3).centroids[0].tobytes() != fit(x, [16], seed=4).centroids[0].tobytes()


def fit_in_subprocess(kernel: str) -> subprocess.CompletedProcess[str]:
    script = (
        "import numpy as np; from metatoken.tokens.codes.clustering import fit;"
        "print(fit(np.arange(20.).reshape(10, 2), [3], seed=7).centroids[0].tolist())"
    )
    environment = {**os.environ, "METATOKEN_KERNEL": kernel}
    return subprocess.run([sys.executable, "-c", script], check=False, env=environment, capture_output=True, text=True)


def test_environment_forces_a_kernel():
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    for kernel in native.kernels():
        expected = native_fit(x, [3], kernel=kernel)[0][0]
        assert fit_in_subprocess(kernel).stdout.strip() == str(expected.tolist())
    assert "this machine can run" in fit_in_subprocess("abacus").stderr


# --- edges -------------------------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 30),
    dim=st.integers(1, 5),
    distinct=st.integers(1, 8),
    k=st.integers(1, 30),
    zero=st.booleans(),
    method=st.sampled_from(["residual", "tree", "flat+rank"]),
    metric=st.sampled_from(["euclidean", "cosine"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_any_data_clusters(n, dim, distinct, k, zero, method, metric, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(distinct, dim))
    if zero:
        values[0] = 0
    x = values[rng.integers(distinct, size=n)]
    k = min(k, n)
    book = fit(x, [k, 30], method=method, metric=metric)
    assert book.levels == (k, 30)
    assert all(np.isfinite(c).all() for c in book.centroids)
    assert book.report.distinct[0] <= min(k, len(np.unique(x, axis=0)))
    done = encode(book, x)
    assert len(np.unique(done.codes, axis=0)) == n
    assert np.isfinite([done.kept_share, done.error_before, done.error_after]).all()
    codes = book.assign(x)
    assert (codes[:, 0] < max(1, book.report.distinct[0])).all()
    if k >= distinct and metric == "euclidean":
        # Two values may be nearer to each other than the rounding of a score.
        assert book.report.inertia[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: np.repeat(x, 3, axis=1)[:, ::3],
        lambda x: x.tolist(),
    ],
)
def test_takes_any_float_array(convert):
    x = blobs(seed=18)
    converted = convert(x)
    if isinstance(converted, np.ndarray):
        converted.setflags(write=False)
    plain, other = fit(x, [8, 64]), fit(converted, [8, 64])
    assert plain.centroids[1].tobytes() == other.centroids[1].tobytes()
    assert encode(plain, x).codes.tobytes() == encode(other, converted).codes.tobytes()


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"x": np.zeros(5)}, "x"),
        ({"x": np.zeros((0, 3))}, "x"),
        ({"x": np.zeros((3, 0))}, "x"),
        ({"x": np.array([[1.0], [np.nan], [2.0]])}, "x"),
        ({"x": np.array([[1.0], [1e300], [2.0]])}, "x"),
        ({"x": np.array([["a", "b"]])}, "x"),
        ({"levels": []}, "levels"),
        ({"levels": [0]}, "levels"),
        ({"levels": [301]}, "levels"),
        ({"levels": [2.5]}, "levels"),
        ({"levels": "auto"}, "levels"),
        ({"levels": [4, 4, 4], "method": "flat+rank"}, "levels"),
        ({"method": "ward"}, "method"),
        ({"metric": "manhattan"}, "metric"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"sample": 0}, "sample"),
        ({"max_iterations": -1}, "max_iterations"),
    ],
)
def test_fit_refuses(change, argument):
    with pytest.raises(ArgumentError) as caught:
        fit(**{"x": blobs(), "levels": [3], **change})
    assert caught.value.argument == argument


def test_nan_row_is_named():
    x = blobs()
    x[17, 2] = np.nan
    with pytest.raises(ArgumentError, match="row 17"):
        fit(x, [4])


def test_encode_and_assign_refuse():
    x = blobs()
    book = fit(x, [4, 128])
    for change, argument in [
        ({"kinds": np.zeros(3, dtype=int)}, "kinds"),
        ({"kinds": np.zeros(300)}, "kinds"),
        ({"unique": "never"}, "unique"),
        ({"x": x[:, :2]}, "x"),
    ]:
        with pytest.raises(ArgumentError) as caught:
            encode(**{"codebook": book, "x": x, **change})
        assert caught.value.argument == argument
    assert book.assign(x[:0]).shape == (0, 2)
    assert encode(book, x[:0], unique="counter").codes.shape == (0, 3)


def test_progress_ends_at_the_total_and_errors_stop_the_work():
    seen: list[tuple[int, int]] = []
    book = fit(blobs(2000), [16, 64], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    encode(book, blobs(900), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(np.random.default_rng(0).normal(size=(60_000, 64)), [512], progress=stop)


@pytest.mark.parametrize(("method", "levels"), METHODS)
def test_codebook_saves_and_loads(method, levels):
    x = blobs(seed=19)
    book = fit(x, levels, method=method)
    again = Codebook.from_tensors(book.tensors(), json.loads(json.dumps(book.meta())))
    assert (again.method, again.metric, again.report) == (book.method, book.metric, book.report)
    np.testing.assert_array_equal(again.assign(x), book.assign(x))
    with pytest.raises(ArtifactError):
        Codebook.from_tensors({}, book.meta())
    with pytest.raises(ArtifactError):
        Codebook.from_tensors(book.tensors(), {**book.meta(), "method": "ward"})
    with pytest.raises(ArtifactError):
        Codebook.from_tensors(book.tensors(), {"method": "tree"})


@pytest.mark.parametrize(
    ("counts", "levels"),
    [
        ([12101], (128, 256)),
        ([22363, 12101], (256, 256)),
        ([1429], (64, 64)),
        ([35598, 18357], (256, 512)),
        ([10**6], (1024, 2048)),
        ([10**7], (256, 256, 512)),
        ([1], (1, 2)),
        ([3], (1, 8)),
    ],
)
def test_auto_levels(counts, levels):
    assert auto_levels(counts) == levels


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=3))
def test_auto_levels_have_room_twice(counts):
    levels = auto_levels(counts)
    assert np.prod(levels, dtype=object) >= 2 * max(counts)
    assert levels[0] <= max(1, max(counts) // 2)
    assert levels[0] <= levels[-1]


def test_auto_levels_refuses():
    for counts in ([], [0], [2.5]):
        with pytest.raises(ArgumentError):
            auto_levels(counts)


# --- the matrix unit ---------------------------------------------------------------------------------------------


def centroids_of(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `x` moved a little, some of them twice and some halfway between two rows, so that there are ties."""
    words = x[rng.integers(len(x), size=k)] + rng.choice([0.0, 1e-6, 0.3], size=(k, 1)) * rng.normal(
        size=(k, x.shape[1])
    )
    words[k // 2 :: 5] = words[: len(words[k // 2 :: 5])]
    words[1::7] = (x[rng.integers(len(x), size=len(words[1::7]))] + x[0]) / 2
    return words.astype(np.float32)


@pytest.mark.skipif("amx" not in native.kernels(), reason="this processor has no bf16 matrix unit")
@pytest.mark.parametrize("dim", [1, 15, 16, 31, 32, 33, 64, 100, 768])
@pytest.mark.parametrize("k", [95, 96, 97, 128, 256, 1000])
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e4, 1e12])
def test_matrix_unit_gives_the_labels_of_avx512(dim: int, k: int, scale: float) -> None:
    """Bit for bit, also where rows tie and where values are below the normal range."""
    rng = np.random.default_rng(dim * 1000 + k)
    x = rng.normal(size=(997, dim)) * rng.choice([1.0, 0.0, 30.0], p=[0.8, 0.1, 0.1], size=(997, 1))
    words = centroids_of(x, k, rng)
    x[:100] = (words[rng.integers(k, size=100)] + words[rng.integers(k, size=100)]) / 2
    x[100:150], words[2::11] = x[100:150] * 1e-42 / scale, words[2::11] * np.float32(1e-30 / scale)
    x, words = (x * scale).astype(np.float32), (words * np.float32(scale)).astype(np.float32)
    found = [native_codes.assign(x, [words], "euclidean", 1, kernel, None) for kernel in ("avx512", "amx")]
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.skipif("amx" not in native.kernels(), reason="this processor has no bf16 matrix unit")
@pytest.mark.parametrize("method", ["residual", "tree"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("k", "dim"), [(23, 40), (24, 33), (64, 64), (95, 5), (100, 40)])
def test_matrix_unit_gives_the_codebook_of_avx512(method: str, metric: str, k: int, dim: int) -> None:
    """There are ties, zeros, and several blocks."""
    x = blobs(30_001, dim=dim)
    x[5::7], x[3::11] = x[5], 0
    one, two = (native_fit(x, [k, 30], method, metric=metric, kernel=kernel) for kernel in ("avx512", "amx"))
    assert one[1].tobytes() == two[1].tobytes()
    assert [c.tobytes() for c in one[0]] == [c.tobytes() for c in two[0]]


@pytest.mark.parametrize("kernel", native.kernels())
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [3, 40, 300])
@pytest.mark.parametrize("far", [0.0, 50.0])
def test_assign_names_the_first_row_that_is_not_finite(
    kernel: str, bad: float, metric: str, k: int, far: float
) -> None:
    """Nothing looks at the rows beforehand: a score that is not finite gives such a row away."""
    rng = np.random.default_rng(k)
    x = (rng.normal(size=(2000, 20)) + far).astype(np.float32)
    words = x[:k].copy()
    x[[1234, 1999], [7, 0]] = bad
    with pytest.raises(ArgumentError, match="row 1234 holds NaN or infinity"):
        native_codes.assign(x, [words, words[:5]], metric, 2, kernel, None)
