"""`metatoken export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli.options import panel

if TYPE_CHECKING:
    from metatoken.model.store.card import Finding
    from metatoken.run import Run

hub_option = panel("Hub")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    output: Annotated[Path | None, typer.Argument(help="Folder to write.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The same, as other commands name it.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an older export.")] = False,
    push: Annotated[
        str | None, hub_option(metavar="OWNER/NAME", help="Upload the folder to the Hugging Face hub, for you alone.")
    ] = None,
    public: Annotated[bool, hub_option("--public", help="Let everybody see it there.")] = False,
) -> None:
    """Write a model folder that plain transformers loads: LoRA merged, tokens folded in, recommend.py beside it."""
    from metatoken.cli.output import check_output, print_facts
    from metatoken.errors import ArgumentError
    from metatoken.model.store.export import export_model
    from metatoken.model.store.hub import check_name, push_export
    from metatoken.run import load_run

    output = _one(output, out)
    if public and push is None:
        raise ArgumentError("--public", "is about --push; name a repository of the hub")
    if push is not None:
        check_name(push)
    check_output(output, overwrite, "export")
    loaded = load_run(run)
    module = loaded.module
    export_model(module, output, inplace=True, finding=_finding(loaded))
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print_facts(
        [
            ("folder", output),
            ("backbone", module.settings.backbone),
            ("items", module.vocabulary.n_items),
            ("tokens", module.vocabulary.n_tokens),
            ("megabytes", size / 1e6),
            ("recommend with", f"python {output / 'recommend.py'} --history ID ..."),
        ]
    )
    if push is not None:
        print(f"pushed to {push_export(output, push, public=public)}")


def _one(output: Path | None, out: Path | None) -> Path:
    """The folder, which stands behind the run or behind `--out`."""
    from metatoken.errors import ArgumentError

    found = output if out is None else out
    if found is None or None not in (output, out):
        raise ArgumentError("--out", f"expected a folder to write, once; got {'none' if found is None else 'two'}")
    return found


def _finding(run: Run) -> Finding | None:
    """How good the generated lists are; None where the run was not evaluated, or not as it is now."""
    from metatoken.errors import ArtifactError
    from metatoken.evaluate.significance import best_baseline
    from metatoken.model.store.card import SHOWN, Finding
    from metatoken.run.compare import read_evaluated

    try:
        found = read_evaluated(run.folder)
    except ArtifactError:
        return None
    plain: list[dict[str, Any]] = [
        {"task": task, "template": template, "model": model} | {name: mean for name, (mean, _) in row.metrics.items()}
        for (task, template, model), row in found.rows.items()
        if task == "sequential"
    ]
    own, best = next((row for row in plain if row["model"] == "generation"), None), best_baseline(plain, "sequential")
    if own is None or best is None:
        return None
    metrics, theirs = ({name: float(row[name]) for name in SHOWN} for row in (own, plain[best]))
    log = run.config.data.path.name if run.config.data.path else "a table of a database"
    return Finding(log, found.about["split"], found.about["users"], metrics, str(plain[best]["model"]), theirs)
