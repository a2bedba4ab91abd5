"""`rebuild_run`: fresh tokens for a run that has grown, and a model that begins at the old one's item vectors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from metatoken.artifacts import MANIFEST, sha256, write_frame, write_json
from metatoken.artifacts.writing import replaced_folder
from metatoken.run.extend import check_alone, features_of, write_run
from metatoken.run.folder import Run, RunData, RunFolder, load_data
from metatoken.run.manifest import backbone_checksum, check_backbone, seal, version_of
from metatoken.run.place import check_free, new_place
from metatoken.run.progress import Bar, Say, no_bar
from metatoken.run.settings import ExtendSettings
from metatoken.tokens.vectors.newcomers import attribute_features
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.fusion import Fusion

SCHEMA = 1


def rebuild_run(
    parent: str | Path,
    out: str | Path,
    *,
    epochs: int = 2,
    item_features: str | None = None,
    overwrite: bool = False,
    say: Say = print,
    bar: Bar | None = None,
) -> Run:
    """A run with the log of another one, a vocabulary that is learned anew, and a model that goes on.

    Users and items keep their rows, and items their vectors in the model, so that the item head ranks as before until
    it is trained; every token may mean something else.

    Args:
        parent: Folder of a finished run, which stays as it is.
        out: Folder of the new run; it appears there when it is whole.
        epochs: Passes over all training rows, in which the new tokens are learned.
        item_features: Features of items that no training row has, as an extension takes them; where none are given,
            those of the model count, or the categories and attributes of the item table.
        overwrite: Replace an older run at `out`, which is never the parent.
        say: Gets a line for each step.
        bar: Shows progress of long steps.

    Raises:
        ArtifactError: The parent is not finished, or damaged.
        ConfigError: `out` is taken.
        DataError: A file that the settings of the tokens name cannot be read.
    """
    chosen, began, inputs = ExtendSettings(epochs=epochs, item_features=item_features), time.monotonic(), [Path(parent)]
    with new_place(out, overwrite=overwrite, inputs=inputs):
        at = RunFolder(parent)
        old = load_data(at)
        check_alone(at, old.manifest, "rebuilt", "rebuild")
        vocabulary = _fresh(at, old, chosen, bar or no_bar)
        mapping = token_mapping(old.vocabulary, vocabulary)
        moved = int((mapping["old"] != mapping["new"]).sum()) / max(1, mapping.height)
        say(f"{vocabulary.n_tokens:,} tokens, {old.vocabulary.n_tokens:,} before; {moved:.0%} of all ids have others")
        with replaced_folder(out, lambda _: check_free(out, overwrite=overwrite, inputs=inputs)) as work:
            into = RunFolder(work)
            module, fusion = _model(at, old, vocabulary, chosen, into, say, bar)
            run = Run(Path(out), old.config, old.split, module, fusion, old.catalogue)
            write_run(into, run, vocabulary, None)
            write_frame(into.mapping, mapping)
            write_json(into.rebuilt, _record(at, old.vocabulary, vocabulary, epochs))
            seal(into, "finished", backbone_checksum(module))
    say(f"rebuilt in {time.monotonic() - began:.0f} s")
    return run


def token_mapping(old: Vocabulary, new: Vocabulary) -> pl.DataFrame:
    """What each id was called and is called now: `kind` (user or item), `id`, `old` and `new`, the texts of its tokens.

    Both have the same ids.
    """
    kinds = [("user", raw) for raw in new.users.raw] + [("item", raw) for raw in new.items.raw]
    rows = [(kind, raw, old.tokens_of(**{kind: raw}), new.tokens_of(**{kind: raw})) for kind, raw in kinds]
    return pl.DataFrame(rows, schema=dict.fromkeys(("kind", "id", "old", "new"), pl.String), orient="row")


def _fresh(at: RunFolder, old: RunData, chosen: ExtendSettings, bar: Bar) -> Vocabulary:
    """Tokens that are learned from the training part as it is now."""
    from metatoken.tokens.files import attribute_links

    config = old.config
    links = attribute_links(config.tokens, old.split.log, config.data)
    features = _features_of_cold(at, old, chosen)
    with bar("learning tokens") as progress:
        return Vocabulary.fit(
            old.split.train, config.tokens, attributes=links, features=features, seed=config.seed,
            threads=config.threads, source=old.split.log.checksum(), progress=progress,
        )  # fmt: skip


def _features_of_cold(at: RunFolder, old: RunData, chosen: ExtendSettings) -> np.ndarray | None:
    """What gives items without training rows a vector, as in an extension; None where the settings say it already."""
    tokens, train = old.config.tokens, old.split.train
    if chosen.item_features is None and (tokens.item_features is not None or tokens.cold != "none"):
        return None
    features, _ = features_of(at, train.items, chosen.item_features)
    if features is None:
        columns = [one for one in tokens.attributes.values() if isinstance(one, str)]
        features = attribute_features(train.item_table, ["categories", *columns], train.n_items, train.n_items)
    if features is None:
        return None
    trained = np.bincount(train.frame["item"].to_numpy(), minlength=train.n_items) > 0
    enough = (~np.isnan(features).any(axis=1) & trained).sum() > 1
    return features if enough else None


def _model(
    at: RunFolder,
    old: RunData,
    vocabulary: Vocabulary,
    chosen: ExtendSettings,
    into: RunFolder,
    say: Say,
    bar: Bar | None,
) -> tuple[MetaTokenModel, Fusion]:
    """The model that goes on from that of the parent, and the weights of the fused list."""
    from metatoken.model.rebuilding import started_from
    from metatoken.model.store.saving import load_model
    from metatoken.predict.fusion import Fusion
    from metatoken.run.further import train_further

    before = load_model(at.model, old.vocabulary)
    check_backbone(before, old.manifest, at.path)
    module, fusion = started_from(before, vocabulary), Fusion.load(at.fusion)
    if chosen.epochs:
        none_known = np.zeros(old.split.log.n_users, dtype=np.int64)  # every row is trained on
        fusion = train_further(module, old.split, old.config, chosen, none_known, into, say, bar) or fusion
    return module.eval(), fusion


def _record(at: RunFolder, old: Vocabulary, new: Vocabulary, epochs: int) -> dict[str, Any]:
    """Where a rebuilt run comes from: `rebuilt.json`."""
    manifest = at.path / MANIFEST
    return {
        "schema": SCHEMA,
        "run": str(at.path),
        "version": version_of(at),
        "manifest": sha256(manifest) if manifest.is_file() else None,
        "tokens": {"old": old.n_tokens, "new": new.n_tokens},
        "levels": {"old": list(old.levels), "new": list(new.levels)},
        "epochs": epochs,
    }
