"""`metatoken report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metatoken.extras import check_extra


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of evaluated runs.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.")] = Path("report.html"),
    resamples: Annotated[int, typer.Option(min=1, help="How often users are drawn for intervals.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws, and of the examples.")] = 0,
) -> None:
    """Write a page about a run: how good it is and how sure that is, its log, tokens, lists and costs, what to do next.

    The page is one HTML file that loads nothing else. With several runs, they stand side by side first.
    """
    check_extra("a report", "report", ("matplotlib", "jinja2"))
    from metatoken.cli.kinds import text
    from metatoken.cli.output import check_output_file
    from metatoken.report import write_report
    from metatoken.report.page import SIGN

    check_output_file("--out", out, {}, text("a report", f'^<meta name="generator" content="{SIGN}">'))
    write_report(runs, out, resamples=resamples, seed=seed)
    print(f"written to {out}; open it in a browser")
