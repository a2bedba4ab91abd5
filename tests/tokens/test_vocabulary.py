from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken import artifacts
from metatoken.data import Interactions, Sequences, generate_world, leave_last_out
from metatoken.errors import ArgumentError, ArtifactError, UnknownIdError
from metatoken.tokens.neighbours import nearest
from metatoken.tokens.quality.scores import score
from metatoken.tokens.storage import read_scores
from metatoken.tokens.trie import Trie
from metatoken.tokens.vectors.skipgram import Embeddings
from metatoken.tokens.vocabulary import Vocabulary

FAST = {"dim": 8, "walks_per_node": 20, "walk_length": 20, "epochs": 5, "levels": (8, 64)}


@pytest.fixture(scope="module")
def log() -> Interactions:
    return generate_world(n_users=120, n_items=60, n_groups=4, seed=3).interactions()


@pytest.fixture(scope="module")
def vocabulary(log: Interactions) -> Vocabulary:
    return Vocabulary.fit(leave_last_out(log).train, source=log.checksum(), **FAST)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_equal(a: Vocabulary, b: Vocabulary) -> None:
    for name in ("user_codes", "item_codes", "centroids", "vectors", "trained", "user_tokens", "item_tokens"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype, name
        np.testing.assert_array_equal(x, y, err_msg=name)
    for name in ("users", "items", "levels", "titles", "source", "tokens"):
        assert getattr(a, name) == getattr(b, name), name
    assert dict(a.settings) == dict(b.settings)
    assert dict(a.report) == dict(b.report)


def test_shapes_and_spaces(vocabulary: Vocabulary, log: Interactions) -> None:
    v = vocabulary
    assert (v.n_users, v.n_items, v.depth, v.n_tokens, v.dim) == (log.n_users, log.n_items, 2, 72, 8)
    assert v.user_codes.dtype == v.item_codes.dtype == np.int32
    assert v.level_offsets.tolist() == [0, 8, 72]
    assert v.tokens[0] == "<a_0>"
    assert v.tokens[8] == "<b_0>"
    assert v.tokens[-1] == "<b_63>"
    np.testing.assert_array_equal(v.item_tokens, v.item_codes + np.array([0, 8]))
    assert v.centroids.shape == (72, 8)
    assert v.vectors.shape == (v.n_users + v.n_items, 8)
    np.testing.assert_allclose(
        v.composed("item"), v.centroids[v.item_tokens[:, 0]] + v.centroids[v.item_tokens[:, 1]], rtol=1e-6
    )
    assert v.titles == log.titles()


def test_ids_are_unique_within_a_kind_and_lookup_inverts(vocabulary: Vocabulary) -> None:
    for codes in (vocabulary.user_codes, vocabulary.item_codes):
        assert len(np.unique(codes, axis=0)) == len(codes)
    for raw in vocabulary.users:
        assert vocabulary.lookup(vocabulary.tokens_of(user=raw), "user") == raw
    for raw in vocabulary.items:
        assert vocabulary.lookup(vocabulary.tokens_of(item=raw)) == raw


def test_a_user_and_an_item_may_share_a_tuple(vocabulary: Vocabulary) -> None:
    codes = vocabulary.item_codes.copy()
    free = next(row for row in vocabulary.user_codes if not (codes == row).all(axis=1).any())
    codes[0] = free
    shared = replace(vocabulary, item_codes=codes)
    tokens = shared.tokens_of(item=shared.items.raw[0])
    assert shared.lookup(tokens, "item") == shared.items.raw[0]
    user = shared.lookup(tokens, "user")
    np.testing.assert_array_equal(shared.user_codes[shared.users.row(user)], free)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda v: v.tokens_of(item="nobody"), UnknownIdError, "nobody"),
        (lambda v: v.tokens_of(user="nobody"), UnknownIdError, "nobody"),
        (lambda v: v.tokens_of(), ArgumentError, "exactly one"),
        (lambda v: v.tokens_of(user="a", item="b"), ArgumentError, "exactly one"),
        (lambda v: v.lookup("<a_1>"), UnknownIdError, "no item has the tokens <a_1>"),
        (lambda v: v.lookup("<a_1><b_99>", "user"), UnknownIdError, "no user"),
        (lambda v: v.lookup("a_1"), ArgumentError, "expected tokens such as"),
        (lambda v: v.lookup("<a_01><b_2>"), ArgumentError, "expected tokens such as"),
        (lambda v: v.lookup(""), ArgumentError, "expected tokens such as"),
        (lambda v: v.lookup("<a_1>", "thing"), ArgumentError, "kind"),
    ],
)
def test_lookup_errors(
    vocabulary: Vocabulary, call: Callable[[Vocabulary], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(vocabulary)


def test_save_and_load_round_trip(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / "one")
    assert sorted(files(tmp_path / "one")) == [
        "codebook.safetensors", "entities.parquet", "manifest.json", "trie.safetensors", "vectors.safetensors",
    ]  # fmt: skip
    loaded = Vocabulary.load(tmp_path / "one")
    assert_equal(vocabulary, loaded)
    loaded.save(tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    x = vocabulary.vectors
    np.testing.assert_array_equal(vocabulary.codebook.assign(x), loaded.codebook.assign(x))
    trie, expected = (
        Trie.from_tensors(artifacts.read_tensors(tmp_path / "one" / "trie.safetensors")[0]),
        Trie.from_codes(vocabulary.item_codes),
    )
    for name, array in expected.tensors().items():
        np.testing.assert_array_equal(trie.tensors()[name], array)
    entities = pl.read_parquet(tmp_path / "one" / "entities.parquet")
    assert entities.columns == ["kind", "id", "codes", "trained", "origin", "title"]
    item = entities.filter(kind="item", id=vocabulary.items.raw[5]).row(0, named=True)
    assert item["codes"] == vocabulary.item_codes[5].tolist()
    assert item["title"] == vocabulary.titles[5]


def test_load_names_what_is_wrong(vocabulary: Vocabulary, tmp_path: Path) -> None:
    place = tmp_path / "v"
    with pytest.raises(ArtifactError, match="no such folder"):
        Vocabulary.load(place)
    for name in ("entities.parquet", "codebook.safetensors", "vectors.safetensors", "trie.safetensors"):
        vocabulary.save(place)
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ArtifactError, match=f"{name}: altered"):
            Vocabulary.load(place)
        (place / name).unlink()
        with pytest.raises(ArtifactError, match=f"{name}: missing"):
            Vocabulary.load(place)
    vocabulary.save(place)
    manifest = artifacts.read_json(place / "manifest.json")
    artifacts.write_json(place / "manifest.json", manifest | {"schema": 99})
    with pytest.raises(ArtifactError, match=r"schema 99 .* newer metatoken"):
        Vocabulary.load(place)


def test_scores_are_kept_beside_it(vocabulary: Vocabulary, log: Interactions, tmp_path: Path) -> None:
    train = leave_last_out(log).train
    found = score(vocabulary, train).to_dict()
    vocabulary.save(tmp_path / "v", scores=found)
    assert read_scores(tmp_path / "v") == artifacts.read_json(tmp_path / "v" / "scores.json")
    assert read_scores(tmp_path / "v")["items"]["id_collision_rate"] == 0
    vocabulary.save(tmp_path / "v")
    assert read_scores(tmp_path / "v") is None


def test_held_out_edges_change_no_byte_but_the_checksum_of_the_source(log: Interactions, tmp_path: Path) -> None:
    split = leave_last_out(log)
    rng = np.random.default_rng(0)
    last = split.log.sequences().offsets[split.test.users + 1] - 1
    held = np.concatenate([last, last - 1])
    items = log.frame["item"].to_numpy().copy()
    items[held] = rng.permutation(items[held])
    moved = leave_last_out(replace(log, frame=log.frame.with_columns(pl.Series("item", items, dtype=pl.Int32))))
    assert moved.train.frame.equals(split.train.frame)
    assert not np.array_equal(moved.test.items, split.test.items)
    for name, part in (("one", split), ("two", moved)):
        vocabulary = Vocabulary.fit(part.train, source=part.log.checksum(), **FAST)
        vocabulary.save(tmp_path / name, scores=score(vocabulary, part.train).to_dict())
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    manifests = [artifacts.read_json(tmp_path / name / "manifest.json") for name in ("one", "two")]
    for name in ("source", "checksum"):  # the second is that of the manifest, which names the source
        assert manifests[0].pop(name) != manifests[1].pop(name)
    assert manifests[0] == manifests[1]
    assert one.pop("manifest.json") != two.pop("manifest.json")
    assert one == two


FIT = """
import sys
from metatoken.data import generate_world, leave_last_out
from metatoken.tokens.vocabulary import Vocabulary
split = leave_last_out(generate_world(n_users=120, n_items=60, n_groups=4, seed=3).interactions())
Vocabulary.fit(split.train, dim=8, walks_per_node=4, walk_length=10, threads=int(sys.argv[1])).save(sys.argv[2])
"""


def test_threads_change_no_byte(tmp_path: Path) -> None:
    for threads in ("1", "2"):
        pools = {f"{name}_NUM_THREADS": threads for name in ("OPENBLAS", "OMP", "MKL")} | {
            "POLARS_MAX_THREADS": threads
        }
        command = [sys.executable, "-c", FIT, threads, str(tmp_path / threads)]
        subprocess.run(command, check=True, env=os.environ | pools)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_order_of_the_input_changes_nothing(log: Interactions, vocabulary: Vocabulary) -> None:
    train = leave_last_out(log).train
    frame = train.frame.sample(fraction=1, shuffle=True, seed=1).sort("user", "order")
    again = Vocabulary.fit(replace(train, frame=frame), source=log.checksum(), **FAST)
    assert_equal(vocabulary, again)


def test_kinds_apart_share_no_token(log: Interactions, tmp_path: Path) -> None:
    apart = Vocabulary.fit(leave_last_out(log).train, kinds="apart", **FAST)
    assert apart.levels == (16, 128)
    assert not set(np.unique(apart.user_tokens)) & set(np.unique(apart.item_tokens))
    assert score(apart).shared_tokens == 0
    assert apart.centroids.shape == (apart.n_tokens, 8)
    np.testing.assert_array_equal(apart.centroids[:8], apart.codebook.centroids[0])
    np.testing.assert_array_equal(apart.centroids[8:16], apart.user_codebook.centroids[0])
    apart.save(tmp_path / "v")
    loaded = Vocabulary.load(tmp_path / "v")
    assert_equal(apart, loaded)
    sequences = leave_last_out(log).train.sequences()
    np.testing.assert_array_equal(apart.user_codes_of(sequences), loaded.user_codes_of(sequences))
    assert apart.user_codes_of(sequences)[:, 0].min() >= 8
    for raw in apart.users:
        assert apart.lookup(apart.tokens_of(user=raw), "user") == raw


def test_apart_and_auto_may_differ_in_depth() -> None:
    rng = np.random.default_rng(0)
    log = Interactions.from_arrays([f"u{n // 2:04}" for n in range(800)], [f"i{n}" for n in rng.integers(0, 12, 800)])
    x = Embeddings(rng.normal(size=(log.n_users + log.n_items, 4)).astype(np.float32), log.n_users, log.n_items,
                   np.ones(log.n_users + log.n_items, bool))  # fmt: skip
    vocabulary = Vocabulary.fit(log, kinds="apart", embeddings=x)
    assert len(np.unique(vocabulary.user_codes, axis=0)) == log.n_users
    assert len(np.unique(vocabulary.item_codes, axis=0)) == log.n_items
    assert vocabulary.centroids.shape == (vocabulary.n_tokens, 4)


def test_counter_level_has_tokens_of_its_own(log: Interactions, tmp_path: Path) -> None:
    small = Vocabulary.fit(leave_last_out(log).train, unique="counter", **(FAST | {"levels": (4, 4)}))
    assert small.depth == 3
    assert small.levels[:2] == (4, 4)
    assert small.levels[2] == max(small.user_codes[:, 2].max(), small.item_codes[:, 2].max()) + 1
    assert not small.centroids[8:].any()
    for raw in small.items:
        assert small.lookup(small.tokens_of(item=raw)) == raw
    codes = small.user_codes_of(leave_last_out(log).train.sequences())
    assert codes.shape == (small.n_users, 3)
    assert (codes[:, 2] == -1).all()
    small.save(tmp_path / "v")
    assert_equal(small, Vocabulary.load(tmp_path / "v"))


def test_cold_ids_have_the_mean_vector_and_unique_codes() -> None:
    log = generate_world(n_users=40, n_items=20, n_groups=2, seed=0, min_length=5, max_length=9).interactions()
    keep = (log.frame["item"] >= 4).to_numpy() & (log.frame["user"] != 2).to_numpy()
    vocabulary = Vocabulary.fit(log.with_rows(keep), **FAST)
    cold = vocabulary.n_users + np.arange(4)
    assert not vocabulary.trained[cold].any()
    assert not vocabulary.trained[2]
    assert vocabulary.trained.sum() == log.n_users + log.n_items - 5
    mean = vocabulary.vectors[vocabulary.n_users :][vocabulary.trained[vocabulary.n_users :]].mean(axis=0)
    np.testing.assert_allclose(vocabulary.vectors[cold], np.tile(mean, (4, 1)), rtol=1e-5, atol=1e-7)
    assert len(np.unique(vocabulary.item_codes, axis=0)) == log.n_items
    assert len(np.unique(vocabulary.user_codes, axis=0)) == log.n_users


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"levels": (4, 4)}, r"120 users do not fit the 16 codes of levels \[4, 4\]; give \"auto\", .*, or \[4, 32\]"),
        ({"levels": (4, 4), "kinds": "items"}, r"60 items do not fit the 16 codes .* or \[4, 16\]"),
        ({"levels": (100, 4), "kinds": "apart"}, "the first level has 100 tokens but there are only 60 ids"),
    ],
)
def test_levels_without_room_are_refused_before_the_walks(fields: dict[str, Any], said: str) -> None:
    log = generate_world(n_users=120, n_items=60, n_groups=4).interactions()

    def fail(*_: int) -> None:
        raise AssertionError("walked")

    with pytest.raises(ArgumentError, match=said):
        Vocabulary.fit(log, **(FAST | fields), progress=fail)


