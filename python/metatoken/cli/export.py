"""`metatoken export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option(help="Replace an older export.")] = False,
) -> None:
    """Write a model folder that plain transformers loads: LoRA merged, tokens folded in, recommend.py beside it."""
    from metatoken.cli.output import check_output, print_facts
    from metatoken.model.store.export import export_model
    from metatoken.run import load_run

    check_output(output, overwrite, "export")
    module = load_run(run).module
    export_model(module, output, inplace=True)
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
