"""`metatoken evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from metatoken.errors import ArgumentError


class Part(StrEnum):
    """Which held-out items."""

    VALIDATION = "validation"
    TEST = "test"


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    part: Annotated[Part, typer.Option(help="Which held-out items.")] = Part.TEST,
    unseen: Annotated[bool, typer.Option(help="Score the unseen templates, too.")] = True,
    export: Annotated[
        Path | None, typer.Option(help="Also write plain files from which anyone can recompute the metrics of a run.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json instead of a table; of several runs, by folder.")
    ] = False,
) -> None:
    """Score runs against baselines: every held-out user, the full catalogue, seen items removed."""
    import json

    from metatoken.cli.output import print_metrics
    from metatoken.run import RunFolder

    if export is not None and len(runs) > 1:
        raise ArgumentError("--export", f"expected one run, got {len(runs)}; give each a folder of its own")
    for run in runs:
        RunFolder(run).check_finished()
    documents = {}
    for run in runs:
        documents[str(run)] = document = _evaluate(run, part.value, unseen, export)
        if not as_json:
            if len(runs) > 1:
                print(f"{run}:")
            print_metrics(document["rows"])
    if as_json:
        print(json.dumps(documents if len(runs) > 1 else document, indent=2))
    elif export is not None:
        print(f"plain files written to {export}")
    elif len(runs) > 1:
        print(f"next: metatoken compare {' '.join(documents)}")


def _evaluate(run: Path, part: Literal["validation", "test"], unseen: bool, export: Path | None) -> dict[str, Any]:
    """Scores one run and, if asked, writes its plain files."""
    from metatoken.cli.output import progress_bar
    from metatoken.evaluate.predictions import ANSWERS, check_export, export_plain, read_table
    from metatoken.run import RunFolder, evaluate_run, load_run

    loaded, folder = load_run(run), RunFolder(run)
    if export is not None:
        check_export(loaded.split, export, part=part)
    document = evaluate_run(loaded, part, unseen=unseen, bar=progress_bar)
    if export is not None:
        answers = None if loaded.split.pairs is None else read_table(folder.answers, ANSWERS)
        export_plain(read_table(folder.predictions), loaded.split, export, part=part, answers=answers)
    return document
