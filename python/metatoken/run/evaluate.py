"""`evaluate_run`: metrics, lists and answers of a run, written into its folder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from metatoken.artifacts import atomic_file, write_json
from metatoken.config import expect
from metatoken.data.cuts import of_new_items
from metatoken.decode.settings import AUTO
from metatoken.errors import ConfigError
from metatoken.run.evaluation import choice_before, sealed
from metatoken.run.folder import Run, RunFolder
from metatoken.run.progress import Bar, no_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metatoken.data.split import Part
    from metatoken.evaluate.runner import Result
    from metatoken.evaluate.settings import EvaluateSettings


def evaluate_run(
    run: Run,
    part: Part = "test",
    *,
    unseen: bool = True,
    settings: EvaluateSettings | None = None,
    bar: Bar | None = None,
) -> dict[str, Any]:
    """Scores a run against the baselines and writes `metrics.json` and `predictions.parquet` into it.

    Baselines of `fit_baselines` have a row each beside those that are always there.
    A run with tasks that rate or write also gets `answers.parquet`, what was rated or written beside what is true.

    Args:
        run: The run.
        part: Which held-out items.
        unseen: Score unseen templates, too.
        settings: How it is scored, by default as its configuration says; what differs stands in the document. `users`
            and `fusion_users` are those of the run.
        bar: Shows progress.

    Returns:
        The content of `metrics.json`.

    Warns:
        MetatokenWarning: The fusion gives the model no weight.

    Raises:
        ConfigError: Nothing is held out, or other users are asked for.
    """
    expect("run", run, Run)
    from metatoken.evaluate.metrics import metrics_document
    from metatoken.evaluate.runner import Runner
    from metatoken.run.baselines import load_baselines

    settings = settings or run.config.evaluate
    _check_held_out(run, part)
    _check_users(run, settings)
    started, baselines = time.monotonic(), load_baselines(run)
    with (bar or no_bar)("evaluating") as progress:
        about: dict[str, Any] = {"partners": run.partners, "seed": run.config.seed, "progress": progress}
        runner = Runner(run.module, run.split, part, settings, baselines, **about)
        result = runner.run(run.fusion, unseen=unseen)
    log = run.split.log
    document = metrics_document(
        run.split.name if part == "test" else f"{run.split.name} ({part})",
        {"users": log.n_users, "items": log.n_items, "interactions": len(log)},
        run.config.seed,
        time.monotonic() - started,
        result.rows,
        repeated_targets=run.split.repeated_targets(part),
        new_targets=int(of_new_items(run.split, run.split.targets(part)).sum()),
    )
    document |= _told(run, settings, result.writing)
    _write(run, document, result)
    run.fusion.warn()
    return document


def _check_held_out(run: Run, part: Part) -> None:
    if run.config.data.split == "none":
        said = "was trained on every interaction (data.split: none), so nothing is held out to evaluate it on"
        raise ConfigError(f"{run.folder}: {said}; evaluate the run whose choices it took")
    if len(run.split.targets(part)) == 0 and run.split.pairs is None:
        raise ConfigError(f"{run.folder}: no user has three interactions, so nothing is held out to evaluate on")


def _check_users(run: Run, settings: EvaluateSettings) -> None:
    """Refuses other users than those who were drawn when the run was loaded."""
    for name in ("users", "fusion_users"):
        own, asked = getattr(run.config.evaluate, name), getattr(settings, name)
        if asked != own:
            said = f"evaluate.{name} is part of the run, whose fused list and comparisons rest on it"
            raise ConfigError(f"{run.folder}: {said}: it has {own}, got {asked}; train with another value")


def _told(run: Run, settings: EvaluateSettings, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a document says of how it was scored: what was chosen of writing, and what differs from the run."""
    own = run.config.evaluate
    # Texts of another novelty are a trial: `answer` and `serve` write on by what was chosen for the run.
    tried = AUTO == own.writing.novelty != settings.writing.novelty
    writing = choice_before(RunFolder(run.folder)) if tried else chosen
    changed = {name: value for name, value in settings.plain().items() if value != own.plain()[name]}
    return {name: value for name, value in (("writing", writing), ("settings", changed)) if value}


def _write(run: Run, document: dict[str, Any], result: Result) -> None:
    """Writes lists and answers, then the document, which it ties to them."""
    from metatoken.evaluate.predictions import write_table

    folder = RunFolder(run.folder)
    write_table(result.predictions, folder.predictions)
    if run.split.pairs is not None:
        write_table(result.answers, folder.answers)
    else:
        folder.answers.unlink(missing_ok=True)  # which could only be those of something else
    answered = [] if run.split.pairs is None else [folder.answers]
    document |= sealed(document, folder, [folder.predictions, *answered])
    with atomic_file(folder.metrics) as work:
        write_json(work, document)
