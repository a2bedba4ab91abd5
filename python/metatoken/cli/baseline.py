"""`metatoken baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def baseline(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="sasrec, item_knn or ease; all of them by default.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. sasrec.epochs=50.")
    ] = None,
) -> None:
    """Fit baselines on what a run was trained on; `metatoken evaluate` then puts them into its table.

    Each is tuned, or stopped, on the validation items. One that is there already is replaced when the new one is done;
    an interrupted one leaves nothing behind and starts again the next time.
    """
    from metatoken.baselines.settings import BaselineSettings
    from metatoken.cli.output import progress_bar, say
    from metatoken.run import fit_baselines, load_run
    from metatoken.run.config import override

    values: dict[str, object] = {}
    override(values, overrides or [])
    settings = BaselineSettings.read(values)
    fit_baselines(load_run(run), names or (), settings, say=say, bar=progress_bar)
    print(f"next: metatoken evaluate {run}")