def test_auto_levels_have_room(log: Interactions) -> None:
    vocabulary = Vocabulary.fit(leave_last_out(log).train, **(FAST | {"levels": "auto"}))
    assert np.prod(vocabulary.levels) >= 2 * log.n_users
    assert vocabulary.settings["levels"] == "auto"


def test_fold_in_is_ridge_regression_and_comes_close_to_the_users(log: Interactions, vocabulary: Vocabulary) -> None:
    sequences = leave_last_out(log).train.sequences()
    n = vocabulary.n_users
    users, items = vocabulary.vectors[:n].astype(np.float64), vocabulary.vectors[n:].astype(np.float64)
    m = np.array([items[sequence].mean(axis=0) for sequence in sequences])
    centred = m - m.mean(axis=0)
    ridge = 1e-3 * np.trace(centred.T @ centred) / m.shape[1]
    # The same problem as least squares on rows that carry the penalty.
    rows = np.vstack([centred, np.sqrt(ridge) * np.eye(m.shape[1])])
    targets = np.vstack([users - users.mean(axis=0), np.zeros((m.shape[1], users.shape[1]))])
    weight = np.linalg.lstsq(rows, targets, rcond=None)[0]
    np.testing.assert_allclose(vocabulary.fold_in.weight, weight, rtol=1e-3, atol=1e-4)
    expected = centred @ weight + users.mean(axis=0)
    found = vocabulary.fold_in(sequences, vocabulary.vectors[n:], vocabulary.trained[n:])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert ((found - users) ** 2).sum() < 0.5 * ((users - users.mean(axis=0)) ** 2).sum()
    np.testing.assert_array_equal(vocabulary.user_codes_of(sequences), vocabulary.codebook.assign(found))


