"""What a person sees when something goes wrong: one line, and an exit code that scripts can rely on."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from metatoken.cli.output import warn
from metatoken.errors import MetatokenError, MetatokenWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def fail(message: str) -> NoReturn:
    """Prints `error: message` on one line of stderr and exits with code 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


@contextmanager
def clean_errors() -> Iterator[None]:
    """Turns mistakes of the user into one line and exit code 2, Ctrl-C into exit code 130.

    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        yield
    except MetatokenError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except OSError as error:
        # Files that are missing, forbidden or on a full disk; an OSError without a file is not about the user's input.
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}")


@contextmanager
def clean_warnings() -> Iterator[None]:
    """Prints each warning of metatoken on one line of stderr, once for a command; others are shown as Python does."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", MetatokenWarning)
        show = warnings.showwarning

        def print_once(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if not issubclass(category, MetatokenWarning):
                show(message, category, *place, **options)
            elif str(message) not in said:
                said.add(str(message))
                warn(str(message))

        warnings.showwarning = print_once
        yield
