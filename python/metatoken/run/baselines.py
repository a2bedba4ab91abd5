"""`fit_baselines` and `load_baselines`: what others would recommend, fitted on what a run was trained on."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from metatoken.config import expect
from metatoken.errors import ArgumentError, ArtifactError, ConfigError, hint
from metatoken.run.folder import Run, RunFolder
from metatoken.run.progress import Bar, Say, no_bar
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.baselines import Baseline
    from metatoken.baselines.settings import BaselineSettings


def fit_baselines(
    run: Run,
    names: Sequence[str] = (),
    settings: BaselineSettings | None = None,
    *,
    say: Say = print,
    bar: Bar | None = None,
) -> dict[str, Baseline]:
    """Fits baselines on the training part of a run, with its seed, and saves each into its folder when it is done.

    Args:
        run: The run.
        names: Which; all by default.
        settings: How they are fitted.
        say: Gets a line for each step.
        bar: Shows progress of long steps.

    Returns:
        The baselines by name.

    Raises:
        ArgumentError: There is no baseline of a name, or it cannot be fitted on such a log.
        ConfigError: No task of the run ranks, or it holds nothing out.
    """
    expect("run", run, Run)
    import torch

    from metatoken.baselines import BASELINES
    from metatoken.baselines.settings import BaselineSettings

    for name in names:
        if name not in BASELINES:
            remedy = hint(name, [*BASELINES], f"expected some of {', '.join(BASELINES)}")
            raise ArgumentError("names", f"unknown baseline {name!r}; {remedy}")
    if not tasks_of(run.config.model.tasks, "rank"):
        raise ConfigError(f"{run.folder}: no task of this run ranks, so there is nothing to compare with")
    if run.config.data.split == "none":
        said = (
            "was trained on every interaction (data.split: none), so baselines have nothing to be tuned or compared on"
        )
        raise ConfigError(f"{run.folder}: {said}; fit them into the run whose choices it took")
    torch.set_num_threads(run.config.threads or os.cpu_count() or 1)
    settings, found = settings or BaselineSettings(), {}
    for name in dict.fromkeys(names or BASELINES):
        started = time.monotonic()
        with (bar or no_bar)(f"fitting {name}") as progress:
            one = BASELINES[name].fit(
                run.split, getattr(settings, name), seed=run.config.seed, say=say, progress=progress
            )
        place = RunFolder(run.folder).baselines / name
        one.save(place)
        say(f"{name}: saved to {place} after {time.monotonic() - started:.0f} s")
        found[name] = one
    return found


def load_baselines(run: Run) -> dict[str, Baseline]:
    """The baselines in the folder of a run, by name.

    Raises:
        ArtifactError: One is damaged, or was fitted on other interactions than those the run was trained on.
    """
    from metatoken.baselines import BASELINES

    places = {name: RunFolder(run.folder).baselines / name for name in BASELINES}
    found = {name: BASELINES[name].load(place) for name, place in places.items() if place.is_dir()}
    learned_from = run.split.train.edges_checksum() if found else ""
    for name, one in found.items():
        if one.origin.learned_from != learned_from:
            remedy = f"fit it again: metatoken baseline {run.folder} {name}"
            raise ArtifactError(f"{places[name]}: fitted on other interactions than the run was trained on; {remedy}")
    return found
