"""Vectors of cold ids: against their definition, and marked through save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken import Vocabulary, artifacts
from metatoken.data import Interactions, generate_world
from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.neighbours import nearest
from metatoken.tokens.vectors.cold import (
    FEATURES,
    GIVEN,
    NEIGHBOURS,
    NONE,
    RIDGES,
    WALKED,
    FeatureMap,
    count_origins,
    fill,
)
from metatoken.tokens.vectors.skipgram import Embeddings

FAST = {"dim": 8, "walks_per_node": 5, "walk_length": 10, "levels": (8, 16)}


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 14), st.integers(1, 6), st.integers(0, 2**31))
def test_leave_one_out_errors_are_those_of_fitting_without_the_row(n: int, f: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, f)) * 3 + 1, rng.normal(size=(n, 2))

    def solved(keep: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centre, mean = x[keep].mean(axis=0), y[keep].mean(axis=0)
        a = x[keep] - centre
        return centre, np.linalg.solve(a.T @ a + ridge * np.eye(f), a.T @ (y[keep] - mean)), mean

    def left_out(ridge: float) -> float:
        total = 0.0
        for row in range(n):
            centre, weight, mean = solved(np.arange(n) != row, ridge)
            total += float(((y[row] - (x[row] - centre) @ weight - mean) ** 2).sum())
        return total / n

    found = FeatureMap.fit(x, y)
    whole = x - x.mean(axis=0)
    tried = RIDGES * np.trace(whole.T @ whole) / f
    errors = [left_out(ridge) for ridge in tried]
    assert found.error == pytest.approx(min(errors), rel=1e-5)
    assert found.ridge == pytest.approx(tried[int(np.argmin(errors))])
    _, weight, _ = solved(np.ones(n, bool), found.ridge)
    np.testing.assert_allclose(found.weight, weight, rtol=1e-5, atol=1e-7)
    assert found.error_of_mean == pytest.approx(left_out(1e15), rel=1e-5)


def test_a_linear_world_is_recovered_from_features() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 6)).astype(np.float32)
    y = x @ rng.normal(size=(6, 3)) + 5 + 0.01 * rng.normal(size=(40_000, 3))
    found = FeatureMap.fit(x, y)
    assert found.error < 1e-3 * found.error_of_mean
    np.testing.assert_allclose(found(x[:50]), y[:50], atol=0.06)
    assert found(x[:2]).dtype == np.float32


def small() -> tuple[Embeddings, Interactions]:
    """Users a, b, c; items w, x, y, z. Item z and user c are not trained; y has one interaction."""
    log = Interactions.from_arrays(["a", "a", "b", "b", "b", "c"], ["w", "x", "w", "x", "y", "z"])
    vectors = np.array([[1, 0], [0, 1], [0, 0], [2, 0], [4, 0], [9, 9], [0, 0]], np.float32)
    return Embeddings(vectors, 3, 4, np.array([1, 1, 0, 1, 1, 1, 0], bool)), log


def test_neighbours_are_means_over_what_is_shared() -> None:
    embeddings, log = small()
    links = {"brand": Links.from_lists("item", [["p"], ["q"], None, ["p", "q"]])}
    filled = fill(embeddings, log, links, cold="neighbours", min_edges=2)
    # y shares user b with w and x. z shares its user c with nobody, brand p with w, brand q with x.
    np.testing.assert_allclose(filled.vectors[3 + 2], [3, 0])
    np.testing.assert_allclose(filled.vectors[3 + 3], [3, 0])
    assert filled.origins.tolist() == [WALKED, WALKED, NONE, WALKED, WALKED, NEIGHBOURS, NEIGHBOURS]
    assert filled.trained.tolist() == [True, True, False, True, True, False, False]
    # User c shares nothing with a user that has a vector: the mean of users.
    np.testing.assert_allclose(filled.vectors[2], [0.5, 0.5])
    np.testing.assert_array_equal(filled.vectors[[0, 1, 3, 4]], embeddings.vectors[[0, 1, 3, 4]])


def test_few_edges_alone_change_nothing_where_there_is_no_source() -> None:
    embeddings, log = small()
    filled = fill(embeddings, log, {}, features=np.array([[1.0], [2], [np.nan], [3]]), min_edges=2)
    assert filled.origins.tolist() == [WALKED, WALKED, NONE, WALKED, WALKED, WALKED, FEATURES]
    np.testing.assert_array_equal(filled.vectors[5], [9, 9])
    assert filled.vectors[6, 0] > 3.0
    assert set(filled.report) == {"ridge", "error", "error_of_mean"}


def test_users_without_any_vector_are_the_mean_of_their_items() -> None:
    log = Interactions.from_arrays(["a", "a", "b"], ["x", "y", "y"])
    vectors = np.array([[0, 0], [0, 0], [1, 3], [3, 5]], np.float32)
    filled = fill(Embeddings(vectors, 2, 2, np.array([0, 0, 1, 1], bool)), log, {}, cold="neighbours", given=True)
    assert filled.vectors[:2].tolist() == [[2, 4], [3, 5]]
    assert filled.origins.tolist() == [NEIGHBOURS, NEIGHBOURS, GIVEN, GIVEN]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cold": "often"}, "cold: expected one of none, neighbours"),
        ({"min_edges": -1}, "min_edges: expected an integer of at least 0"),
        ({"min_edges": 2}, "it needs cold='neighbours' or features"),
        ({"min_edges": 9, "cold": "neighbours"}, "no id has as many as 9"),
        ({"features": np.zeros((3, 2))}, r"expected real numbers \[4, f\]"),
        ({"features": np.full((4, 2), np.inf)}, "row 0 has a value that is not finite"),
        ({"features": np.full((4, 2), np.nan)}, "features of 2 or more items"),
    ],
)
def test_settings_that_cannot_be_used(options: dict, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        fill(*small(), {}, **options)


@pytest.fixture(scope="module")
def sparse_log() -> Interactions:
    """A world whose first four items and third user have no interaction left."""
    log = generate_world(n_users=60, n_items=30, n_groups=3, seed=0, min_length=5, max_length=9).interactions()
    return log.with_rows((log.frame["item"] >= 4).to_numpy() & (log.frame["user"] != 2).to_numpy())


def test_origins_survive_the_disk_and_show_in_neighbours(sparse_log: Interactions, tmp_path: Path) -> None:
    links = Links.from_series(
        "item", pl.Series(np.arange(30, dtype=np.int32)), pl.Series([f"g{i % 3}" for i in range(30)])
    )
    vocabulary = Vocabulary.fit(sparse_log, attributes={"group": links}, cold="neighbours", **FAST)
    items = vocabulary.origins[vocabulary.n_users :]
    assert (items[:4] == NEIGHBOURS).all()
    assert not vocabulary.trained[vocabulary.n_users :][:4].any()
    assert vocabulary.origins[2] == NONE
    # A vector from a group is not the mean of all, and its items are near it.
    mean = vocabulary.vectors[vocabulary.n_users :][items == WALKED].mean(axis=0)
    assert np.abs(vocabulary.vectors[vocabulary.n_users] - mean).max() > 1e-3
    vocabulary.save(tmp_path / "v")
    loaded = Vocabulary.load(tmp_path / "v")
    np.testing.assert_array_equal(loaded.origins, vocabulary.origins)
    assert loaded.origins.dtype == np.uint8
    entities = pl.read_parquet(tmp_path / "v" / "entities.parquet")
    assert entities.filter(kind="item")["origin"].to_list()[:5] == ["neighbours"] * 4 + ["walked"]
    manifest = artifacts.read_json(tmp_path / "v" / "manifest.json")
    assert manifest["origins"]["items"] == {"walked": 26, "neighbours": 4}
    assert manifest["origins"]["users"] == {"none": 1, "walked": 59}
    assert manifest["settings"]["attributes"] == {"group": {"kind": "item", "links": 30, "values": 3}}
    found = nearest(loaded, "item", loaded.items.raw[10], k=29)
    assert {n.origin for n in found} == {"walked", "neighbours"}
    assert len(nearest(loaded, "user", loaded.users.raw[0], k=99)) == 58


def test_vocabularies_of_the_first_schema_are_read(sparse_log: Interactions, tmp_path: Path) -> None:
    vocabulary = Vocabulary.fit(sparse_log, **FAST)
    vocabulary.save(tmp_path / "v")
    manifest = artifacts.read_json(tmp_path / "v" / "manifest.json")
    old = pl.read_parquet(tmp_path / "v" / "entities.parquet").drop("origin")
    with artifacts.atomic_folder(tmp_path / "old", kind="vocabulary") as folder:
        for name in manifest["files"]:
            (folder / name).write_bytes((tmp_path / "v" / name).read_bytes())
        artifacts.write_frame(folder / "entities.parquet", old)
        kept = {k: v for k, v in manifest.items() if k not in ("kind", "schema", "files", "checksum", "origins")}
        artifacts.write_manifest(folder, "vocabulary", 1, **kept)
    loaded = Vocabulary.load(tmp_path / "old")
    np.testing.assert_array_equal(loaded.origins, np.where(loaded.trained, WALKED, NONE))
    np.testing.assert_array_equal(loaded.item_codes, vocabulary.item_codes)


def test_features_place_cold_items_and_say_how_well(sparse_log: Interactions) -> None:
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary.fit(sparse_log, features=rng.normal(size=(30, 3)), **FAST)
    assert (vocabulary.origins[vocabulary.n_users :][:4] == FEATURES).all()
    assert vocabulary.report["features"]["error"] > 0
    assert count_origins(vocabulary.origins, vocabulary.n_users)["items"] == {"walked": 26, "features": 4}


def test_items_only_vocabularies_have_no_users(sparse_log: Interactions, tmp_path: Path) -> None:
    both = Vocabulary.fit(sparse_log, **FAST)
    items = Vocabulary.fit(sparse_log, kinds="items", **FAST)
    assert (items.n_users, items.n_items) == (0, 30)
    np.testing.assert_array_equal(items.vectors, both.vectors[both.n_users :])
    assert len(np.unique(items.item_codes, axis=0)) == 30
    items.save(tmp_path / "v")
    loaded = Vocabulary.load(tmp_path / "v")
    assert loaded.item_codes.tolist() == items.item_codes.tolist()
    assert loaded.user_codes_of(sparse_log.sequences()).shape == (60, 2)


def test_a_path_given_twice_and_a_bad_restart_are_refused(sparse_log: Interactions) -> None:
    with pytest.raises(ArgumentError, match="'user-item-user' is given twice"):
        Vocabulary.fit(sparse_log, meta_paths=["user-item-user", "user-item-user share=.5"], **FAST)
    with pytest.raises(ArgumentError, match="restart: expected a probability"):
        Vocabulary.fit(sparse_log, restart=1.0, **FAST)
    nothing = Links.from_lists("item", [None] * 30)
    with pytest.raises(ArgumentError, match="no edges between item and brand"):
        Vocabulary.fit(sparse_log, meta_paths=["item-brand-item"], attributes={"brand": nothing}, **FAST)
