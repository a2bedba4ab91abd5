from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatoken.data import Interactions, generate_world, leave_last_out
from metatoken.errors import ArgumentError, UnknownIdError
from metatoken.tokens.quality.memorization import memorization
from metatoken.tokens.quality.scores import balance, collision_rate, diversity, log_matrices, score, shared_tokens
from metatoken.tokens.vocabulary import Vocabulary
from tests.oracles import scores as slow

matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-3, 3).map(float)
)


@settings(max_examples=150, deadline=None)
@given(x=matrices)
def test_diversity_equals_the_definition(x: np.ndarray) -> None:
    found, mean = diversity(x), slow.mean_cosine(x)
    assert found.effective_rank == pytest.approx(slow.effective_rank(x), rel=1e-4)
    assert found.mean_cosine == (None if mean is None else pytest.approx(mean, abs=1e-9))
    assert found.collision_rate == slow.collision_rate(x)


@settings(max_examples=50, deadline=None)
@given(x=matrices, scale=st.sampled_from([0.25, 2.0, 1024.0]))
def test_diversity_is_scale_free(x: np.ndarray, scale: float) -> None:
    assert diversity(x * np.float32(scale)) == diversity(x)


def test_diversity_known_answers() -> None:
    alike = diversity(np.tile(np.float32([3, 4]), (5, 1)))
    assert alike.effective_rank == pytest.approx(1)
    assert alike.mean_cosine == pytest.approx(1)
    assert alike.collision_rate == 1
    apart = diversity(np.eye(4, dtype=np.float32))
    assert apart.effective_rank == pytest.approx(4)
    assert apart.mean_cosine == pytest.approx(0)
    assert apart.collision_rate == 0


def test_balance_known_answers() -> None:
    codes = np.array([[0, 0], [0, 1], [0, 2], [1, 3], [1, -1]], np.int32)
    first, second = balance(codes, (4, 4))
    assert (first.level, first.tokens, first.used) == ("a", 4, 2)
    assert first.entropy == pytest.approx(-(0.6 * np.log(0.6) + 0.4 * np.log(0.4)) / np.log(4))
    assert first.max_over_mean == pytest.approx(3 / (5 / 4))
    assert (second.level, second.used, second.entropy, second.max_over_mean) == ("b", 4, pytest.approx(1), 1)


def test_shared_tokens() -> None:
    users, items = np.array([[0, 5], [1, -1]]), np.array([[0, 6], [2, 5]])
    assert shared_tokens(users, items) == pytest.approx(2 / 5)
    assert shared_tokens(users[:0], items) is None


def test_collision_rate_counts_every_member() -> None:
    assert collision_rate(np.array([[1, 2], [1, 2], [1, 3], [0, 0]])) == 0.5


def world() -> tuple[Interactions, Vocabulary]:
    train = leave_last_out(generate_world(n_users=120, n_items=60, n_groups=4, seed=3).interactions()).train
    vocabulary = Vocabulary.fit(train, dim=16, walks_per_node=20, walk_length=20, epochs=5, levels=(8, 64))
    return train, vocabulary


@pytest.fixture(scope="module")
def fitted() -> tuple[Interactions, Vocabulary]:
    return world()


def ratings_of(log: Interactions, row: str, column: str) -> slow.Ratings:
    cells: dict[tuple[int, int], list[float]] = {}
    for i, j, value in log.frame.select(row, column, "rating").iter_rows():
        cells.setdefault((i, j), []).append(value)
    ratings: slow.Ratings = {}
    for (i, j), values in cells.items():
        ratings.setdefault(i, {})[j] = sum(values) / len(values)
    return ratings


@pytest.mark.parametrize("kind", ["user", "item"])
def test_log_matrices_equal_the_log(fitted: tuple[Interactions, Vocabulary], kind: str) -> None:
    train, vocabulary = fitted
    # A repeated pair counts once, with its mean rating.
    again = train.with_rows(pl.concat([train.frame, train.frame[:40].with_columns(pl.col("rating") * 0 + 2)]))
    binary, centred = log_matrices(vocabulary, again, kind)
    ratings = ratings_of(again, kind, "item" if kind == "user" else "user")
    columns = slow.transposed(ratings)
    mean = {column: sum(values.values()) / len(values) for column, values in columns.items()}
    expected = np.zeros(binary.shape)
    mask = np.zeros(binary.shape)
    for row, cells in ratings.items():
        for column, value in cells.items():
            mask[row, column], expected[row, column] = 1, value - mean[column]
    np.testing.assert_array_equal(binary.toarray(), mask)
    assert centred is not None
    np.testing.assert_allclose(centred.toarray(), expected, atol=1e-5)


