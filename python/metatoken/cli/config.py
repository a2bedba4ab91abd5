"""`metatoken config`."""

from __future__ import annotations

from typing import Annotated

import typer


def config(
    name: Annotated[
        str | None,
        typer.Argument(help="One of the examples instead, e.g. movielens_small.", show_default=False),
    ] = None,
    examples: Annotated[bool, typer.Option("--list", help="List the examples that came with this version.")] = False,
) -> None:
    """Print every key of a configuration with its default and what it means, or an example that was trained with."""
    from metatoken.cli.shipped import read_shipped, shipped_files
    from metatoken.run.template import template

    if examples:
        for example, path in shipped_files("configs", ".yaml").items():
            head = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            print(f"{example:24}  {head}")
    else:
        print(template() if name is None else read_shipped("configs", ".yaml", name, "NAME"), end="")
