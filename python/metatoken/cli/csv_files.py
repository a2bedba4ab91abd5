"""Tables of commands as CSV, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def csv_option(what: str) -> Any:
    """The option `--csv FILE` of a command that prints a table.

    Args:
        what: What the file holds.
    """
    return typer.Option("--csv", metavar="FILE", help=f"Also write {what} as CSV.")


def check_csv(path: Path | None, inputs: Mapping[str, Path | None], columns: Sequence[str]) -> None:
    """Refuses, before any work, to write onto what must stay; an older table with these columns is replaced.

    Args:
        path: The file; nothing is refused without one.
        inputs: What is read, by the option that names it.
        columns: Columns that every such table has.
    """
    from metatoken.cli.kinds import table
    from metatoken.cli.output import check_output_file

    check_output_file("--csv", path, inputs, table("such a table", columns))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes a table, whole or not at all; columns follow each other as rows first have them.

    Args:
        path: The file.
        rows: Plain values by column; what a row lacks, or has as None, stays empty.
        columns: Columns that come first, and are there without a row, too.
    """
    import csv

    from metatoken.artifacts import atomic_file

    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    with atomic_file(path) as work, work.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def flat(document: Mapping[str, Any], before: str = "") -> Iterator[dict[str, Any]]:
    """Every number and text of a nested document as `name` and `value`, names joined by dots."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        elif isinstance(value, list | tuple):
            yield from flat({str(place): one for place, one in enumerate(value)}, f"{before}{name}.")
        else:
            yield {"name": f"{before}{name}", "value": value}
