"""A vocabulary that grows: what is old stays, what is new is unique, halves make the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken import Interactions, Vocabulary
from metatoken.data import IdMap, leave_last_out
from metatoken.errors import ArgumentError
from metatoken.tokens.trie import Trie
from metatoken.tokens.vectors.cold import FEATURES, NEIGHBOURS, NONE
from tests.growing import TIMES, cut, rows_of

FAST = {"dim": 6, "walks_per_node": 2, "walk_length": 8, "threads": 1}
KINDS: list[dict[str, Any]] = [
    {"levels": [8, 16]},
    {"levels": [8, 8], "method": "flat+rank", "kinds": "items", "max_cluster_size": 7},
    {"levels": [4, 4, 4], "metric": "cosine"},  # too few codes: tokens are appended
    {"levels": [8, 8], "kinds": "apart"},
    {"levels": [4, 4], "kinds": "apart", "unique": "counter"},
]
ROWS = rows_of()
FIRST = cut(ROWS, 0.4)[0]
FITTED = [Vocabulary.fit(FIRST, **FAST, **kinds) for kinds in KINDS]


def bytes_of(vocabulary: Vocabulary, users: int, items: int, tokens: int) -> list[bytes]:
    """All of the first users, items and tokens."""
    one = vocabulary
    parts = [
        one.user_vectors[:users], one.item_vectors[:items], one.user_codes[:users], one.item_codes[:items],
        one.centroids[:tokens], one.trained[: one.n_users][:users], one.trained[one.n_users :][:items],
        one.origins[: one.n_users][:users], one.origins[one.n_users :][:items], one.user_tokens[:users],
        one.item_tokens[:items], *one.codebook.centroids, *one.user_codebook.centroids, *vars(one.fold_in).values(),
    ]  # fmt: skip
    return [np.ascontiguousarray(part).tobytes() for part in parts]


def check(old: Vocabulary, new: Vocabulary, log: Interactions) -> None:
    """All that an extension promises."""
    size = old.n_users, old.n_items, old.n_tokens
    assert bytes_of(old, *size) == bytes_of(new, *size)
    assert new.tokens[: old.n_tokens - old.levels[-1]] == old.tokens[: old.n_tokens - old.levels[-1]]
    assert (new.users.raw[: old.n_users], new.items.raw[: old.n_items]) == (old.users.raw, old.items.raw)
    assert (new.items, new.earlier[-1]) == (log.items, size)
    for kind in ("user", "item"):
        texts = [new.tokens_of(**{kind: raw}) for raw in new.ids(kind)]
        assert texts[: len(old.ids(kind))] == [old.tokens_of(**{kind: raw}) for raw in old.ids(kind)]
        assert len(set(texts)) == len(texts)
    trie = Trie.from_codes(new.item_codes)
    assert sorted(trie.leaf_items.tolist()) == list(range(len(log.items)))
    assert all(trie.items(trie.find(codes)).tolist() == [row] for row, codes in enumerate(new.item_codes))


@settings(max_examples=20)
@given(st.sampled_from(range(len(KINDS))), st.lists(st.floats(0.45, 0.97), min_size=1, max_size=4, unique=True))
def test_no_extension_changes_what_is_old(kinds: int, shares: list[float]) -> None:
    vocabulary, log = FITTED[kinds], FIRST
    _, *parts = cut(ROWS, 0.4, *sorted(shares))
    for part in parts:
        log = log.append(part)
        grown = vocabulary.extend(log, threads=1)
        check(vocabulary, grown, log)
        vocabulary = grown
    assert vocabulary.n_learned_tokens == FITTED[kinds].n_tokens


@pytest.mark.parametrize("vocabulary", FITTED, ids=lambda one: f"{one.settings['levels']} {one.settings['kinds']}")
def test_two_halves_are_the_whole(vocabulary: Vocabulary) -> None:
    # Each new user and item comes in one half, as those of two shops would; that is all that vectors may depend on.
    rng = np.random.default_rng(3)
    old = FIRST.items.raw
    early, late = (
        Interactions.from_arrays(
            [f"{half}{user}" for user in range(6) for _ in range(5)],
            [name for _ in range(6) for name in (*rng.choice(old, 4, replace=False), f"{half}-{rng.integers(4)}")],
            times=[2e9 + 1e6 * (half == "late") + place for place in range(30)],
        )
        for half in ("early", "late")
    )
    log, both = FIRST.append(early), FIRST.append(early).append(late)
    twice, once = vocabulary.extend(log).extend(both), vocabulary.extend(both)
    assert twice.n_items > vocabulary.n_items + 4
    order_of = np.argsort(once.items.rows(twice.items.raw))
    assert np.array_equal(order_of, np.arange(once.n_items))
    assert np.array_equal(twice.item_codes, once.item_codes)
    assert np.array_equal(twice.item_vectors, once.item_vectors)
    assert np.array_equal(twice.user_vectors, once.user_vectors)
    assert twice.learned_from == once.learned_from


def test_saved_and_loaded(tmp_path: Path) -> None:
    log = FIRST.append(cut(ROWS, 0.4, 0.9)[1])
    for vocabulary in FITTED:
        grown = vocabulary.extend(log)
        grown.save(tmp_path / "grown")
        again = Vocabulary.load(tmp_path / "grown")
        size = grown.n_users, grown.n_items, grown.n_tokens
        assert bytes_of(grown, *size) == bytes_of(again, *size)
        assert (again.earlier, again.report) == (grown.earlier, grown.report)
        check(vocabulary, again, log)


def with_table(log: Interactions, categories: dict[str, list[str]]) -> Interactions:
    """A log and items that nobody has taken, with categories."""
    from metatoken.data.growth import nothing

    more = Interactions.from_frame(
        {"user": ["x"] * len(categories), "item": [*categories]},
        items={"item": [*categories], "categories": [*categories.values()]},
    )
    return log.append(nothing()).append(more.with_rows(np.zeros(len(more), np.bool_)))


def test_an_item_without_interactions_gets_what_its_categories_say() -> None:
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(60), 8), []
    for user in range(60):
        items += [f"{'ab'[user % 2]}{row}" for row in rng.permutation(15)[:8]]
    log = Interactions.from_arrays([f"u{user}" for user in users], items)
    known = {name: [name[0]] for name in log.items}
    log = with_table(log, known)
    vocabulary = Vocabulary.fit(log, levels=[4, 16], dim=8, seed=0, threads=1)
    grown = vocabulary.extend(with_table(log, {"new-a": ["a"], "new-b": ["b"], "new-c": ["c"], "new": []}))
    found = dict(zip(grown.items.raw, grown.origins[grown.n_users :].tolist(), strict=True))
    assert [found[name] for name in ("new-a", "new-b", "new-c", "new")] == [FEATURES, FEATURES, NONE, NONE]
    means = {
        mark: grown.item_vectors[[row for row, raw in enumerate(log.items) if raw[0] == mark]].mean(0) for mark in "ab"
    }
    for mark, other in ("ab", "ba"):
        own = grown.item_vectors[grown.items.row(f"new-{mark}")]
        assert np.linalg.norm(own - means[mark]) < np.linalg.norm(own - means[other]) / 2
    assert grown.report["extension"]["items"] == {"features": 2, "none": 2}


def test_an_item_gets_the_place_of_what_it_came_with() -> None:
    vocabulary = FITTED[0]
    a, b = FIRST.items.raw[:2]
    new = Interactions.from_arrays(["p", "p", "q", "q"], [a, "near-a", "alone", b], times=[3e9, 3e9, 3e9, 4e9])
    grown = vocabulary.extend(FIRST.append(new))
    vector = dict(zip(grown.items.raw, grown.item_vectors, strict=True))
    assert np.allclose(vector["near-a"], vector[a], atol=1e-6)  # what was taken before it
    assert np.allclose(vector["alone"], vector[b], atol=1e-6)  # nothing before it: what was taken behind it
    assert (grown.origins[-2:] == NEIGHBOURS).all()


def test_given_features_speak_for_items() -> None:
    log = with_table(FIRST, {"new": []})
    rng = np.random.default_rng(0)
    vectors = FITTED[0].item_vectors
    features = np.concatenate([vectors @ rng.normal(size=(6, 6)), np.zeros((1, 6))]).astype(np.float32)
    features[-1] = features[4]
    grown = FITTED[0].extend(log, features=features)
    assert grown.origins[-1] == FEATURES
    assert np.allclose(grown.item_vectors[-1], vectors[4], atol=0.02)


def test_what_does_not_fit_is_refused() -> None:
    vocabulary, (_, later) = FITTED[0], cut(ROWS, 0.4)
    with pytest.raises(ArgumentError, match=r"train: user row 0 is .* in the vocabulary, but .* in the log"):
        vocabulary.extend(later)
    fewer = replace(FIRST, items=IdMap(FIRST.items.raw[:-1], "item"))
    with pytest.raises(ArgumentError, match="but nothing in the log; append new rows to the log"):
        vocabulary.extend(fewer)
    with pytest.raises(ArgumentError, match=rf"features: expected finite numbers or NaN, \[{FIRST.n_items}, f\]"):
        vocabulary.extend(FIRST, features=np.zeros((3, 2)))
    with pytest.raises(TypeError, match="train: expected Interactions"):
        vocabulary.extend([("a", "b")])  # type: ignore[arg-type]


def test_items_that_are_held_out_alone_are_new_items() -> None:
    # The last two items of a user are held out, so that training knows these rows by their numbers alone.
    vocabulary = FITTED[0]
    first = vocabulary.items.raw[:3]
    rows = pl.DataFrame(
        {"user": ["fresh"] * 5, "item": [*first, "late", "later"], "timestamp": [2 * 10**9 + i for i in range(5)]}
    )
    whole = FIRST.append(Interactions.from_frame(rows, **TIMES))
    train = leave_last_out(whole).train
    grown = vocabulary.extend(train, threads=1)
    check(vocabulary, grown, train)
    assert grown.items.raw[-2:] == ("late", "later")
    assert grown.origins[-2:].tolist() == [NONE, NONE]