def test_users_without_items_are_mean_users(vocabulary: Vocabulary) -> None:
    nobody = Sequences(np.zeros(3, np.int64), np.zeros(0, np.int32))
    codes = vocabulary.user_codes_of(nobody)
    expected = vocabulary.codebook.assign(vocabulary.fold_in.mean_user[None])
    np.testing.assert_array_equal(codes, np.repeat(expected, 2, axis=0))
    assert vocabulary.user_codes_of(Sequences(np.zeros(1, np.int64), np.zeros(0, np.int32))).shape == (0, 2)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(1, 30))
def test_from_embeddings_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int) -> None:
    ids = data.draw(
        st.lists(st.text(min_size=1, max_size=4).filter(str.isprintable), min_size=count, max_size=count, unique=True)
    )
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int64]))
    rows = data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=count, max_size=count))
    x = np.asfortranarray(np.array(rows, dtype=dtype))
    vocabulary = Vocabulary.from_embeddings(ids, x, (1, 32), titles=[f"title {n}" for n in ids])
    assert vocabulary.items.raw == tuple(sorted(ids))
    assert vocabulary.n_users == 0
    for row, raw in enumerate(ids):
        place = vocabulary.items.row(raw)
        np.testing.assert_array_equal(vocabulary.vectors[place], x[row].astype(np.float32))
        assert vocabulary.titles[place] == f"title {raw}"
        assert vocabulary.lookup(vocabulary.tokens_of(item=raw)) == raw
    folder = tmp_path_factory.mktemp("v")
    vocabulary.save(folder / "v")
    assert_equal(vocabulary, Vocabulary.load(folder / "v"))