def test_rows_without_a_rating_are_left_out_where_others_have_one(fitted: tuple[Interactions, Vocabulary]) -> None:
    train, vocabulary = fitted
    first = pl.int_range(pl.len()) < 100
    holes = replace(
        train, frame=train.frame.with_columns(pl.when(first).then(None).otherwise("rating").alias("rating"))
    )
    binary, centred = log_matrices(vocabulary, holes, "item")
    expected, _ = log_matrices(vocabulary, train.with_rows(train.frame[100:]), "item")
    np.testing.assert_array_equal(binary.toarray(), expected.toarray())
    assert centred is not None
    assert np.isfinite(centred.data).all()
    none = replace(train, frame=train.frame.with_columns(pl.lit(None, pl.Float32).alias("rating")))
    assert log_matrices(vocabulary, none, "item")[1] is None


@pytest.mark.parametrize("representation", ["tokens", "vectors"])
def test_score_puts_the_parts_together(fitted: tuple[Interactions, Vocabulary], representation: str) -> None:
    train, vocabulary = fitted
    found = score(vocabulary, train, representation=representation)
    assert found == score(vocabulary, train, representation=representation)
    for part, kind in ((found.users, "user"), (found.items, "item")):
        assert part is not None
        rows = slice(0, vocabulary.n_users) if kind == "user" else slice(vocabulary.n_users, None)
        x = vocabulary.vectors[rows] if representation == "vectors" else vocabulary.composed(kind)
        assert part.diversity == diversity(x[vocabulary.trained[rows]] if representation == "vectors" else x)
        assert part.id_collision_rate == 0
        binary, centred = log_matrices(vocabulary, train, kind)
        assert part.memorization == memorization(binary, centred, x, min_support=2, max_pairs=200_000, seed=0)
        assert (part.published.memorization is None) == (kind == "user")
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["items"]["memorization"]["pairs"] == found.items.memorization.pairs
    assert [level["level"] for level in back["levels"]] == ["a", "b"]


def test_vectors_of_the_log_remember_it_better_than_shuffled_ones(fitted: tuple[Interactions, Vocabulary]) -> None:
    train, vocabulary = fitted
    implicit = replace(train, frame=train.frame.drop("rating"))
    rng = np.random.default_rng(0)
    n = vocabulary.n_users
    order = np.concatenate([rng.permutation(n), n + rng.permutation(vocabulary.n_items)])
    shuffled = replace(vocabulary, vectors=vocabulary.vectors[order])
    real, noise = (score(v, implicit, representation="vectors", min_support=3) for v in (vocabulary, shuffled))
    for kind in ("users", "items"):
        memory, other = getattr(real, kind).memorization, getattr(noise, kind).memorization
        assert memory.reference == "co-occurrence cosine"
        assert memory.auc > 0.65
        assert memory.spearman > 0.2
        assert abs(other.auc - 0.5) < 0.1
        assert abs(other.spearman) < 0.15


def test_score_without_a_log_or_users() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    vocabulary = Vocabulary.from_embeddings([f"i{n:02}" for n in range(30)], x, (4, 32))
    alone = score(vocabulary)
    assert alone.users is None
    assert alone.items.memorization is None
    assert alone.shared_tokens is None
    # With a log, items are matched by raw id, and its users need not be in the vocabulary.
    log = Interactions.from_arrays([f"u{n % 9}" for n in range(90)], [f"i{n * 7 % 29:02}" for n in range(90)])
    with_log = score(vocabulary, log, min_support=1)
    assert with_log.users is None
    assert with_log.items.memorization.pairs > 0
    with pytest.raises(UnknownIdError, match="i99"):
        score(vocabulary, Interactions.from_arrays(["u"], ["i99"]))


@pytest.mark.parametrize(("argument", "value"), [("representation", "x"), ("min_support", 0), ("max_pairs", 0)])
def test_score_refuses(fitted: tuple[Interactions, Vocabulary], argument: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=argument):
        score(fitted[1], fitted[0], **{argument: value})
