"""`train_run`: log, tokens, model, fusion weights."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.data import Catalogue, Interactions, Split, audit, cuts, hold_out, interactions
from metatoken.errors import ConfigError
from metatoken.run.config import Config
from metatoken.run.final import Choices, rating_base, take_choices
from metatoken.run.folder import Run, RunFolder
from metatoken.run.manifest import backbone_checksum, identity, seal
from metatoken.run.memory import keep_memory
from metatoken.run.place import TrainingPlace, check_place, training_place
from metatoken.run.progress import Bar, Progress, Say, no_bar, silent
from metatoken.run.threads import default_threads
from metatoken.run.trainer import check_trainer, fit, is_first_process, make_trainer
from metatoken.tasks.task import FIELDS
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import lightning as L

    from metatoken.model.module import MetaTokenModule
    from metatoken.predict.fusion import Fusion
    from metatoken.run.best import BestEpoch
    from metatoken.run.record import TrainingRecord
    from metatoken.tasks.datamodule import TaskDataModule

NO_USERS = (
    "vocabulary: it holds items only (kinds: items), and prompts of the task direct and those with user tokens "
    "need users; set model.tasks: [sequential] and model.user_tokens: none"
)
MIXTURE = (
    "batch_size", "direct_share", "walk_share", "validation_users", "shares", "mixing_temperature",
)  # as TaskDataModule has them  # fmt: skip


def read_log(config: Config) -> Interactions:
    """Reads the log that a configuration names."""
    return interactions.read_log(config.data)


def train_run(
    config: Config,
    out: str | Path,
    *,
    like: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    inputs: Sequence[Path] = (),
    say: Say = print,
    bar: Bar | None = None,
) -> Run:
    """Log, tokens, model, fusion weights: everything up to a run that can recommend.

    Args:
        config: What to do.
        out: The run folder. Nothing is written there before the data and the configuration have proved usable.
        like: Folder of an earlier run, whose epochs and fusion weights are taken where `data.split` is none.
        overwrite: Replace an older run; it stays until the new one, which is trained beside it, is whole.
        resume: Go on with an interrupted run from its last checkpoint, or from its start where there is none.
        inputs: Files that were read for this training besides those that `config` names; what holds one is not
            replaced.
        say: Gets a line for each step.
        bar: Shows progress of long steps.

    Returns:
        The run. In the other processes of a distributed strategy it has the trained model, but neither fusion weights
        nor a finished folder, which the first process makes.

    Warns:
        MetatokenWarning: The fusion gives the model no weight.

    Raises:
        ConfigError: The configuration cannot be used with this log or vocabulary, or `out` is taken.
        DataError: The log cannot be read.
    """
    from metatoken.model.backbone.pretrained import check_source
    from metatoken.model.starting import check_start

    config, choices = take_choices(config, like)
    if not is_first_process():  # started by the first one, after it had written what it needs; it speaks and writes
        return _train(config, TrainingPlace(out), choices, False, resume, silent, no_bar)
    inputs = [*config.files(), *([] if like is None else [Path(like)]), *inputs]
    with training_place(out) as place:
        check_place(config, out, overwrite, resume, inputs)
        check_source(config.model.backbone)
        check_start(config.model.items_from)
        check_trainer(config.trainer)
        return _train(config, place, choices, True, resume, say, bar or no_bar)


def _train(
    config: Config, place: TrainingPlace, choices: Choices | None, first: bool, resume: bool, say: Say, bar: Bar
) -> Run:
    """See `train_run`; `first` says whether this process is the one that writes."""
    folder = place.folder if resume or not first else place.coming
    split = _read(config, say, resume)
    config = _by_size(config.filled(folder.load_config()) if resume else config, split, say)
    with bar("learning tokens") as progress:
        vocabulary = _vocabulary(config, split, folder.vocabulary if resume or not first else None, progress)
    config = _by_tokens(config, vocabulary)
    say(f"{vocabulary.n_tokens} tokens in {vocabulary.depth} levels {list(vocabulary.levels)}")
    module, data = build(config, split, vocabulary, choices)
    say(f"{config.model.backbone}: {_weights(module)}")
    backbone = backbone_checksum(module) if first else None
    # A run that is gone on with stays as it is until the first step, since what is refused before must not cost it.
    go_on = cache(lambda: folder.go_on(config, backbone) if first and resume else None)
    trainer, best = _trainer(config, split, folder, say, go_on)
    if first and not resume:
        place.begin(config, vocabulary, split.log, backbone)
    started = time.monotonic()
    try:
        fit(trainer, module, data, folder.checkpoint if resume and folder.checkpoint.exists() else None)
    except BaseException:
        if first and not resume:
            place.abandon()
        raise
    go_on()
    record = best.record(trainer)
    say(record.sentence())
    fusion = _finish(config, module, split, folder if first else None, record, choices, bar)
    if first:
        seal(folder, "finished", backbone)
        place.finish()
    say(f"trained in {time.monotonic() - started:.0f} s; fusion weights {fusion.sentence()}")
    split = cuts.drawn(split, config.evaluate.users)
    return Run(place.given, config, split, module.eval(), fusion, Catalogue.of(split.log, vocabulary.titles))


def _read(config: Config, say: Say, resume: bool) -> Split:
    """The log, split for the tasks of the run; refused before where the tokens that are given could not be used."""
    whole = config.data.split == "none"
    if config.needs and config.vocabulary is not None and not resume and not whole:
        task = next(iter(config.needs))
        said = f"a run with the task {task} holds random rows out and learns its tokens from the others"
        raise ConfigError(f"vocabulary: {said}; leave `vocabulary` out")
    began = time.monotonic()
    log = read_log(config)
    if (seconds := time.monotonic() - began) > 1:
        say(f"read {log.rows_read:,} rows in {seconds:.1f} s, {log.rows_read / seconds:,.0f} a second")
    for note in log.notes:
        say(note)
    for warning in audit(log).warnings:
        say(f"warning: {warning}")
    split = hold_out(log, config.needs, config.seed, config.data.split)
    if whole:
        say(f"{log!r}; every interaction trains, nothing is held out")
        return split
    say(f"{log!r}; {len(split.test)} users are evaluated, {split.train_only_users} are too short and only train")
    for line in cuts.told(cuts.parts_overview(log)):
        say(line)
    if split.pairs is not None:
        validation, test = len(split.pairs.validation), len(split.pairs.test)
        say(f"{validation:,} + {test:,} rows are held out for ratings and texts")
    return split


def _by_size(config: Config, split: Split, say: Say) -> Config:
    """The configuration with what it leaves to the size of the log."""
    targets = split.train.sequences().n_targets
    config = config.resolved(targets)
    trainer, model = config.trainer, config.model
    dropout = f", dropout {model.preset['dropout']:g}" if "dropout" in model.preset else ""
    most = "1 pass" if trainer.max_epochs == 1 else f"at most {trainer.max_epochs} passes"
    passes = f"{most}, {trainer.batch_size} rows a step"
    say(f"{targets:,} targets to learn from: {passes}, learning rate {model.learning_rate:g}{dropout}")
    return config


def _by_tokens(config: Config, vocabulary: Vocabulary) -> Config:
    """The configuration with what it leaves to the tokens; refused where it needs other ones."""
    if vocabulary.n_users == 0 and config.shows_users:
        raise ConfigError(NO_USERS)
    return config.reading(vocabulary.item_tokens)


def _vocabulary(config: Config, split: Split, begun: Path | None, progress: Progress) -> Vocabulary:
    """That of an interrupted run, the one that the configuration names, or a new one."""
    from metatoken.tokens.files import attribute_links

    given = begun or config.vocabulary
    if given is None:
        links = attribute_links(config.tokens, split.log, config.data)
        return Vocabulary.fit(
            split.train, config.tokens, attributes=links, seed=config.seed, threads=config.threads, progress=progress
        )
    vocabulary = Vocabulary.load(given)
    if vocabulary.n_users == 0 and vocabulary.learned_from is None:
        raise ConfigError(
            f"vocabulary: {given} holds items only, as `metatoken tokenize --embeddings` makes it, and a run needs "
            "the users of its log too; leave `vocabulary` out, or give `metatoken tokenize` the log"
        )
    if vocabulary.learned_from != split.train.edges_checksum():
        raise ConfigError(
            f"vocabulary: {given} was learned from other interactions than the training part of "
            f"{config.data.path or config.data.uri}; make it with `metatoken tokenize` from this log and "
            f"--split {config.data.split}"
        )
    return vocabulary if vocabulary.titles is not None else replace(vocabulary, titles=split.log.titles())


def build(
    config: Config, split: Split, vocabulary: Vocabulary, choices: Choices | None = None
) -> tuple[MetaTokenModule, TaskDataModule]:
    """The untrained model and its data, for a split log, the tokens of its train, and the choices of an earlier run."""
    import torch

    from metatoken.model.module import MetaTokenModule
    from metatoken.predict.writer import check_room
    from metatoken.tasks.datamodule import TaskDataModule

    torch.set_num_threads(config.threads or default_threads())
    keep_memory()
    torch.manual_seed(config.seed)
    pairs = split.pairs
    ratings = None if pairs is None or not config.rates else rating_base(pairs, choices, config.seed)
    settings = replace(config.model, seed=config.seed)
    module = MetaTokenModule(vocabulary, settings, texts=_training_texts(split), ratings=ratings)
    check_room(module, config.evaluate.writing.max_new_tokens, "evaluate.writing.max_new_tokens")
    mixture = {name: getattr(config.trainer, name) for name in MIXTURE}
    return module, TaskDataModule(split, vocabulary, tasks=module.tasks, seed=config.seed, **mixture)


def _trainer(
    config: Config, split: Split, folder: RunFolder, say: Say, begun: Callable[[], None]
) -> tuple[L.Trainer, BestEpoch]:
    """The trainer, which calls `begun` before its first step, and what keeps the best epoch of it."""
    from lightning.pytorch.callbacks import LambdaCallback

    from metatoken.run.best import BestEpoch
    from metatoken.run.validation import watched

    monitor, also, measures = watched(config.model.tasks, split)
    best = BestEpoch(monitor, folder.best, also=also, patience=config.trainer.patience)
    owner = cache(lambda: identity(folder, config))
    starting = LambdaCallback(on_train_start=lambda *_: begun())
    return make_trainer(config.trainer, folder, say, [*measures, best, starting], owner), best


def _weights(module: MetaTokenModule) -> str:
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return f"{sum(n for n, trains in sizes if trains):,} trainable of {sum(n for n, _ in sizes):,} weights"


def _training_texts(split: Split) -> list[str]:
    """Texts that the tokenizer of a preset learns from: those of the training rows that a task reads or writes."""
    if split.pairs is None:
        return []
    frame, titles = split.train.frame, split.train.titles() or []
    columns = [name for name in FIELDS if name in frame.columns and name != "rating"]
    return [text for name in columns for text in frame[name].to_list() if text] + [title for title in titles if title]


def _finish(
    config: Config,
    module: MetaTokenModule,
    split: Split,
    folder: RunFolder | None,
    record: TrainingRecord,
    choices: Choices | None,
    bar: Bar,
) -> Fusion:
    """Chooses on validation what is not trained, and saves the model; nothing where there is no folder to write."""
    from metatoken.model.store.saving import save_model
    from metatoken.predict.fusion import Fusion, choose_fusion
    from metatoken.predict.rater import choose_shares

    if folder is None:
        return Fusion()
    module.to("cpu").eval()
    about = config.evaluate
    if choices is not None:
        fusion = choices.fusion
    else:
        with bar("choosing fusion weights") as progress:
            fusion = choose_fusion(
                module,
                split,
                limit=about.fusion_users,
                batch_size=about.batch_size,
                seed=config.seed,
                progress=progress,
            )
        choose_shares(module, split)
    record.save(folder.training)
    fusion.save(folder.fusion)
    save_model(module, folder.model)
    fusion.warn()
    return fusion
