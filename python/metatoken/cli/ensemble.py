"""`metatoken ensemble`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more runs of the same log, which stay.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the new run; appears when complete.")],
    like: Annotated[
        Path | None, typer.Option(help="Take the fusion weights of this ensemble; needed where nothing is held out.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older run at --out.")] = False,
) -> None:
    """Make one run of several, such as those of --seeds 0,1,2, whose models recommend together.

    The fused list pools their item heads. A request takes as long as with all of them one after the other.
    """
    from metatoken.cli.output import progress_bar, say
    from metatoken.run.ensemble import ensemble_run

    ensemble_run(runs, out, like=like, overwrite=overwrite, say=say, bar=progress_bar)
    print(f"run saved to {out}; next: metatoken evaluate {out}, metatoken recommend {out} --user ID")
