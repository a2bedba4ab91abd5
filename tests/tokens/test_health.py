"""Whether tokens still fit a catalogue that has grown."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from metatoken import Vocabulary
from metatoken.tokens.quality.health import health
from metatoken.tokens.vectors.cold import NONE
from tests.growing import cut, rows_of

FAST = {"dim": 6, "walks_per_node": 2, "walk_length": 8, "threads": 1}
PARTS = cut(rows_of(), 0.4, 0.7)


def grown(**settings: object) -> Vocabulary:
    vocabulary, log = Vocabulary.fit(PARTS[0], **FAST, **settings), PARTS[0]
    for part in PARTS[1:]:
        log = log.append(part)
        vocabulary = vocabulary.extend(log)
    return vocabulary


@pytest.fixture(scope="module")
def roomy() -> Vocabulary:
    return grown(levels=[8, 16])


def test_a_vocabulary_that_was_never_extended_has_none() -> None:
    assert health(Vocabulary.fit(PARTS[0], **FAST, levels=[8, 16])) is None


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_figures_are_those_of_a_slow_count(metric: str) -> None:
    one = grown(levels=[8, 16], metric=metric, kinds="apart")
    for kind in ("item", "user"):
        found = health(one, kind)  # type: ignore[arg-type]
        assert found is not None
        vectors, codes = (one.item_vectors, one.item_codes) if kind == "item" else (one.user_vectors, one.user_codes)
        book = one.codebook if kind == "item" else one.user_codebook
        known = one.origins[one.nodes(kind)] != NONE  # type: ignore[arg-type]
        borders = [0, *(sizes[kind == "item"] for sizes in one.earlier), len(vectors)]
        unit = np.array([v / np.linalg.norm(v) if metric == "cosine" else v for v in vectors], np.float64)
        fitted = unit[: borders[1]][known[: borders[1]]]
        variance = np.mean([((row - fitted.mean(axis=0)) ** 2).sum() for row in fitted])
        shift = np.array(one.codebook.levels, np.int32) if kind == "user" else 0
        for begin, end, part in zip(borders, borders[1:], found.generations, strict=False):
            rows = [row for row in range(begin, end) if known[row]]
            assert (part.ids, part.measured) == (end - begin, len(rows))
            near = book.assign(vectors[rows])
            distance = [
                ((unit[row] - book.decode(code[None])[0]) ** 2).sum() for row, code in zip(rows, near, strict=True)
            ]
            assert part.error == pytest.approx(np.mean(distance) / variance)
            held = book.decode(codes[rows] - shift)
            assert part.error_held == pytest.approx(np.mean(((unit[rows] - held) ** 2).sum(axis=1)) / variance)
            assert part.off_nearest == np.mean(
                [not np.array_equal(a, b) for a, b in zip(near, codes[rows] - shift, strict=True)]
            )
        assert sum(part.ids for part in found.generations) == len(vectors) == found.generations[0].ids + found.later.ids


def test_room_is_counted(roomy: Vocabulary) -> None:
    found = health(roomy)
    assert found is not None
    assert found.fill.free == prod(roomy.codebook.levels) - roomy.n_items
    assert found.fill_at_first.free - found.fill.free == found.later.ids
    assert found.fill_before.free - found.fill.free == found.generations[-1].ids
    first = np.bincount(roomy.item_codes[:, 0], minlength=8)
    assert (found.fill.prefixes, found.fill.full) == ((first > 0).sum(), (first >= 16).sum())
    assert found.fill.fullest == first.max() / 16
    assert found.appended == 0
    assert found.room == found.fill.free // found.generations[-1].ids


def test_when_a_rebuild_is_due(roomy: Vocabulary) -> None:
    found = health(replace(roomy, earlier=((roomy.n_users, roomy.n_items, roomy.n_tokens),)))
    assert found is not None
    assert (found.due, found.room, found.later.error) == ((), None, None)  # nothing came later
    crowded_vocabulary = grown(levels=[4, 8], kinds="items")  # as many codes as fitted items
    crowded = health(crowded_vocabulary)
    assert crowded is not None
    assert crowded.appended == crowded_vocabulary.n_tokens - crowded_vocabulary.n_learned_tokens > 0
    assert health(crowded_vocabulary, "user") is None
    assert any("tokens were appended" in reason for reason in crowded.due)
    n = roomy.earlier[0][1]
    vectors = roomy.vectors.copy()
    vectors[roomy.n_users + n :] += 100 * roomy.item_vectors.std()
    far = health(replace(roomy, vectors=vectors))
    assert far is not None
    assert any("times as far from their nearest codewords" in reason for reason in far.due)


def test_ids_off_their_nearest_codewords_are_no_reason(roomy: Vocabulary) -> None:
    """They are placed one after the other, as those that were fitted were not."""
    n = roomy.earlier[0][1]
    codes = roomy.item_codes.copy()
    codes[n:] = (codes[n:] + 1) % np.array(roomy.levels)
    found, moved = health(roomy), health(replace(roomy, item_codes=codes))
    assert found is not None
    assert moved is not None
    assert moved.later.off_nearest == 1.0
    assert not any("off" in reason for reason in moved.due)
    assert moved.to_dict()["room"] == moved.room


def test_appended_tokens_count_for_the_kind_that_has_them(roomy: Vocabulary) -> None:
    one = grown(levels=[4, 4], kinds="apart", unique="counter")
    first = one.n_learned_tokens
    for kind, tokens in (("item", one.item_tokens), ("user", one.user_tokens)):
        found = health(one, kind)  # type: ignore[arg-type]
        assert found is not None
        assert found.appended == len({int(token) for token in tokens.flat if token >= first})
