"""`metatoken rebuild`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Features = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Features of items without rows, such as `metatoken text-vectors` makes."),
]


def rebuild(
    run: Annotated[Path, typer.Argument(help="Folder of a run, which stays as it is.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new run; appears when complete.")],
    epochs: Annotated[
        int, typer.Option(min=0, max=10_000, help="Passes over all training rows, in which the new tokens are learned.")
    ] = 2,
    item_features: Features = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older run at --out.")] = False,
) -> None:
    """Learn the tokens of a run anew, when `metatoken inspect` says that it is due. The model goes on.

    Items keep their vectors in the model; mapping.parquet says which tokens each id had and has.
    """
    from metatoken.cli.output import progress_bar, say
    from metatoken.run.rebuild import rebuild_run

    rebuild_run(run, out, epochs=epochs, item_features=item_features, overwrite=overwrite, say=say, bar=progress_bar)
    print(f"run saved to {out}; next: metatoken evaluate {out}, metatoken inspect {out}")
