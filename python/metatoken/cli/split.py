"""`metatoken split`: a log into a file for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from metatoken.cli import options
from metatoken.cli.output import check_output, note, print_facts, reading, say
from metatoken.data.settings import LogSettings
from metatoken.errors import ArgumentError

NO_OPTIONS = ("path", "texts", "split", "part", "validation_path", "test_path", "items", "item_id", "title",
              "categories", "items_separator", "items_encoding", "items_columns")  # fmt: skip
OTHERS = ("rating", "review", "summary", "explanation", "feature")


@options.with_settings(LogSettings, NO_OPTIONS)
def split(
    *,
    by: Annotated[
        Literal["time", "ratio"],
        typer.Option(help="A cut in time, or the last share of each history.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the parts; appears when complete.")],
    log: Annotated[
        Path | None,
        typer.Argument(help="A file of interactions (also .gz, .zst), a folder or a pattern.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the parts that are at --out.")] = False,
    **fields: Any,
) -> None:
    """Cut a log into a file for each part, such as what was before a time and what came after.

    The first part can be trained on as if the rest had not happened yet, new items included.
    """
    from metatoken.data.cuts import told, write_parts
    from metatoken.data.interactions import read_log

    if log is None and "uri" not in fields:
        raise ArgumentError("LOG", "expected a file of interactions, or --uri and --query; got neither")
    if by == "time" and fields.get("time") is None:
        raise ArgumentError("--time", "expected the column of times, by which the log is cut")
    if log is not None:
        _check_apart(out, log)
    check_output(out, overwrite, "split")
    about = LogSettings.read({"path": log, **fields, "split": by})
    with reading() as rows:
        found = read_log(about)
        rows(found.rows_read)
    for line in found.notes:
        note(line)
    parts = write_parts(found, about, out)
    for line in told(parts):
        say(line)
    print_facts((part, out / f"{part}.parquet") for part in parts)
    named = {"timestamp": "--time time"} | {name: f"--{name} {name}" for name in OTHERS}
    read = " ".join(option for name, option in named.items() if name in found.frame.columns)
    print(f"columns are user, item and so on; to read a part: {read or 'no options'}")


def _check_apart(out: Path, log: Path) -> None:
    """Refuses a folder of parts that holds the log, or lies where the next command would read the parts, too."""
    from metatoken.artifacts.writing import resolved

    place, source = resolved(out), resolved(log)
    if place == source or place in source.parents:
        raise ArgumentError("--out", f"{out} holds {log}, which is read; choose another place")
    if source in place.parents:
        raise ArgumentError("--out", f"{out} lies in {log}, which is read as a whole; choose another place")
