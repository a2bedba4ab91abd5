"""User tokens of training rows: no supervised target is among the items that they were built from, but for `full`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.data import Sequences
from metatoken.errors import ArgumentError
from metatoken.tasks.user_tokens import FOLDS, MODES, UserTokens, unseen


class Spy:
    """A vocabulary whose user token is the place of its source, so that tokens tell what they were built from."""

    n_users = 3

    def __init__(self) -> None:
        self.sources: list[set[int]] = []

    def user_codes_of(self, sequences: Sequences) -> np.ndarray:
        first = len(self.sources)
        self.sources += [set(items.tolist()) for items in sequences]
        return np.arange(first, len(self.sources), dtype=np.int32)[:, None]

    @staticmethod
    def tokens_of_codes(codes: np.ndarray) -> np.ndarray:
        return codes.astype(np.int64)


class Encoder:
    """Tokens of the vocabulary, built from everything, are 10^6 + user."""

    base = 1000

    class Users:
        def __getitem__(self, user: int) -> np.ndarray:
            return np.array([10**6 + user])

    users = Users()


def histories(lists: list[list[int]]) -> Sequences:
    return Sequences(
        np.concatenate([[0], np.cumsum([len(items) for items in lists])]).astype(np.int64),
        np.array([item for items in lists for item in items], np.int32),
    )


def source_of(ids: np.ndarray, spy: Spy, lists: list[list[int]]) -> set[int]:
    token = int(ids[0])
    return set(lists[token - 10**6]) if token >= 10**6 else spy.sources[token - Encoder.base]


HISTORIES = st.lists(st.lists(st.integers(0, 8), min_size=2, max_size=14), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(HISTORIES, st.sampled_from(MODES), st.integers(0, 6), st.integers(0, 99), st.booleans())
def test_no_supervised_target_is_in_the_tokens(
    lists: list[list[int]], mode: str, epoch: int, seed: int, per_target: bool
) -> None:
    spy: Any = Spy()
    encoder: Any = Encoder()
    tokens = UserTokens(mode, histories(lists), spy, encoder, needed=True)
    rng = np.random.default_rng([seed, epoch])
    tokens.begin(rng, epoch)
    leaks = 0
    for user, items in enumerate(lists):
        ids, taken, place = tokens.direct(user, rng)
        assert 0 <= place < len(items)
        leaks += items[place] in source_of(ids, spy, lists)
        assert set(taken.tolist()) == source_of(ids, spy, lists)
        for end in range(2, len(items) + 1):
            first = end - 1 if per_target else 1
            window = tokens.sequential(user, 0, first, end)
            assert first <= window.first < window.end <= end
            targets = set(items[window.first : window.end])
            assert targets
            if window.ids is not None:
                leaks += bool(targets & source_of(window.ids, spy, lists))
            else:
                assert mode != "full"
                assert (window.first, window.end) == (first, end)
    assert (leaks > 0) == (mode == "full")


def test_none_gives_sequential_rows_without_tokens() -> None:
    lists = [[1, 2, 3, 4]]
    tokens = UserTokens("none", histories(lists), Spy(), Encoder(), needed=False)  # type: ignore[arg-type]
    tokens.begin(np.random.default_rng(0), 0)
    assert tokens.sequential(0, 0, 1, 4) == (None, 1, 4)


def test_folds_cover_a_history_in_as_many_epochs() -> None:
    lists = [list(range(12))]
    tokens = UserTokens("out_of_fold", histories(lists), Spy(), Encoder(), needed=True)  # type: ignore[arg-type]
    seen: list[int] = []
    for epoch in range(FOLDS):
        tokens.begin(np.random.default_rng(epoch), epoch)
        window = tokens.sequential(0, 0, 1, 12)
        assert window.ids is not None
        seen += range(window.first, window.end)
    assert sorted(seen) == list(range(1, 12))


def test_tokens_are_built_from_as_much_as_the_rule_allows() -> None:
    lists = [[5, 6, 5, 7, 8], [1, 2]]
    found = unseen(histories(lists), np.array([3, 0]), np.array([5, 1]))
    assert [items.tolist() for items in found] == [[5, 6, 5], [2]]
    found = unseen(histories(lists), np.array([2, 0]), np.array([3, 2]))
    assert [items.tolist() for items in found] == [[6, 7, 8], []]


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected one of none, prefix, out_of_fold, full"):
        UserTokens("all", histories([[1, 2]]), Spy(), Encoder(), needed=True)  # type: ignore[arg-type]
    spy: Any = Spy()
    spy.n_users = 0
    with pytest.raises(ArgumentError, match="the vocabulary has no users"):
        UserTokens("prefix", histories([[1, 2]]), spy, Encoder(), needed=True)  # type: ignore[arg-type]
