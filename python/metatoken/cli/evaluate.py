"""`metatoken evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metatoken.cli.csv_files import check_csv, csv_option, write_csv
from metatoken.cli.options import Otherwise
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.evaluate.settings import EvaluateSettings


class Part(StrEnum):
    """Which held-out items."""

    VALIDATION = "validation"
    TEST = "test"


def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    part: Annotated[Part, typer.Option(help="Which held-out items.")] = Part.TEST,
    unseen: Annotated[bool, typer.Option(help="Score the unseen templates, too.")] = True,
    overrides: Otherwise = None,
    export: Annotated[
        Path | None, typer.Option(help="Also write plain files from which anyone can recompute the metrics of a run.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json instead of a table; of several runs, by folder.")
    ] = False,
    csv: Annotated[Path | None, csv_option("the rows, of several runs with their folder,")] = None,
) -> None:
    """Score runs against baselines: every held-out user, the full catalogue, seen items removed."""
    import json

    from metatoken.cli.output import print_metrics

    if export is not None and len(runs) > 1:
        raise ArgumentError("--export", f"expected one run, got {len(runs)}; give each a folder of its own")
    check_csv(csv, {}, ("task", "template", "model", "users"))
    documents = {}
    for run, settings in zip(runs, _settings_of(runs, overrides or []), strict=True):
        documents[str(run)] = document = _evaluate(run, part.value, unseen, settings, export)
        if not as_json:
            if len(runs) > 1:
                print(f"{run}:")
            print_metrics(document["rows"])
    if csv is not None:
        write_csv(csv, [row for run, one in documents.items() for row in _rows(one, run if len(runs) > 1 else None)])
    if as_json:
        print(json.dumps(documents if len(runs) > 1 else document, indent=2))
    elif export is not None:
        print(f"plain files written to {export}")
    elif len(runs) > 1:
        print(f"next: metatoken compare {' '.join(documents)}")


def _settings_of(runs: Sequence[Path], overrides: list[str]) -> list[EvaluateSettings]:
    """How each run is scored; refuses runs that are not finished, and settings that one cannot have, before any is."""
    from metatoken.run import RunFolder
    from metatoken.run.config import scored_by

    for run in runs:
        RunFolder(run).check_finished()
    return [scored_by(RunFolder(run).load_config(), overrides).evaluate for run in runs]


def _rows(document: dict[str, Any], run: str | None) -> Iterator[dict[str, Any]]:
    """The rows of a document for a table, with what they are set against in columns of their own."""
    for row in document["rows"]:
        versus = {f"vs_best_baseline.{name}": value for name, value in row.get("vs_best_baseline", {}).items()}
        labels = {name: row[name] for name in ("task", "template", "model", "users")}
        metrics = {name: value for name, value in row.items() if name not in labels and name != "vs_best_baseline"}
        yield ({} if run is None else {"run": run}) | labels | metrics | versus


def _evaluate(
    run: Path, part: Literal["validation", "test"], unseen: bool, settings: EvaluateSettings, export: Path | None
) -> dict[str, Any]:
    """Scores one run and, if asked, writes its plain files."""
    from metatoken.cli.output import progress_bar
    from metatoken.evaluate.predictions import ANSWERS, check_export, export_plain, read_table
    from metatoken.run import RunFolder, evaluate_run, load_run

    loaded, folder = load_run(run), RunFolder(run)
    if export is not None:
        check_export(loaded.split, export, part=part)
    document = evaluate_run(loaded, part, unseen=unseen, settings=settings, bar=progress_bar)
    if export is not None:
        answers = None if loaded.split.pairs is None else read_table(folder.answers, ANSWERS)
        export_plain(read_table(folder.predictions), loaded.split, export, part=part, answers=answers)
    return document
