"""`metatoken train`."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.config import shown
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.run.config import Config


class SplitName(StrEnum):
    """What is held out."""

    LEAVE_LAST_OUT = "leave-last-out"
    NONE = "none"


Seeds = Annotated[
    str | None,
    typer.Option(help="Train with each of these seeds, e.g. 0,1,2: folders seed-0, seed-1, ... in --out."),
]
Held = Annotated[
    SplitName | None,
    typer.Option(help="none trains on every interaction, for a model to be used; with --like.", show_default=False),
]
Like = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Take epochs and fusion weights from this run; for --split none.")
]


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the run; `metatoken inspect LOG --write` makes one.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run.")] = Path("run"),
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. trainer.max_epochs=20.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="A folder that `metatoken tokenize` wrote; else tokens are learned first.")
    ] = None,
    seeds: Seeds = None,
    split: Held = None,
    like: Like = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older run.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Train a model on a log, from tokens to fusion weights."""
    from metatoken.cli.output import progress_bar, say
    from metatoken.run import train_run, train_seeds
    from metatoken.run.config import load_config
    from metatoken.run.trainer import is_first_process

    if overwrite and resume:
        raise ArgumentError("--resume", "goes on with the run that --overwrite would replace; leave one of them out")
    if seeds is not None and any(one.partition("=")[0] == "seed" for one in overrides or []):
        raise ArgumentError("--seeds", "says the seeds; leave --set seed out")
    speech: dict[str, Any] = {"say": say, "bar": progress_bar}
    chosen = load_config(config, [*(overrides or []), *([] if split is None else [f"data.split={split.value}"])])
    if vocabulary is not None:
        chosen = replace(chosen, vocabulary=vocabulary)
    if seeds is not None:
        if like is not None:
            raise ArgumentError("--like", "is for one final run; leave --seeds out")
        folders = train_seeds(
            chosen, _numbers(seeds), out, overwrite=overwrite, resume=resume, inputs=[config], **speech
        )
        runs = " ".join(map(str, folders))
        print(f"runs saved to {out}; next: metatoken evaluate {runs}, metatoken compare {runs}")
        return
    train_run(chosen, out, like=like, overwrite=overwrite, resume=resume, inputs=[config], **speech)
    if is_first_process():
        print(f"run saved to {out}; next: {', '.join(_next_steps(chosen, out))}")


def _numbers(seeds: str) -> list[int]:
    found = [seed.strip() for seed in seeds.split(",")]
    if not all(re.fullmatch("[0-9]{1,19}", seed) for seed in found):
        raise ArgumentError("--seeds", f"expected numbers such as 0,1,2; got {shown(seeds)}")
    return [int(seed) for seed in found]


def _next_steps(config: Config, out: Path) -> list[str]:
    """Commands to go on with: at most three."""
    from metatoken.tasks.task import tasks_of

    steps = [] if config.data.split == "none" else [f"metatoken evaluate {out}"]
    if tasks_of(config.model.tasks, "rank"):
        steps.append(f"metatoken recommend {out} --user ID")
    for task in tasks_of(config.model.tasks, "rate", "write"):
        fields = "".join(f" --{name} TEXT" for name in sorted(task.columns & task.templates[0].required))
        steps.append(f"metatoken answer {out} {task.name} --user ID --item ID{fields}")
    return steps[:3]
