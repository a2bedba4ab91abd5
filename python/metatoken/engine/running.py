"""Runs the units of a stage that are not made yet, here or by Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from metatoken.engine.settings import EngineSettings
from metatoken.engine.stage import Stage, Told

Progress = Callable[[int, int], None]


def run_stage(stage: Stage, settings: EngineSettings, progress: Progress | None = None) -> list[Told]:
    """Makes every unit that is missing.

    Args:
        stage: What is to be done.
        settings: By whom.
        progress: Called with (units done, units in all).

    Returns:
        What each unit has told, in order; of earlier attempts, too.

    Raises:
        MetatokenError: Of a unit, with the message that it has in this process.
        EngineError: Ray cannot be started, or a worker has failed for no reason of ours.
    """
    missing = [unit for unit in range(stage.units) if not stage.is_done(unit)]
    done = stage.units - len(missing)
    if progress is not None:
        progress(done, stage.units)
    for _ in _made(stage, missing, settings):
        done += 1
        if progress is not None:
            progress(done, stage.units)
    return stage.told()


def _made(stage: Stage, missing: list[int], settings: EngineSettings) -> Iterator[int]:
    if not missing:
        return
    if settings.engine == "ray":
        from metatoken.engine.on_ray import ray_units

        yield from ray_units(stage, missing, settings.workers, settings.address)
        return
    work = stage.worker()
    for unit in missing:
        work(unit)
        yield unit
