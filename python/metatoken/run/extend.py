"""`extend_run`: a run with the interactions, users and items that came after it."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.artifacts.writing import replaced_folder
from metatoken.data import Catalogue, hold_out
from metatoken.data.auditing import oddities
from metatoken.data.growth import Files, append, check_ids, keep_learned, repeats, unlisted
from metatoken.errors import ArgumentError, ConfigError, MetatokenWarning
from metatoken.run.folder import Run, RunData, RunFolder, load_data
from metatoken.run.lineage import Lineage, Version
from metatoken.run.manifest import backbone_checksum, check_backbone, partner_folders, seal
from metatoken.run.place import check_free, new_place
from metatoken.run.progress import Bar, Say
from metatoken.run.settings import ExtendSettings
from metatoken.tokens.vectors.cold import NONE
from metatoken.tokens.vectors.newcomers import came_late

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metatoken.data import IdMap, Interactions, Split
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.fusion import Fusion
    from metatoken.run.addition import Addition
    from metatoken.run.config import Config
    from metatoken.tokens.vocabulary import Vocabulary


def extend_run(
    parent: str | Path,
    new: Interactions,
    out: str | Path,
    settings: ExtendSettings | None = None,
    *,
    addition: Addition | None = None,
    overwrite: bool = False,
    inputs: Sequence[Path] = (),
    say: Say = print,
    bar: Bar | None = None,
    **fields: Any,
) -> Run:
    """A run with what came after it, as a folder of its own; the parent stays as it is.

    What the parent has keeps its rows, tokens, vectors and weights. New items are recommended without training, see
    docs/growth.md; `epochs` trains further on new rows and a share of the old ones.

    Args:
        parent: Folder of a finished run.
        new: What came later, read in the same way.
        out: Folder of the extended run; it appears there when it is whole.
        settings: How it is extended.
        addition: Where `new` came from, to be recorded.
        overwrite: Replace an older run at `out`, which is never the parent.
        inputs: Files that were read; what holds one is not replaced.
        say: Gets a line for each step.
        bar: Shows progress of long steps.
        **fields: Single settings over the ready ones.

    Warns:
        MetatokenWarning: The parent keeps no times, so that nothing says that `new` is later; some of its rows are
            known already; or times or ids of it look wrong, see `data.auditing.oddities`.

    Raises:
        ArtifactError: The parent is not finished, or damaged.
        ConfigError: `out` is taken.
        DataError: `new` contradicts the log of the parent: it has no times, or older ones.
        ArgumentError: A setting cannot be used, or features do not fit.
    """
    chosen, inputs = ExtendSettings.of(settings, fields), [Path(parent), *inputs]
    with new_place(out, overwrite=overwrite, inputs=inputs):
        at = RunFolder(parent)
        old = load_data(at)
        check_alone(at, old.manifest, "extended", "extend")
        split, config = _grown_split(at, old, new, chosen, Files() if addition is None else addition.files())
        features, read = features_of(at, split.log.items, chosen.item_features)
        vocabulary = old.vocabulary.extend(split.train, features=features, threads=config.threads)
        for line in report_lines(vocabulary, old, split):
            say(line)
        module = _grown_model(at, old, vocabulary, split, features if read else None, say)
        with replaced_folder(out, lambda _: check_free(out, overwrite=overwrite, inputs=inputs)) as work:
            into = RunFolder(work)
            fusion, training = _trained(at, old, module, split, config, chosen, into, say, bar)
            run = Run(Path(out), config, split, module.eval(), fusion, Catalogue.of(split.log, vocabulary.titles))
            write_run(into, run, vocabulary, addition)
            if at.training.exists():
                shutil.copyfile(at.training, into.training)
            version = _version(vocabulary, split, new, addition, training)
            Lineage.of(at, _first_version(old)).followed(version).save(into.lineage)
            seal(into, "finished", backbone_checksum(module))
    return run


def check_alone(at: RunFolder, manifest: dict[str, Any] | None, done: str, do: str) -> None:
    """Refuses an ensemble, of which only the first model would go on: `ConfigError`."""
    if partner_folders(at.path, manifest):
        said = f"is an ensemble, which cannot be {done}"
        raise ConfigError(f"{at.path}: {said}; {do} the runs that it was made of, and make a new one of these")


def _trained(
    at: RunFolder,
    old: RunData,
    module: MetaTokenModel,
    split: Split,
    config: Config,
    chosen: ExtendSettings,
    into: RunFolder,
    say: Say,
    bar: Bar | None,
) -> tuple[Fusion, dict[str, Any] | None]:
    """Trains the model further where that is asked for, and gives the weights of the fused list, and how it was."""
    from metatoken.predict.fusion import Fusion
    from metatoken.run.further import train_further

    fusion = Fusion.load(at.fusion)
    if not chosen.epochs:
        return fusion, None
    if len(split.train) <= len(old.split.train):
        say("no new row is for training, so there is nothing to train further on: --epochs changes nothing")
        return fusion, None
    lengths = old.split.train.sequences().lengths
    found = train_further(module, split, config, chosen, lengths, into, say, bar)
    return found or fusion, chosen.plain("training")


def _grown_split(
    at: RunFolder, old: RunData, new: Interactions, chosen: ExtendSettings, files: Files
) -> tuple[Split, Config]:
    """The log with the new rows, split again, and the configuration that says so.

    The last two items of a user are held out anew where the parent held out such ones, but for rows that it learned
    from, of users who were too short: nothing that is held out was ever learned from. Parts that rows or random pairs
    belong to say nothing of new rows, so nothing is held out.
    """
    from metatoken.run.further import replayed_since

    log, config = append(old.split.log, new, files), old.config
    if "timestamp" in new.frame.columns and "timestamp" not in log.frame.columns:
        said = "its history has no times, as older versions wrote it, so nothing says that the new log is later"
        warnings.warn(MetatokenWarning(f"{at.path}: {said}"), stacklevel=3)
    odd_ids = (*check_ids(old.split.log, new, files), *unlisted(old.split.log, new, files))
    for odd in (*odd_ids, *repeats(old.split.log, new), *oddities(new)):
        warnings.warn(MetatokenWarning(odd), stacklevel=3)
    again = chosen.hold_out and config.holds_last_out
    log = keep_learned(log, old.split.train) if again else log
    config = replace(config, data=replace(config.data, split="leave-last-out" if again else "none"))
    split = hold_out(log, config.needs, config.seed, config.data.split)
    replayed_since(split, config, chosen.since)  # refused before the work
    return split, config


def features_of(at: RunFolder, items: IdMap, spec: str | None) -> tuple[np.ndarray | None, bool]:
    """Features of all items, NaN where nothing is known, and whether the model reads them: else those of a file."""
    from metatoken.model.store.saving import load_features
    from metatoken.tokens.files import read_features

    known = load_features(at.model)
    if known is None:
        return None if spec is None else read_features(spec, items), False
    n_old = len(known)
    later = np.full((len(items) - n_old, known.shape[1]), np.nan, known.dtype)
    if spec is not None and len(later):
        later = read_features(spec, items)[n_old:]
        if later.shape[1] != known.shape[1]:
            said = f"expected vectors of {known.shape[1]} values, as those of the model, got {later.shape[1]}"
            raise ArgumentError("item_features", f"{said}; make them with the same backbone and components")
    known = np.where(known.any(axis=1, keepdims=True), known, np.float32(np.nan))
    return np.concatenate([known, later]), True


def _grown_model(
    at: RunFolder, old: RunData, vocabulary: Vocabulary, split: Split, features: np.ndarray | None, say: Say
) -> MetaTokenModel:
    """The model of the parent over all items; `features` of all of them where it reads some."""
    from metatoken.model.growth import Growth
    from metatoken.model.store.saving import load_model

    later = None if features is None else np.nan_to_num(features[old.vocabulary.n_items :])
    trained, counts = (
        np.bincount(part.train.frame["item"].to_numpy(), minlength=part.log.n_items) for part in (old.split, split)
    )
    late = _late(old, split, counts, trained)
    if late is not None:
        say(f"{len(late[0]):,} items at the centre have their first rows now: the model moves them, their tokens stay")
    growth = Growth(split.log.n_users, split.log.n_items, counts, trained, later, late)
    module = load_model(at.model, vocabulary, growth)
    check_backbone(module, old.manifest, at.path)
    return module


def _late(old: RunData, split: Split, counts: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Items that an extension put at the centre, whose first training rows come now: see `Growth.late`."""
    one = old.vocabulary
    fitted = one.earlier[0][1] if one.earlier else one.n_items
    none = (one.origins[one.nodes("item")] == NONE) & (trained == 0) & (counts[: len(trained)] > 0)
    none[:fitted] = False  # whose weights were learned
    if not none.any():
        return None
    known = one.trained[one.nodes("item")]
    rows, vectors = came_late(one.item_vectors, known, split.train.sequences(), np.flatnonzero(none))
    return (rows, vectors) if len(rows) else None


