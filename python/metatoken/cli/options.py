"""Options that several commands share: how to read and split a log, and those that a class of settings declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, asdict, dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from metatoken.cli.output import warn
from metatoken.config import Settings, spec_of
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data import Split

SPLITS = ("leave-last-out", "none")


def panel(title: str) -> Callable[..., Any]:
    """`typer.Option` for a panel of the help."""
    return partial(typer.Option, rich_help_panel=title)


log_option, items_option = panel("Reading the log"), panel("Item table")
Form = Annotated[str, log_option("--format", help="table, sequences, pairs or sessions.")]
User = Annotated[str, log_option("--user", help="Column of user ids (tables only).")]
Item = Annotated[str, log_option("--item", help="Column of item ids (tables only).")]
Time = Annotated[str | None, log_option("--time", help="Column of times; without it the order of the file counts.")]
Rating = Annotated[str | None, log_option("--rating", help="Column of ratings.")]
SplitName = Annotated[
    str, log_option("--split", help="leave-last-out keeps the last two items of each user out; none takes all.")
]
Items = Annotated[Path | None, items_option("--items", help="A table about items.")]
ItemId = Annotated[str | None, items_option("--item-id", help="Its column of item ids.")]
Title = Annotated[str | None, items_option("--title", help="Its column of titles.")]
Categories = Annotated[str | None, items_option("--categories", help="Its column of categories.")]
Threads = Annotated[int | None, typer.Option("--threads", max=1024, help="By default all cores.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Same seed, same bytes, for any threads.")]


@dataclass(frozen=True)
class LogOptions:
    """What the options above say; the names are those of `Interactions.read`."""

    format: str
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
    """Reads a log, warns about what looks wrong in it, and splits it."""
    from metatoken.data import Interactions, audit, leave_last_out, no_split
    from metatoken.data.settings import Format

    if options.split not in SPLITS:
        raise ArgumentError("--split", f"expected one of {', '.join(SPLITS)}; got {options.split}")
    if options.format not in get_args(Format):
        raise ArgumentError("--format", f"expected one of {', '.join(get_args(Format))}; got {options.format}")
    about = asdict(options)
    del about["split"]
    log = Interactions.read(path, **about)
    for warning in audit(log).warnings:
        warn(warning)
    return leave_last_out(log) if options.split == "leave-last-out" else no_split(log)


def with_settings(kind: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each field of a class, which reach it as keyword arguments of that class.

    typer reads the options of a command from its signature, so the fields are written there in place of `**fields`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        types = get_type_hints(kind)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        declared = {one.name: one for one in fields(kind)}

        @wraps(command)
        def run(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in declared}
            read = {name: _read_option(declared[name], value) for name, value in given.items()}
            command(**arguments, **{name: value for name, value in read.items() if value is not None})

        options = [_option(one, types[one.name]) for one in declared.values()]
        run.__dict__["__signature__"] = signature.replace(parameters=[*own, *options])
        return run

    return decorate


def option_name(one: Field[Any]) -> str:
    """The option of a field: `--walk-length`."""
    return spec_of(one).option or f"--{one.name.replace('_', '-')}"


def _option(one: Field[Any], kind: Any) -> inspect.Parameter:
    """The parameter that makes typer offer a field; its value is checked by the class, not by typer."""
    spec, name, default = spec_of(one), option_name(one), one.default
    plain = next((part for part in (kind, *get_args(kind)) if part in (int, float, bool)), str)
    if plain is bool and default:
        name = f"{name}/--no-{name.removeprefix('--')}"
    shape: Any = plain if default is not None else plain | None
    if spec.form or get_origin(kind) is tuple:
        shape, default = list[str] | None, None
    shown = typer.Option(name, help=spec.help, rich_help_panel=spec.group, show_default=default is not None)
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[shape, shown]
    )


def _read_option(one: Field[Any], value: Any) -> Any:
    """What was given for a field, None where nothing was."""
    if value is None or value == []:
        return None
    return _named(option_name(one), spec_of(one).form, value) if spec_of(one).form else value


def _named(option: str, form: str, texts: list[str]) -> dict[str, str]:
    """`["brand=b.csv"]` as `{"brand": "b.csv"}`; where the form allows it, a name alone stands for itself."""
    found: dict[str, str] = {}
    alone = form.endswith(" or TYPE")
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or (equals and not value) or name in found or not (equals or alone):
            raise ArgumentError(option, f"expected {form}, each type once, got {text!r}")
        found[name] = value or name
    return found
