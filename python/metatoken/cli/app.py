"""The `metatoken` command."""

from __future__ import annotations

from typing import Annotated

import typer

from metatoken.cli.answer import answer
from metatoken.cli.doctor import doctor
from metatoken.cli.errors import clean_errors
from metatoken.cli.evaluate import evaluate
from metatoken.cli.export import export
from metatoken.cli.inspect import inspect
from metatoken.cli.quickstart import quickstart
from metatoken.cli.recommend import recommend
from metatoken.cli.serve import serve
from metatoken.cli.text_vectors import text_vectors
from metatoken.cli.tokenize import tokenize
from metatoken.cli.train import train

COMMANDS = (quickstart, tokenize, text_vectors, inspect, train, evaluate, recommend, answer, serve, export, doctor)

app = typer.Typer(
    name="metatoken",
    help="Turn interaction logs into tokens of a language model, and the model into a recommender.",
    no_args_is_help=True,
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


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; always ends in `SystemExit`.

    Args:
        arguments: What would follow `metatoken` in a shell; `None` takes `sys.argv`.
    """
    with clean_errors():
        app(arguments, prog_name="metatoken")
