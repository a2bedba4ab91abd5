"""The exceptions of metatoken.

Each also derives from the builtin that a caller would expect. The command line turns every `MetatokenError` into one
line and exit code 2, and every `MetatokenWarning` into one line.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class MetatokenError(Exception):
    """Base of every error that metatoken raises on purpose."""


class ArgumentError(MetatokenError, ValueError):
    """An argument has a value that cannot be used.

    Args:
        argument: Name of the argument.
        message: What was expected, what came, and how to fix it.
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(f"{argument}: {message}")
        self.argument = argument


class DataError(MetatokenError, ValueError):
    """A file or table of the user cannot be read as what it should be.

    Args:
        message: What was expected, what came, and how to fix it.
        path: The file, where there is one.
        line: Line number from 1, where it is known.
    """

    def __init__(self, message: str, path: object = None, line: int | None = None) -> None:
        place = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(f"{place}{message}")
        self.path = path
        self.line = line


class ArtifactError(MetatokenError, ValueError):
    """A saved artifact is missing, altered, or of a schema this version does not know."""


class ConfigError(MetatokenError, ValueError):
    """A configuration file has a broken or unknown key or value."""


REMEDY = "train again with a smaller model.learning_rate, or a smaller trainer.gradient_clip_val"


class DivergedError(MetatokenError, ArithmeticError):
    """A loss, a score or a weight became infinite or NaN while a model was trained."""


class CoreError(MetatokenError, RuntimeError):
    """The native core has failed by a mistake of ours.

    Args:
        message: What it said.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"the native core failed ({message}); this is a fault of metatoken, please report it")


class EngineError(MetatokenError, RuntimeError):
    """Ray cannot be started, or work that was given to it failed for no reason of ours."""


class UnknownIdError(MetatokenError, KeyError):
    """A raw id is not in the vocabulary or the log."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; a person wants the sentence.
        return str(self.args[0]) if self.args else ""


class ConditionError(ArgumentError):
    """A filter over items cannot be parsed, or does not fit the columns of the item table.

    Args:
        message: What was expected and what came.
        position: Character of the filter where it went wrong, from 1.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__("where", f"character {position}: {message}")
        self.position = position


class MetatokenWarning(UserWarning):
    """Something works, though perhaps not as a person thinks; the command line prints it on one line, once."""


def hint(name: str, known: Sequence[str], otherwise: str) -> str:
    """How to mend a name that is not known: the nearest known one, or `otherwise`."""
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else otherwise
