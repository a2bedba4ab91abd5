"""`metatoken evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Part(StrEnum):
    """Which held-out items."""

    VALIDATION = "validation"
    TEST = "test"


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    part: Annotated[Part, typer.Option(help="Which held-out items.")] = Part.TEST,
    unseen: Annotated[bool, typer.Option(help="Score the unseen templates, too.")] = True,
    export: Annotated[
        Path | None, typer.Option(help="Also write plain files from which anyone can recompute the metrics.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of a table.")] = False,
) -> None:
    """Scores a run against baselines: every held-out user, the full catalogue, seen items removed."""
    import json

    from metatoken.cli.output import print_metrics, progress_bar
    from metatoken.evaluate.predictions import ANSWERS, check_export, export_answers, export_plain, read_table
    from metatoken.run import RunFolder, evaluate_run, load_run

    loaded = load_run(run)
    if export is not None:
        check_export(loaded.split, export, part=part.value)
    document = evaluate_run(loaded, part.value, unseen=unseen, bar=progress_bar)
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        print_metrics(document["rows"])
    if export is not None:
        folder = RunFolder(run)
        export_plain(read_table(folder.predictions), loaded.split, export, part=part.value)
        if loaded.split.pairs is not None:
            export_answers(read_table(folder.answers, ANSWERS), export, part=part.value)
        if not as_json:
            print(f"plain files written to {export}")
