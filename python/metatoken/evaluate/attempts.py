"""Baselines that may fail: one that does costs its row, and its reason is told."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

from metatoken.errors import MetatokenWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
LONGEST = 200  # characters of a reason


def attempt(name: str, work: Callable[[], T]) -> T | None:
    """What a baseline gives, None where it fails.

    Warns:
        MetatokenWarning: It fails; with its reason. A panic of native code, which is no `Exception`, counts as well.
    """
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 (whatever it is, it is no reason to lose the other rows)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        warnings.warn(f"the baseline {name} failed, so it has no row ({reason})", MetatokenWarning, stacklevel=2)
        return None


def attempts(work: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """What those of several baselines give that do not fail, by name."""
    found = {name: attempt(name, one) for name, one in work.items()}
    return {name: value for name, value in found.items() if value is not None}
