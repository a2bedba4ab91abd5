"""Options that several commands share: how to read and split a log, and those that a class of settings declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from metatoken.cli.output import note, reading, warn
from metatoken.config import Settings, spec_of
from metatoken.data.settings import LogSettings
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data import Split


def panel(title: str) -> Callable[..., Any]:
    """`typer.Option` for a panel of the help."""
    return partial(typer.Option, rich_help_panel=title)


log_option = panel("Reading the log")
Threads = Annotated[int | None, typer.Option("--threads", max=1024, help="By default all cores.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Same seed, same bytes, for any threads.")]

Otherwise = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Otherwise than the run says, e.g. evaluate.writing.num_beams=4."),
]


# Those of a log that are no options: its file is an argument, and texts have a section of their own in YAML.
NO_OPTIONS = ("path", "texts")


def with_log(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `LogSettings`, which `log_fields` takes out of its keyword arguments again."""
    return with_settings(LogSettings, NO_OPTIONS)(command)


def log_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Takes the settings of a log out of the keyword arguments of a command."""
    known = LogSettings.keys()
    return {name: fields.pop(name) for name in list(fields) if name in known}


def read_split(path: Path | None, given: dict[str, Any]) -> tuple[Split, LogSettings]:
    """Reads a log, says what was left out and what looks wrong in it, and splits it."""
    from metatoken.data.auditing import audit
    from metatoken.data.cuts import parts_overview, told
    from metatoken.data.interactions import read_log
    from metatoken.data.split import split_log

    about = LogSettings.read({"path": path, **given})
    with reading() as rows:
        log = read_log(about)
        rows(log.rows_read)
    for line in (*log.notes, *told(parts_overview(log))):
        note(line)
    for warning in audit(log).warnings:
        warn(warning)
    return split_log(log, about.split), about


def with_settings(
    kind: type[Settings], without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each field of a class, which reach it as keyword arguments of that class.

    typer reads the options of a command from its signature, so the fields are written there in place of `**fields`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        types = get_type_hints(kind)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        declared = {one.name: one for one in fields(kind) if one.name not in without}

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
