"""What commands print besides errors: warnings, progress bars and small tables of facts."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from rich.console import Console

    from metatoken.cli.kinds import Kind


def check_output(path: Path, overwrite: bool, kind: str) -> None:
    """Refuses, before any work, to write where something stands that must stay, or where nothing can be written."""
    from metatoken.artifacts import check_folder

    if not overwrite and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ArgumentError("--out", f"{path} exists; choose another place, or pass --overwrite to replace it")
    check_folder(path, kind)


def check_output_file(option: str, out: Path | None, inputs: Mapping[str, Path | None], kind: Kind) -> None:
    """Refuses, before any work, a file that is read, that metatoken has not written, or that cannot be written.

    Args:
        option: Names the file.
        out: The file; nothing is refused without one.
        inputs: What is read, by the option that names it.
        kind: What is written; an older file is replaced only if it is of the same kind, and no part of a run.

    Raises:
        ArgumentError: It must stay.
        ArtifactError: Nothing can be written there.
    """
    from metatoken.artifacts.writing import check_file, check_writable, resolved

    if out is None:
        return
    place = resolved(out)
    for name, path in inputs.items():
        if path is not None and place.exists() and path.exists() and place.samefile(path):
            raise ArgumentError(option, f"{out} is the file that {name} reads; write somewhere else")
    for folder in place.parents:
        if place.exists() and any((folder / sign).is_file() for sign in SIGNS):
            raise ArgumentError(option, f"{out} is a part of {folder}; write somewhere else")
    check_file(place)
    if place.exists() and place.stat().st_size and not kind.matches(place):
        raise ArgumentError(option, f"{out} holds something else than {kind.noun}; choose another place, or remove it")
    check_writable(place)


SIGNS = ("manifest.json", "history.parquet")  # of an artifact, and of a run of before there were manifests
LONG = 1.0  # seconds after which reading a log is worth a word
WIDE = 160  # columns that the whole table of metrics takes
NOVEL = 26  # columns that hit rates of known and of new items add to it
HIDDEN = ("ndcg@10_known", "ndcg@10_new")  # in the document alone
NARROW = 190  # columns below which a comparison shows the main metrics
PIPE = 200  # columns of what is no terminal
CONTROL = {chr(code): f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def say(line: str) -> None:
    """Prints a line at once, also where the output is no terminal; what is the user's in it as `printable` has it."""
    print(printable(line), flush=True)


def warn(message: str) -> None:
    """Prints `warning: message` on stderr, so that stdout stays a result."""
    print(f"warning: {printable(message)}", file=sys.stderr)


def note(line: str) -> None:
    """Prints a line about what was read on stderr."""
    print(printable(line), file=sys.stderr)


def printable(text: str) -> str:
    """A text of the user's as a terminal may get it: control characters, which could move its cursor, are spelled."""
    return "".join(CONTROL.get(character, character) for character in text)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that disappears when done; silent where stderr is not a terminal.

    Yields:
        `callback(done, total)`, the shape of every `progress` argument of metatoken. A total of 0 means not yet known.
        A smaller `done` or another total starts the next stage of the same bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    text = TextColumn("{task.description}")
    columns = (SpinnerColumn(), text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


@contextmanager
def reading() -> Iterator[Callable[[int], None]]:
    """A bar while a log is read; where that took long, rows and rows a second on stderr.

    Yields:
        A function that is told how many rows there were.
    """
    rows: list[int] = []
    began = time.perf_counter()
    with progress_bar("reading the log"):
        yield rows.append
    if rows and (seconds := time.perf_counter() - began) > LONG:
        print(f"read {rows[0]:,} rows in {seconds:.1f} s, {rows[0] / seconds:,.0f} a second", file=sys.stderr)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Prints `name  value` lines with the names padded to one width."""
    rows = list(facts)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(printable(f"{name:<{width}}  {readable(value)}"))


def make_console() -> Console:
    """A console for tables: as wide as the terminal, or wide where there is none."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE)


def print_metrics(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the table of metrics and what its rows are; in a terminal too narrow for all columns, the main ones."""
    from metatoken.evaluate.legend import legend
    from metatoken.evaluate.metrics import LABELS, VERSUS, metrics_table

    console = make_console()
    rows = [{name: value for name, value in row.items() if name not in HIDDEN} for row in rows]
    novel = any("hr@10_new" in row for row in rows)
    if console.width < WIDE + novel * NOVEL:
        main = (*LABELS[:-1], "hr@10", "ndcg@10", "hr@10_new", "rmse", "mae", "bleu4", "rouge1", VERSUS)
        rows = [{name: row[name] for name in main if name in row} for row in rows]
    # Ranking, ratings and texts have other columns, and a table each.
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(next(name for name in row if name not in LABELS), []).append(row)
    for part in kinds.values():
        console.print(metrics_table(part))
        print_facts(legend(part))


def readable(value: object) -> str:
    """A number as a person reads it: thousands separated, four significant digits; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