def test_from_embeddings_makes_users_of_their_items() -> None:
    x = np.array([[0, 0], [0, 1], [4, 4], [4, 5]], np.float32)
    vocabulary = Vocabulary.from_embeddings(["a", "b", "c", "d"], x, (2, 4))
    codes = vocabulary.user_codes_of(Sequences(np.array([0, 2, 4]), np.array([0, 1, 2, 3], np.int32)))
    np.testing.assert_array_equal(codes, vocabulary.codebook.assign(np.array([[0, 0.5], [4, 4.5]], np.float32)))


@pytest.mark.parametrize(
    ("ids", "x", "text"),
    [
        (["a"], np.zeros(3), "x: expected a two-dimensional float array"),
        ([], np.zeros((0, 3)), "x: expected at least one row"),
        (["a"], np.zeros((1, 0)), "x: expected a two-dimensional float array"),
        (["a"], np.zeros((2, 3)), "ids: expected one for each of the 2 rows"),
        (["a", "b"], np.array([[1.0, 2], [np.nan, 0]]), "x: row 1 has a value that is not finite"),
        (["a", "b"], np.array([[1e300, 2], [0, 0]]), "x: row 0 has a value that is not finite"),
        (["a"], np.array([["x"]]), "x: expected real numbers"),
        (["a", "a"], np.zeros((2, 3)), "'a' appears twice"),
        ([1, 2], np.zeros((2, 3)), "text that is not empty"),
    ],
)
def test_from_embeddings_refuses(ids: list[str], x: np.ndarray, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Vocabulary.from_embeddings(ids, x, (1, 4))


def test_fit_refuses(log: Interactions) -> None:
    with pytest.raises(ArgumentError, match="kinds"):
        Vocabulary.fit(log, kinds="both")
    with pytest.raises(ArgumentError, match="at most 26 levels"):
        Vocabulary.fit(log, **(FAST | {"levels": (2,) * 27}))
    wrong = Embeddings(np.ones((3, 2), np.float32), 1, 2, np.ones(3, bool))
    with pytest.raises(ArgumentError, match=f"embeddings: expected {log.n_users} users"):
        Vocabulary.fit(log, embeddings=wrong)
    rows = log.n_users + log.n_items
    none = Embeddings(np.ones((rows, 2), np.float32), log.n_users, log.n_items, np.zeros(rows, bool))
    with pytest.raises(ArgumentError, match="no edge to walk"):
        Vocabulary.fit(log, embeddings=none)


def test_progress_runs_from_start_to_end(log: Interactions) -> None:
    seen: list[tuple[int, int]] = []
    Vocabulary.fit(leave_last_out(log).train, progress=lambda done, total: seen.append((done, total)), **FAST)
    assert {total for _, total in seen} == {1000}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1000, 1000)


