"""`metatoken train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run, e.g. configs/beauty.yaml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run.")] = Path("run"),
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. trainer.max_epochs=20.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="A folder that `metatoken tokenize` wrote; else tokens are learned first.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older run.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Trains a model on a log, from tokens to fusion weights."""
    from metatoken.cli.output import progress_bar
    from metatoken.run import train_run
    from metatoken.run.config import load_config
    from metatoken.run.trainer import is_first_process
    from metatoken.tasks.task import tasks_of

    chosen = load_config(config, overrides)
    if vocabulary is not None:
        chosen = replace(chosen, vocabulary=vocabulary)
    train_run(chosen, out, overwrite=overwrite, resume=resume, say=_say, bar=progress_bar)
    if not is_first_process():
        return
    steps = [f"metatoken evaluate {out}"]
    if tasks_of(chosen.model.tasks, "rank"):
        steps.append(f"metatoken recommend {out} --user ID")
    for task in tasks_of(chosen.model.tasks, "rate", "write"):
        fields = "".join(f" --{name} TEXT" for name in sorted(task.columns & task.templates[0].required))
        steps.append(f"metatoken answer {out} {task.name} --user ID --item ID{fields}")
    print(f"run saved to {out}; next: {', '.join(steps[:3])}")


def _say(line: str) -> None:
    print(line, flush=True)
