"""Options that several commands share: how to read and split a log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from metatoken.cli.output import warn
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data import Split

PANEL = "Reading the log"
ITEMS = "Item table"
SPLITS = ("leave-last-out", "none")

Form = Annotated[str, typer.Option("--format", help="table, sequences, pairs or sessions.", rich_help_panel=PANEL)]
User = Annotated[str, typer.Option("--user", help="Column of user ids (tables only).", rich_help_panel=PANEL)]
Item = Annotated[str, typer.Option("--item", help="Column of item ids (tables only).", rich_help_panel=PANEL)]
Time = Annotated[
    str | None,
    typer.Option("--time", help="Column of times; without it the order of the file counts.", rich_help_panel=PANEL),
]
Rating = Annotated[str | None, typer.Option("--rating", help="Column of ratings.", rich_help_panel=PANEL)]
SplitName = Annotated[
    str,
    typer.Option(
        "--split",
        help="leave-last-out keeps the last two items of each user out; none takes all.",
        rich_help_panel=PANEL,
    ),
]
Items = Annotated[Path | None, typer.Option("--items", help="A table about items.", rich_help_panel=ITEMS)]
ItemId = Annotated[str | None, typer.Option("--item-id", help="Its column of item ids.", rich_help_panel=ITEMS)]
Title = Annotated[str | None, typer.Option("--title", help="Its column of titles.", rich_help_panel=ITEMS)]
Categories = Annotated[
    str | None, typer.Option("--categories", help="Its column of categories.", rich_help_panel=ITEMS)
]
Threads = Annotated[int | None, typer.Option("--threads", help="By default all cores.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Same seed, same bytes, for any threads.")]


@dataclass(frozen=True)
class LogOptions:
    """What the options above say; the names are those of `Interactions.read`."""

    form: str
    user: str
    item: str
    time: str | None
    rating: str | None
    split: str
    items: Path | None = None
    item_id: str | None = None
    title: str | None = None
    categories: str | None = None


def read_split(path: Path, options: LogOptions) -> Split:
    """Reads a log, warns about what looks wrong in it, and splits it.

    Raises:
        ArgumentError: An option has no such value, or column names do not go together.
        DataError: The file cannot be read as such a log.
    """
    from metatoken.data import Interactions, audit, leave_last_out, no_split
    from metatoken.data.interactions import Format

    if options.split not in SPLITS:
        raise ArgumentError("--split", f"expected one of {', '.join(SPLITS)}; got {options.split}")
    form = next((name for name in get_args(Format) if name == options.form), None)
    if form is None:
        raise ArgumentError("--format", f"expected one of {', '.join(get_args(Format))}; got {options.form}")
    log = Interactions.read(
        path,
        form,
        user=options.user,
        item=options.item,
        time=options.time,
        rating=options.rating,
        items=options.items,
        item_id=options.item_id,
        title=options.title,
        categories=options.categories,
    )
    for warning in audit(log).warnings:
        warn(warning)
    return leave_last_out(log) if options.split == "leave-last-out" else no_split(log)
