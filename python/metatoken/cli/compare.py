"""`metatoken compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli.csv_files import check_csv, csv_option, write_csv

if TYPE_CHECKING:
    from collections.abc import Mapping


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of evaluated runs.", show_default=False)
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Row that others are set against; by default the best baseline of the task."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Whose differences are printed; by default ndcg@10, and rmse of ratings.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="How often users are drawn.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    out: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write everything as JSON.")] = None,
    csv: Annotated[Path | None, csv_option("the rows, with every metric and difference,")] = None,
) -> None:
    """Set evaluated runs side by side: mean and deviation over seeds, differences with a paired bootstrap over users.

    Runs that differ in the seed alone are one group; further groups are set against the first one, too.
    """
    from metatoken.artifacts import atomic_file, write_json
    from metatoken.cli.kinds import text
    from metatoken.cli.output import NARROW, check_output_file, make_console
    from metatoken.evaluate.comparison_table import comparison_tables
    from metatoken.run.compare import compare_runs

    check_output_file("--json", out, {}, text("a comparison", r"^  \"between\":"))
    check_csv(csv, {"--json": out}, ("group", "task", "template", "model", "runs"))
    document = compare_runs(runs, against=against, resamples=resamples, seed=seed)
    console = make_console()
    tables = comparison_tables(document, metric, narrow=console.width < NARROW)
    print(f"{document['split']}: {document['users']:,} users, {document['dataset']['items']:,} items")
    for group in document["groups"]:
        _print_group(group)
    for table in tables:
        console.print(table)
    if csv is not None:
        write_csv(csv, [_row(row) for row in document["rows"]])
    if out is not None:
        with atomic_file(out) as work:
            write_json(work, document)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a table: means, deviations where there are several runs, then differences."""
    plain = {name: row[name] for name in ("group", "task", "template", "model", "runs")}
    for name, found in row["metrics"].items():
        plain |= {name: found["mean"]} | ({} if found["sd"] is None else {f"{name}.sd": found["sd"]})
    if (against := row.get("against")) is not None:
        plain |= {"against": against["model"], "against.template": against["template"]}
        for name, found in against["metrics"].items():
            plain |= {f"{name}.{part}": value for part, value in found.items()}
    return plain


def _print_group(group: Mapping[str, Any]) -> None:
    from metatoken.cli.output import say

    seeds = ", ".join(map(str, group["seeds"]))
    say(f"{group['name']}: {', '.join(group['runs'])} (seed{'s' * (len(group['seeds']) > 1)} {seeds})")
    for key, value in group["settings"].items():
        say(f"   {key}: {value}")
