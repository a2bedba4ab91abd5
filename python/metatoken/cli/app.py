"""The `metatoken` command."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from metatoken.cli.answer import answer
from metatoken.cli.assign import assign
from metatoken.cli.baseline import baseline
from metatoken.cli.compare import compare
from metatoken.cli.config import config
from metatoken.cli.docs import docs
from metatoken.cli.doctor import doctor
from metatoken.cli.ensemble import ensemble
from metatoken.cli.errors import as_option, clean_errors, clean_warnings, fail
from metatoken.cli.evaluate import evaluate
from metatoken.cli.export import export
from metatoken.cli.extend import extend
from metatoken.cli.generate import generate
from metatoken.cli.inspect import inspect
from metatoken.cli.interrupts import interruptible
from metatoken.cli.plan import plan
from metatoken.cli.quickstart import quickstart
from metatoken.cli.rebuild import rebuild
from metatoken.cli.recommend import recommend
from metatoken.cli.report import report
from metatoken.cli.serve import serve
from metatoken.cli.split import split
from metatoken.cli.starting import leave
from metatoken.cli.text_vectors import text_vectors
from metatoken.cli.tokenize import tokenize
from metatoken.cli.train import train
from metatoken.cli.waiting import wait_politely
from metatoken.errors import ArgumentError

COMMANDS = (
    quickstart, generate, plan, inspect, config, split, tokenize, assign, text_vectors, train, extend, rebuild,
    ensemble, baseline, evaluate, compare, report, recommend, answer, serve, export, doctor, docs,
)  # fmt: skip

# Wrong options and commands. typer exports only this subclass of it, and may carry its own copy of click.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


class PassedError(BaseException):
    """Carries an interruption past typer, which has one exit code for all of them."""

    def __init__(self, interruption: KeyboardInterrupt) -> None:
        super().__init__()
        self.interruption = interruption


class Commands(TyperGroup):
    """The commands; an interruption leaves them as itself."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            raise PassedError(interruption) from interruption
        except ArgumentError as error:
            command = self.commands.get(ctx.invoked_subcommand or "")
            raise as_option(error, {one.name: one.opts for one in command.params} if command else {}) from error


app = typer.Typer(
    name="metatoken",
    cls=Commands,
    help="Turn interaction logs into tokens of a language model, and the model into a recommender.",
    pretty_exceptions_enable=False,  # a fault of ours shows Python's own traceback
)
for command in COMMANDS:
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"metatoken {version('metatoken')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the command."""


def _key(error: Any) -> str:
    """How the key of a configuration is set that somebody took for an option."""
    option, taken = getattr(error, "option_name", None), error.ctx is not None and error.ctx.info_name == "train"
    if not isinstance(option, str) or not taken:
        return ""
    from metatoken.run.config import key_named

    key = key_named(option)
    return "" if key is None else f"; --set {key}=... sets that key of the configuration"


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; always ends in `SystemExit`.

    Args:
        arguments: What would follow `metatoken` in a shell; `None` takes `sys.argv`.
    """
    wait_politely()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe or file of Windows, or of the locale C, knows few letters
            stream.reconfigure(errors="backslashreplace")
    alone, arguments = arguments is None, sys.argv[1:] if arguments is None else arguments
    with interruptible(), clean_errors(), clean_warnings():
        try:
            code = app(arguments or ["--help"], prog_name="metatoken", standalone_mode=False)
        except PassedError as passed:
            raise passed.interruption from None
        except UsageError as error:
            command = error.ctx.command_path if error.ctx else "metatoken"
            message = error.format_message().replace("Value error, ", "").rstrip(".")
            fail(f"{message}{_key(error)} (see {command} --help)")
    if alone:  # nobody has called who would go on
        leave(code)
    raise SystemExit(code)
