"""A baseline that fails costs its row only."""

from __future__ import annotations

import warnings

import pytest

from metatoken.errors import MetatokenWarning
from metatoken.evaluate.attempts import attempt, attempts


class PanicException(BaseException):
    """As a panic of another library's native code reaches Python."""


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    "error", [ValueError("ratings of 1e5\nare too large"), PanicException("overflow"), MemoryError()]
)
def test_the_others_keep_their_rows(error: BaseException) -> None:
    with pytest.warns(
        MetatokenWarning, match=rf"the baseline b failed, so it has no row \({type(error).__name__}"
    ) as told:
        assert attempts({"a": lambda: 1, "b": lambda: fail(error), "c": lambda: 3}) == {"a": 1, "c": 3}
    assert "\n" not in str(told[0].message)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2)])
def test_a_person_who_stops_it_is_heard(error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempt("a", lambda: fail(error))


def test_no_word_where_nothing_fails() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert attempt("a", lambda: 1) == 1