def test_nearest_equals_the_definition(vocabulary: Vocabulary) -> None:
    for kind, ids, first in (("item", vocabulary.items, 0), ("user", vocabulary.users, 1)):
        rows = vocabulary.vectors[vocabulary.n_users :] if first == 0 else vocabulary.vectors[: vocabulary.n_users]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        similarity = unit @ unit[7]
        similarity[7] = -2
        found = nearest(vocabulary, kind, ids.raw[7], k=5)
        assert [n.id for n in found] == [ids.raw[row] for row in np.argsort(-similarity)[:5]]
        np.testing.assert_allclose([n.similarity for n in found], np.sort(similarity)[::-1][:5], rtol=1e-5)
    assert found[0].title == ""
    assert nearest(vocabulary, "item", vocabulary.items.raw[0])[0].title in vocabulary.titles
    assert len(nearest(vocabulary, "item", vocabulary.items.raw[0], k=10**6)) == vocabulary.n_items - 1
    with pytest.raises(UnknownIdError):
        nearest(vocabulary, "item", "nobody")
    with pytest.raises(ArgumentError, match="k: expected"):
        nearest(vocabulary, "item", vocabulary.items.raw[0], k=0)
    with pytest.raises(ArgumentError, match="kind"):
        nearest(vocabulary, "thing", "x")
