"""`metatoken docs`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from metatoken.cli.shipped import PACKAGE, read_shipped, shipped_files


def docs(
    page: Annotated[
        str | None,
        typer.Argument(help="Name of a page, e.g. concepts; without one, all pages are listed.", show_default=False),
    ] = None,
) -> None:
    """Show the documentation that came with this version: the list of its pages, or one of them."""
    if page is not None:
        _show(read_shipped("docs", ".md", page, "PAGE"))
        return
    pages = shipped_files("docs", ".md")
    width = max(map(len, pages))
    for name, path in pages.items():
        heading = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        print(f"{name:{width}}  {heading}")
    print(f"\n`metatoken docs PAGE` shows one; the files are in {(PACKAGE / 'docs').resolve()}")


def _show(text: str) -> None:
    """Headings, tables and code as a terminal has them; the page as it stands where something else reads it."""
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.pager(styles=True):
        console.print(Markdown(text, hyperlinks=False))
