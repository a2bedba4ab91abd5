"""The folder of a run: what lies where, and how it becomes a `Run` again.

run/  config.yaml  vocabulary/  items/  model/  fusion.json  history.parquet  source.json  checkpoints/
      lineage.json  (of a run that was extended; `run.lineage`)
      training.json  training.csv  tensorboard/  (as `trainer.logger` says)
      partners/0/ ...  (of an ensemble: `model/` and `vocabulary/` of each further model)
      baselines/NAME/  (after `fit_baselines`)
      metrics.json  predictions.parquet  answers.parquet   (after `evaluate_run`)
      manifest.json  (written last; `run.manifest`)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from metatoken.artifacts import atomic_file, read_frame, write_frame
from metatoken.artifacts.failures import reachable
from metatoken.data import Catalogue, IdMap, Interactions, Split, hold_out
from metatoken.data.assembly import places
from metatoken.data.cuts import cut_of, drawn, parts_overview
from metatoken.errors import ArtifactError
from metatoken.run.config import Config, dump_config, load_config
from metatoken.run.manifest import check_backbone, check_run, is_begun, partner_folders, seal
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metatoken.data.settings import LogSettings
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.fusion import Fusion

KEPT = ("rating", "review", "summary", "explanation", "feature")  # columns that answers are told or made from


class RunFolder:
    """Where the parts of a run are.

    Args:
        path: The folder; `ArtifactError` for one that the system cannot look for.

    Attributes:
        config: The resolved configuration.
        vocabulary: Folder of the vocabulary.
        items: Folder of the catalogue.
        model: Folder of the model, written last.
        fusion: Weights of the fused list.
        source: Where the log came from: file or query, rows, and a checksum of what was read.
        lineage: The runs that an extended one comes from.
        rebuilt: The run that a rebuilt one comes from.
        mapping: Its old and new tokens by id.
        history: The log: who interacted with which item, and the texts where tasks need them.
        checkpoint: What `--resume` goes on from.
        best: Weights of the best epoch.
        training: Which epoch was kept, and what was found after each.
        table: What was logged after each epoch.
        tensorboard: The same, and steps, for TensorBoard.
        partners: Folder of further models, a numbered folder each.
        baselines: Folder of the fitted baselines, one folder each.
        metrics: Metrics of the last evaluation.
        predictions: Lists of the last evaluation.
        answers: Ratings and texts of the last evaluation, beside what is true.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = reachable(path)
        self.config, self.fusion = self.path / "config.yaml", self.path / "fusion.json"
        self.vocabulary, self.items, self.model = (self.path / name for name in ("vocabulary", "items", "model"))
        self.history, self.checkpoint = self.path / "history.parquet", self.path / "checkpoints" / "last.ckpt"
        self.best, self.training = self.checkpoint.with_name("best.ckpt"), self.path / "training.json"
        self.table, self.tensorboard = self.path / "training.csv", self.path / "tensorboard"
        self.source, self.lineage = self.path / "source.json", self.path / "lineage.json"
        self.rebuilt, self.mapping = self.path / "rebuilt.json", self.path / "mapping.parquet"
        self.partners, self.baselines = self.path / "partners", self.path / "baselines"
        self.metrics = self.path / "metrics.json"
        self.predictions, self.answers = self.path / "predictions.parquet", self.path / "answers.parquet"

    def begin(self, config: Config, vocabulary: Vocabulary, log: Interactions, backbone: str | None) -> None:
        """Writes what is known before training into a folder that is there and empty.

        Args:
            config: Of the run.
            vocabulary: Its tokens.
            log: All interactions.
            backbone: Checksum of the weights of a frozen backbone.
        """
        self.config.write_text(dump_config(config), encoding="utf-8")
        vocabulary.save(self.vocabulary)
        Catalogue.of(log, vocabulary.titles).save(self.items)
        self.write_history(log, texts=bool(config.needs))
        self.write_source(config.data, log)
        seal(self, "begun", backbone)

    def go_on(self, config: Config, backbone: str | None) -> None:
        """Takes a run into training again: it cannot be used until it is sealed, and its evaluation is gone."""
        seal(self, "begun", backbone)  # before a file of it changes
        with atomic_file(self.config) as work:
            work.write_text(dump_config(config), encoding="utf-8")
        for stale in (self.metrics, self.predictions, self.answers):
            stale.unlink(missing_ok=True)

    def load_config(self) -> Config:
        """Reads the configuration; one of before `model.history` was a setting has the only way there was then.

        Raises:
            ConfigError: See `metatoken.run.config.load_config`.
        """
        config = load_config(self.config)
        return replace(config, model=config.model.as_before)

    def check_finished(self) -> None:
        """Refuses a folder without a trained model: `ArtifactError`."""
        if not self.is_finished():
            state = "was interrupted; finish it with --resume" if self.config.exists() else self.no_run()
            raise ArtifactError(f"{self.path}: {state}")

    def no_run(self) -> str:
        """What to say of a place that has no run."""
        return f"is not a run folder{'' if self.path.exists() else '; nothing is there'}"

    def is_finished(self) -> bool:
        """Whether there is a trained model, and nothing that is about to become another one."""
        return self.model.is_dir() and not is_begun(self)

    def write_history(self, log: Interactions, *, texts: bool) -> None:
        """Writes a log with raw ids.

        Args:
            log: The log.
            texts: Keep ratings and texts, too.
        """
        kept = [
            name for name in ("timestamp", *(KEPT if texts else ()), "part", "learned") if name in log.frame.columns
        ]
        frame = log.frame.select("user", "item", *kept)
        user, item = log.users.column(frame["user"]), log.items.column(frame["item"])
        write_frame(self.history, frame.with_columns(user=user, item=item))

    def write_source(self, about: LogSettings, log: Interactions) -> None:
        """Writes where a log came from and what was found there, in each part of a split, too."""
        said = {
            "source": about.uri or str(about.path),
            "query": about.query,
            "rows": log.rows_read,
            "left_out": list(log.notes),
            "interactions": len(log),
            "users": log.n_users,
            "items": log.n_items,
            "split": {"name": about.split, **cut_of(about), "parts": parts_overview(log)},
            "checksum": log.checksum(),
        }
        self.source.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def read_log(self) -> Interactions:
        """Reads what `write_history` wrote.

        Raises:
            ArtifactError: It is missing or broken.
        """
        frame = read_frame(self.history, {"user": pl.String, "item": pl.String})
        named: dict[str, Any] = {name: name for name in KEPT if name in frame.columns}
        if "part" in frame.columns:
            named |= {"part": "part", "split": "part"}
        return Interactions.from_frame(frame, **named)

    def read_history(self, vocabulary: Vocabulary) -> Interactions:
        """The same in the rows of a vocabulary, with its titles, and with times where the log had some.

        Raises:
            ArtifactError: It is missing or broken, or has other users or items than the vocabulary.
        """
        frame = read_frame(self.history, {"user": pl.String, "item": pl.String})
        # A vocabulary of items alone leaves the users to the log, where they stand in the order of their rows.
        users = vocabulary.users if vocabulary.n_users else IdMap(frame["user"].unique(maintain_order=True), "user")
        rows = {"user": users.find(frame["user"]), "item": vocabulary.items.find(frame["item"])}
        if any((found < 0).any() for found in rows.values()):
            raise ArtifactError(f"{self.history}: has other users or items than the vocabulary of the run")
        frame = frame.with_columns(**rows)[np.argsort(rows["user"], kind="stable")]
        frame = frame.with_columns(order=places(frame["user"].to_numpy(), len(users)))
        frame = frame.select("user", "item", "order", pl.exclude("user", "item", "order"))
        log = Interactions(frame, users, vocabulary.items, rows_read=frame.height)
        if vocabulary.titles is None:
            return log
        item = pl.Series("item", range(log.n_items), dtype=pl.Int32)
        return replace(log, item_table=pl.DataFrame({"item": item, "title": vocabulary.titles}))


@dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
        folder: Where it is.
        config: Its resolved configuration.
        split: The log it was trained on, split as then; with held-out pairs where a task rates or writes.
        module: The model, in evaluation mode.
        fusion: Weights of the fused list.
        catalogue: What is known about the items; titles alone in runs of before it was stored.
        partners: Further models of an ensemble, whose item heads have a say in the fused list.
    """

    folder: Path
    config: Config
    split: Split
    module: MetaTokenModel
    fusion: Fusion
    catalogue: Catalogue
    partners: tuple[MetaTokenModel, ...] = ()

    def extend(self, new: Interactions, out: str | Path, **settings: Any) -> Run:
        """A new run with what came later: its interactions, users and items; this one stays as it is.

        Args:
            new: What came later, such as `data.growth.read_addition` or `Interactions.from_frame` give it.
            out: Folder of the new run.
            **settings: Fields of `metatoken.run.settings.ExtendSettings`, and `overwrite` or `say` of `extend_run`.
        """
        from metatoken.run.extend import extend_run

        return extend_run(self.folder, new, out, **settings)


def load_run(folder: str | Path) -> Run:
    """Loads a finished run.

    Warns:
        MetatokenWarning: It is of before there were manifests of runs.

    Raises:
        ArtifactError: A part is missing, altered, or of another run.
    """
    from metatoken.model.store.saving import load_model
    from metatoken.predict.fusion import Fusion

    at = RunFolder(folder)
    parts = load_data(at)
    module = load_model(at.model, parts.vocabulary)
    check_backbone(module, parts.manifest, at.path)
    partners = tuple(load_partners(at, parts.manifest))
    return Run(at.path, parts.config, parts.split, module, Fusion.load(at.fusion), parts.catalogue, partners)


def load_partners(at: RunFolder, manifest: dict[str, Any] | None) -> Iterator[MetaTokenModel]:
    """Loads the further models of an ensemble, in their order; see `load_run`."""
    from metatoken.model.store.saving import load_model

    for folder, backbone in partner_folders(at.path, manifest):
        model = load_model(folder / "model", Vocabulary.load(folder / "vocabulary"))
        check_backbone(model, {"backbone": backbone}, folder)
        yield model


class RunData(NamedTuple):
    """A finished run but for its model.

    Attributes:
        manifest: Of the run; None where it has none.
        config: Its resolved configuration.
        vocabulary: Its tokens.
        split: Its log, split as it was trained on.
        catalogue: What is known about the items.
    """

    manifest: dict[str, Any] | None
    config: Config
    vocabulary: Vocabulary
    split: Split
    catalogue: Catalogue


def load_data(at: RunFolder) -> RunData:
    """Loads and checks all of a finished run but its model; see `load_run`."""
    at.check_finished()
    manifest = check_run(at)
    config = at.load_config()
    vocabulary = Vocabulary.load(at.vocabulary)
    split = hold_out(at.read_history(vocabulary), config.needs, config.seed, config.data.split)
    if vocabulary.learned_from != split.train.edges_checksum():
        raise ArtifactError(f"{at.history}: altered since the run was trained; train again with --overwrite")
    if at.items.exists():
        catalogue = Catalogue.load(at.items, vocabulary.items)
    else:
        catalogue = Catalogue.of(split.log, vocabulary.titles)
    split = drawn(split, config.evaluate.users).about(catalogue.table())
    return RunData(manifest, config, vocabulary, split, catalogue)
