"""Templates in other words: what is replaced, what stays, and that rows go on sharing their words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metatoken import TaskDataModule
from metatoken.errors import ArgumentError
from metatoken.tasks.wording import Rewording


def drawn(data: Any, step: int = 0) -> list[Any]:
    _ = data[0, step]
    return data._drawn[1]


def test_only_words_of_templates_are_replaced(batches: Any, make_module: Any) -> None:
    encoder = make_module().builder.encoder
    plain, noisy = batches(), batches(word_noise=0.5)
    replaced = kept = 0
    for step in range(len(plain)):
        for one, other in zip(drawn(plain, step), drawn(noisy, step), strict=True):
            words = np.concatenate([one.words, one.ids]), np.concatenate([other.words, other.ids])
            assert len(words[0]) == len(words[1])
            other_ids = words[0] != words[1]
            assert np.isin(words[0][other_ids], encoder.word_ids).all()
            assert np.isin(words[1][other_ids], encoder.word_ids).all()
            for name in ("items", "states", "targets", "answers", "taken"):
                assert np.array_equal(getattr(one, name), getattr(other, name))
            assert (one.user_at, one.place) == (other.user_at, other.place)
            n_words = int(np.isin(words[0], encoder.word_ids).sum())
            replaced, kept = replaced + int(other_ids.sum()), kept + n_words - int(other_ids.sum())
    assert 0.4 < replaced / (replaced + kept) < 0.5  # a word may be replaced by itself


def test_titles_and_special_tokens_stay(make_module: Any, split: Any) -> None:
    module = make_module(titles=True, history="written", max_history=10)
    encoder = module.builder.encoder
    assert not set(encoder.word_ids.tolist()) & set(module.tokenizer.all_special_ids)
    steps = []
    for share in (0.0, 0.9):
        data = TaskDataModule(split, module.vocabulary, batch_size=8, word_noise=share)
        data.connect(module.reader)
        steps.append(drawn(data.training_batches()))
    titles = 0
    for one, other in zip(*steps, strict=True):
        changed = np.flatnonzero(one.ids != other.ids)
        first = int(np.flatnonzero(one.items >= 0)[0]) if one.place >= 0 else one.states[0]
        assert (changed <= first).all()
        titles += int(np.isin(one.ids[first + 1 :], encoder.word_ids).sum())
    assert titles > 0


def test_rows_share_their_words_in_every_step(batches: Any) -> None:
    data = batches(word_noise=0.5)
    first, second = drawn(data, 0), drawn(data, 1)
    assert len({id(one.words) for one in first}) < len(first)
    assert {one.words.tobytes() for one in first} != {one.words.tobytes() for one in second}
    batch = data[0, 0]
    assert len(batch.words) == len({id(one.words) for one in first})


def test_words_do_not_depend_on_the_parts_of_a_step(batches: Any) -> None:
    whole, parts = batches(word_noise=0.5), batches(word_noise=0.5, parts=2)
    assert [one.words.tobytes() for one in drawn(whole, 3)] == [one.words.tobytes() for one in drawn(parts, 6)]
    assert np.array_equal(whole[0, 3].words, whole[0, 3].words)


def test_without_a_share_nothing_changes(batches: Any, split: Any, make_module: Any) -> None:
    encoder = make_module().builder.encoder
    before = drawn(batches())
    after = Rewording(0.0, encoder)(before, np.random.default_rng(0))
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.words, other.words)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ArgumentError, match="word_noise: expected a share of at least 0 and below 1"):
            TaskDataModule(split, make_module().vocabulary, word_noise=share)