def write_run(into: RunFolder, run: Run, vocabulary: Vocabulary, addition: Addition | None) -> None:
    """Writes all of a run but its lineage and its manifest."""
    from metatoken.model.store.saving import save_model
    from metatoken.run.config import dump_config

    into.config.write_text(dump_config(run.config), encoding="utf-8")
    vocabulary.save(into.vocabulary)
    run.catalogue.save(into.items)
    into.write_history(run.split.log, texts=bool(run.config.needs))
    run.fusion.save(into.fusion)
    into.write_source(run.config.data if addition is None else addition.about, run.split.log)
    save_model(run.module, into.model)


def _first_version(old: RunData) -> Version:
    one = old.vocabulary
    return Version(old.split.log.n_users, one.n_items, one.n_tokens, len(old.split.log))


def _version(
    vocabulary: Vocabulary, split: Split, new: Interactions, addition: Addition | None, training: dict[str, Any] | None
) -> Version:
    log = {
        **(addition.said() if addition else {}),
        "rows": new.rows_read,
        "interactions": len(new),
        "checksum": new.checksum(),
    }
    return Version(
        split.log.n_users, vocabulary.n_items, vocabulary.n_tokens, len(split.log),
        log=log, found=dict(vocabulary.report["extension"]), training=training,
    )  # fmt: skip


