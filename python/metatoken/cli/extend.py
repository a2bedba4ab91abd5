"""`metatoken extend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from metatoken.cli.options import panel
from metatoken.errors import ConfigError

training = panel("Training further")
NewLog = Annotated[
    Path | None, typer.Argument(help="What came later, and nothing else, written as the log of the run.")
]
Items = Annotated[Path | None, typer.Option(help="A table about items; items without interactions are added, too.")]
Features = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Features of new items, such as `metatoken text-vectors` makes.")
]
HoldOut = Annotated[
    bool | None,
    typer.Option("--hold-out/--no-hold-out", help="Hold items out as the run does (default), or use every row."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of data for the new files: 'separator=;'.")
]
Since = Annotated[str | None, training(metavar="TIME", help="Train again only on old rows of this time or later.")]


def extend(
    run: Annotated[Path, typer.Argument(help="Folder of a run, which stays as it is.")],
    new_log: NewLog = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the extended run; appears when complete.")],
    items: Items = None,
    item_features: Features = None,
    hold_out: HoldOut = None,
    overrides: Overrides = None,
    epochs: Annotated[int | None, training(help="Passes over new rows; by default none.")] = None,
    replay: Annotated[float | None, training(help="Share of old rows in each pass; by default a quarter.")] = None,
    since: Since = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older run at --out.")] = False,
) -> None:
    """Add to a run what came later: interactions, users and items. No old id, token or vector changes."""
    from metatoken.cli.output import progress_bar, reading, say
    from metatoken.run import RunFolder, extend_run
    from metatoken.run.addition import Addition

    at = RunFolder(run)
    at.check_finished()
    config = at.load_config()
    if hold_out and not config.holds_last_out:
        raise ConfigError("--hold-out: this run does not hold the last items of users out, so its extensions do not")
    addition = Addition.of(config.data, new_log, items, overrides or [])
    given: dict[str, Any] = {
        "epochs": epochs, "replay": replay, "since": since, "item_features": item_features, "hold_out": hold_out,
    }  # fmt: skip
    settings = {name: value for name, value in given.items() if value is not None}
    with reading() as rows:
        new = addition.read()
        rows(new.rows_read)
    for note in (*addition.notes(), *new.notes):
        say(note)
    inputs = [path for path in (new_log, items) if path is not None]
    extend_run(
        run, new, out, addition=addition, overwrite=overwrite, inputs=inputs, say=say, bar=progress_bar, **settings
    )
    print(f"run saved to {out}; next: metatoken recommend {out} --user ID, metatoken serve {out}")
