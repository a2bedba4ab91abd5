"""What a person sees when something goes wrong: one line, and an exit code that scripts can rely on."""

from __future__ import annotations

import errno
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from metatoken.cli.interrupts import TerminatedError
from metatoken.cli.output import printable, warn
from metatoken.errors import ArgumentError, MetatokenError, MetatokenWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

USER_ERROR = 2
INTERRUPTED, TERMINATED = 130, 143  # 128 + SIGINT and 128 + SIGTERM, as shells count


def fail(message: str) -> NoReturn:
    """Prints `error: message` on one line of stderr and exits with code 2."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


DISKS = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EFBIG")} - {None}
NO_MEMORY = ("can't allocate memory", "out of memory")  # as torch says it for processors and for devices


def as_option(error: ArgumentError, options: Mapping[str | None, Sequence[str]]) -> ArgumentError:
    """The error with the option of a command in place of the argument that it sets; others, and subclasses, stay.

    Args:
        error: What the package says.
        options: How each parameter of the command is written, by its name.
    """
    name = max(options.get(error.argument, ()), key=len, default="")
    if type(error) is not ArgumentError or not name.startswith("-"):
        return error
    return ArgumentError(name, str(error).removeprefix(f"{error.argument}: "))


def _of_the_system(error: OSError) -> str | None:
    """What to say of a file that is missing or forbidden, or of a full disk; None for a fault of ours."""
    if error.filename is not None or error.errno in DISKS:  # pipes and print do not name a file
        return f"{error.filename or 'output'}: {error.strerror}"
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the working directory was removed; change into one that is there"
    return None


@contextmanager
def clean_errors() -> Iterator[None]:
    """Turns mistakes of the user into one line and exit code 2, Ctrl-C into exit code 130, SIGTERM into 143.

    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        yield
    except MetatokenError as error:
        fail(str(error))
    except KeyboardInterrupt as error:
        raise SystemExit(TERMINATED if isinstance(error, TerminatedError) else INTERRUPTED) from None
    except OSError as error:
        said = _of_the_system(error)
        if said is None:
            raise
        fail(said)
    except MemoryError:
        fail("there is not enough memory for this; give smaller sizes, or less data")
    except RuntimeError as error:
        if not any(sign in str(error) for sign in NO_MEMORY):
            raise
        fail(f"there is not enough memory for this ({str(error).splitlines()[0]}); give smaller sizes")
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the native core, which no class of Python's stands for
            raise
        fail(f"the native core failed ({error}); this is a fault of metatoken, please report it")


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