def report_lines(vocabulary: Vocabulary, old: RunData, split: Split) -> list[str]:
    """What became of new ids, for a person."""
    found, before = vocabulary.report["extension"], old.vocabulary
    words = {
        "walked": "from walks", "neighbours": "from what they came with", "features": "from their features",
        "none": "at the centre",
    }  # fmt: skip
    lines = []
    for kind, n in (("users", vocabulary.n_users - before.n_users), ("items", vocabulary.n_items - before.n_items)):
        parts = ", ".join(f"{count:,} {words[name]}" for name, count in found[kind].items())
        lines.append(f"{n:,} new {kind}{f': {parts}' if parts else ''}")
    lines += _users_at_the_centre(vocabulary, before.n_users, split)
    lines += _at_the_centre(vocabulary, before.n_items, split)
    tokens = f", {found['tokens']} tokens appended" if found["tokens"] else ""
    return [*lines, f"{found['kept_share']:.1%} of new ids have their nearest tokens{tokens}"]


def _users_at_the_centre(vocabulary: Vocabulary, first: int, split: Split) -> Iterator[str]:
    """Why new users, those from row `first` on, are at the centre, and what helps."""
    none = np.flatnonzero(vocabulary.origins[vocabulary.nodes("user")][first:] == NONE) + first
    held = np.bincount(split.train.frame["user"].to_numpy(), minlength=split.log.n_users)[none] == 0
    if n := int(held.sum()):
        yield f"{n:,} users at the centre have no row but held-out ones; --no-hold-out learns from these rows"
    if rest := len(none) - n:
        yield f"{rest:,} users at the centre have no item that was walked; lists go by their items all the same"


def _at_the_centre(vocabulary: Vocabulary, first: int, split: Split) -> Iterator[str]:
    """Why new items, those from row `first` on, are at the centre, and what helps."""
    none = np.flatnonzero(vocabulary.origins[vocabulary.nodes("item")][first:] == NONE) + first
    in_log, in_train = (
        np.bincount(one.frame["item"].to_numpy(), minlength=split.log.n_items)[none] for one in (split.log, split.train)
    )
    if held := int(((in_log > 0) & (in_train == 0)).sum()):
        yield (
            f"{held:,} items at the centre have no row but held-out ones, and keep their tokens for good; "
            "--no-hold-out learns from these rows, --items or --item-features say what the items are"
        )
    if alone := int((in_train > 0).sum()):
        yield f"{alone:,} items at the centre are in no history with a known item; --items says what they are"
    if unknown := int((in_log == 0).sum()):
        yield f"{unknown:,} items at the centre have no row, and nothing else that says what they are"
