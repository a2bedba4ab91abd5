"""A run: from a configuration to a folder that holds everything needed to evaluate and to recommend.

run/  config.yaml  vocabulary/  items/  model/  fusion.json  history.parquet  checkpoints/
      metrics.json  predictions.parquet  answers.parquet   (after `evaluate_run`)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.artifacts import atomic_file, read_json, write_json
from metatoken.config import Config, dump_config, load_config
from metatoken.data import Catalogue, Interactions, RowSplit, Split, audit
from metatoken.data.text_table import read_texts
from metatoken.errors import ArtifactError, ConfigError
from metatoken.run.held_out import hold_out
from metatoken.run.history import read_history, write_history
from metatoken.run.trainer import (
    LAST,
    build,
    check_checkpoint,
    check_tasks,
    find_vocabulary,
    fit,
    is_first_process,
    make_trainer,
    model_settings,
    text_options,
)
from metatoken.tasks.families import answer_tasks
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from metatoken.evaluate.answers import AnswerResult
    from metatoken.evaluate.runner import Part
    from metatoken.model.module import MetaTokenModule
    from metatoken.predict.fusion import Fusion

Say = Callable[[str], None]
Bar = Callable[[str], Any]
"""Given a label, a context manager that yields a progress callback `(done, total)`."""

CONFIG, VOCABULARY, MODEL, HISTORY = "config.yaml", "vocabulary", "model", "history.parquet"
ITEMS = "items"
FUSION, METRICS = "fusion.json", "metrics.json"
PREDICTIONS, ANSWERS = "predictions.parquet", "answers.parquet"


@dataclass(frozen=True)
class Run:
    """A loaded run.

    Attributes:
        folder: Where it is.
        config: Its resolved configuration.
        split: The log it was trained on, split as then.
        module: The model, in evaluation mode.
        fusion: Weights of the fused list.
        answers: Rows of the rating and text tasks, where the run has such tasks.
        catalogue: What is known about the items; titles alone in runs of before it was stored.
    """

    folder: Path
    config: Config
    split: Split
    module: MetaTokenModule
    fusion: Fusion
    catalogue: Catalogue
    answers: RowSplit | None = None


def read_log(config: Config) -> Interactions:
    """Reads the log that a configuration names."""
    about = dict(vars(config.data))
    texts = about.pop("texts")
    log = Interactions.read(**about)
    return log if texts is None else read_texts(log, **vars(texts))


def train_run(
    config: Config,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    say: Say = print,
    bar: Bar | None = None,
) -> Run:
    """Log, tokens, model, fusion weights: everything up to a run that can recommend.

    Args:
        config: What to do.
        out: The run folder. Nothing is written there before the data and the configuration have proved usable.
        overwrite: Replace an older run.
        resume: Go on from the last checkpoint of an interrupted run.
        say: Gets a line for each step.
        bar: Shows progress of long steps.

    Returns:
        The run. In the other processes of a distributed strategy it has the trained model, but neither fusion weights
        nor a finished folder, which the first process makes.

    Raises:
        ConfigError: The configuration cannot be used with this log or vocabulary, or `out` is taken.
        DataError: The log cannot be read.
    """
    out, bar = Path(out), bar or _no_bar
    first = is_first_process()
    if first:
        _check_place(config, out, overwrite, resume)
    else:  # started by the first one, after it had written what it needs; it speaks and writes for all
        say, bar = _unheard, _no_bar
    # What can be refused without the log is refused before it is read.
    model_settings(config), text_options(config)
    check_tasks(config, begun=resume)
    log = read_log(config)
    for warning in audit(log).warnings:
        say(f"warning: {warning}")
    split, answers = hold_out(log, config.model.tasks, config.seed)
    say(f"{log!r}; {len(split.test)} users are evaluated, {split.train_only_users} are too short and only train")
    begun = out / VOCABULARY if resume or not first else None
    with bar("learning tokens") as progress:
        vocabulary = find_vocabulary(config, split, begun, progress)
    if vocabulary.n_users == 0 and ("direct" in config.model.tasks or config.model.user_tokens != "none"):
        raise ConfigError(
            "vocabulary: it holds items only (kinds: items), and prompts of the task direct and those with user tokens "
            "need users; set model.tasks: [sequential] and model.user_tokens: none"
        )
    say(f"{vocabulary.n_tokens} tokens in {vocabulary.depth} levels {list(vocabulary.levels)}")
    if answers is not None:
        say(f"{len(answers.validation):,} + {len(answers.test):,} rows are held out for ratings and texts")
    module, data = build(config, split, vocabulary, answers)
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    say(f"{config.model.backbone}: {trainable:,} trainable of {sum(p.numel() for p in module.parameters()):,} weights")
    trainer = make_trainer(config, out, say)
    if first:
        _begin(config, out, vocabulary, log, overwrite=overwrite, resume=resume)
    started = time.monotonic()
    try:
        fit(trainer, module, data, out / LAST if resume else None)
    except BaseException:
        if first and not (out / LAST).exists():
            shutil.rmtree(out)  # there is nothing to go on from
        raise
    if not first:
        from metatoken.predict.fusion import Fusion

        return Run(out, config, split, module.eval(), Fusion(), Catalogue.of(log, vocabulary.titles), answers)
    fusion = _finish(config, module, split, answers, out, bar)
    say(f"trained in {time.monotonic() - started:.0f} s; fusion weights {fusion.item:g} item head, "
        f"{fusion.generation:g} generation, {fusion.prior:g} transitions")  # fmt: skip
    return Run(out, config, split, module, fusion, Catalogue.of(log, vocabulary.titles), answers)


def load_run(folder: str | Path) -> Run:
    """Loads a finished run.

    Raises:
        ArtifactError: A part is missing or altered.
    """
    from metatoken.model.store.saving import load_model
    from metatoken.predict.fusion import Fusion

    folder = Path(folder)
    if not (folder / MODEL).is_dir():
        state = "was interrupted; finish it with --resume" if (folder / CONFIG).exists() else "is not a run folder"
        raise ArtifactError(f"{folder}: {state}")
    config = load_config(folder / CONFIG)
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    log = read_history(folder / HISTORY, vocabulary)
    split, answers = hold_out(log, config.model.tasks, config.seed)
    if vocabulary.learned_from != split.train.edges_checksum():
        raise ArtifactError(f"{folder / HISTORY}: altered since the run was trained; train again with --overwrite")
    if (folder / ITEMS).exists():
        catalogue = Catalogue.load(folder / ITEMS, vocabulary.items)
    else:
        catalogue = Catalogue.of(split.log, vocabulary.titles)
    module = load_model(folder / MODEL, vocabulary)
    return Run(folder, config, split, module, Fusion.load(folder / FUSION), catalogue, answers)


def evaluate_run(run: Run, part: Part = "test", *, unseen: bool = True, bar: Bar | None = None) -> dict[str, Any]:
    """Scores a run against the baselines and writes `metrics.json` and `predictions.parquet` into it.

    A run with rating or text tasks also gets `answers.parquet`, what was told or written beside what was true.

    Args:
        run: The run.
        part: Which held-out items.
        unseen: Score unseen templates, too.
        bar: Shows progress.

    Returns:
        The content of `metrics.json`.
    """
    from metatoken.evaluate.answer_table import write_answers_table
    from metatoken.evaluate.metrics import metrics_document
    from metatoken.evaluate.predictions import write_predictions
    from metatoken.evaluate.runner import Runner

    if len(run.split.targets(part)) == 0 and run.answers is None:
        raise ConfigError(f"{run.folder}: no user has three interactions, so nothing is held out to evaluate on")
    started = time.monotonic()
    with (bar or _no_bar)("evaluating") as progress:
        settings = run.config.evaluate
        runner = Runner(
            run.module, run.split, part, width=settings.width, batch_size=settings.batch_size, progress=progress
        )
        result = runner.run(run.fusion, unseen=unseen)
    answered = _answers(run, part, unseen, bar or _no_bar)
    log = run.split.log
    document = metrics_document(
        run.split.name if part == "test" else f"{run.split.name} ({part})",
        {"users": log.n_users, "items": log.n_items, "interactions": len(log)},
        run.config.seed,
        time.monotonic() - started,
        result.rows + (answered.rows if answered is not None else []),
        repeated_targets=run.split.repeated_targets(part),
    )
    write_predictions(result.predictions, run.folder / PREDICTIONS)
    if answered is not None:
        write_answers_table(answered.answers, run.folder / ANSWERS)
    with atomic_file(run.folder / METRICS) as work:
        write_json(work, document)
    return document


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """`metrics.json` of an evaluated run."""
    values: dict[str, Any] = read_json(Path(folder) / METRICS)
    return values


def _check_place(config: Config, out: Path, overwrite: bool, resume: bool) -> None:
    if resume:
        check_checkpoint(out / LAST)
        begun = load_config(out / CONFIG)
        if (config.model, config.seed) != (begun.model, begun.seed):
            raise ConfigError(f"--resume: the model and the seed must be those of {out / CONFIG}")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not overwrite:
            raise ConfigError(f"{out}: exists already; give another folder, --overwrite, or --resume")
        if not (out / CONFIG).is_file():
            raise ConfigError(f"{out}: is not a run folder, so it is not overwritten; remove it yourself")


def _begin(
    config: Config, out: Path, vocabulary: Vocabulary, log: Interactions, *, overwrite: bool, resume: bool
) -> None:
    if overwrite and not resume and out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(out / CONFIG) as work:
        work.write_text(dump_config(config), encoding="utf-8")
    for stale in (METRICS, PREDICTIONS, ANSWERS):
        (out / stale).unlink(missing_ok=True)
    if resume:
        return
    vocabulary.save(out / VOCABULARY)
    Catalogue.of(log, vocabulary.titles).save(out / ITEMS)
    write_history(out / HISTORY, log, answers=bool(answer_tasks(config.model.tasks)))


def _answers(run: Run, part: Part, unseen: bool, bar: Bar) -> AnswerResult | None:
    """Scores the rating and text tasks, where the run has some."""
    if run.answers is None:
        return None
    from metatoken.evaluate.answers import AnswerRunner

    settings = run.config.evaluate
    options = text_options(run.config)
    runner = AnswerRunner(run.module, run.answers, part, limit=settings.texts, options=options, seed=run.config.seed)
    with bar("scoring ratings and texts") as progress:
        return runner.run(unseen=unseen, progress=progress)


def _finish(
    config: Config, module: MetaTokenModule, split: Split, answers: RowSplit | None, out: Path, bar: Bar
) -> Fusion:
    from metatoken.evaluate.runner import Runner
    from metatoken.model.store.saving import save_model

    module.to("cpu").eval()
    settings = config.evaluate
    with bar("choosing fusion weights") as progress:
        runner = Runner(
            module, split, "validation", width=settings.width, batch_size=settings.batch_size, progress=progress
        )
        fusion = runner.choose_fusion(settings.fusion_users, config.seed)
    if answers is not None and module.ratings is not None:
        from metatoken.evaluate.answers import AnswerRunner

        chooser = AnswerRunner(module, answers, "validation")
        module.ratings.share = {f.name: chooser.choose_share(f) for f in chooser.tasks() if f.answer == "rating"}
    fusion.save(out / FUSION)
    save_model(module, out / MODEL)
    return fusion


def _unheard(line: str) -> None:
    pass


@contextmanager
def _no_bar(label: str) -> Iterator[Callable[[int, int], None]]:  # noqa: ARG001
    yield lambda done, total: None  # noqa: ARG005
