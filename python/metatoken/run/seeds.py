"""`train_seeds`: the same run with several seeds, one folder each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metatoken.errors import ArgumentError, ConfigError
from metatoken.run.config import Config
from metatoken.run.folder import RunFolder
from metatoken.run.progress import Bar, Say, silent
from metatoken.run.train import check_place, train_run
from metatoken.run.trainer import make_trainer


def train_seeds(
    config: Config,
    seeds: Sequence[int],
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    say: Say = print,
    bar: Bar | None = None,
) -> list[Path]:
    """Trains with one seed after the other, each exactly as `train_run` does with that seed alone.

    Args:
        config: What to do; its seed is replaced.
        seeds: The seeds, each once.
        out: Where the folders `seed-0`, `seed-1`, ... stand. All places are checked before anything is trained.
        overwrite: Replace older runs.
        resume: Go on with what was interrupted: finished runs are left as they are, those that were never begun begin.
        say: Gets a line for each step.
        bar: Shows progress of long steps.

    Returns:
        The folders, in the order of the seeds.

    Raises:
        ArgumentError: No seeds, a negative one, or one given twice.
        ConfigError: See `train_run`; or the strategy has several processes.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ArgumentError(
            "seeds", f"expected different seeds of at least 0, got {', '.join(map(str, seeds)) or 'none'}"
        )
    configs = {Path(out) / f"seed-{seed}": replace(config, seed=seed) for seed in seeds}
    plans = {folder: _plan(one, RunFolder(folder), overwrite, resume) for folder, one in configs.items()}
    # Lightning's other processes start this command from its beginning, so they would train the first seed again.
    if make_trainer(config.trainer, RunFolder(out), silent).world_size > 1:
        said = "several seeds are trained in one process; set trainer.devices to 1, or train each seed by itself"
        raise ConfigError(f"trainer.strategy: {said}")
    for folder, plan in plans.items():
        if plan is None:
            say(f"{folder}: finished already")
            continue
        say(f"{folder}:")
        anew, go_on = plan
        train_run(configs[folder], folder, overwrite=anew, resume=go_on, say=say, bar=bar)
    return list(configs)


def _plan(config: Config, at: RunFolder, overwrite: bool, resume: bool) -> tuple[bool, bool] | None:
    """Whether to overwrite and whether to resume a seed's run; None where nothing is left to do."""
    if resume and at.model.is_dir() and config.filled(begun := at.load_config()) == begun:
        return None
    if resume and not at.checkpoint.exists():  # never begun, or killed before its first checkpoint
        overwrite, resume = at.config.is_file(), False
    check_place(config, at, overwrite, resume)
    return overwrite, resume
