"""What a report is about: an evaluated run, read without its model."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from metatoken.artifacts import read_json
from metatoken.evaluate.metrics import BASELINE
from metatoken.evaluate.predictions import read_table
from metatoken.evaluate.ranking import ranks
from metatoken.evaluate.significance import JUDGED
from metatoken.run.folder import RunData, RunFolder, load_data
from metatoken.run.record import TrainingRecord

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from metatoken.data.split import Part, Targets

    Int32 = NDArray[np.int32]

Labels = tuple[str, str, str]
"""Task, template and model of a row."""
K = 10  # items of a list
SERVED = ("fused", "item_head", "generation")  # models by which a run is judged, the one that is served first


@dataclass(frozen=True, eq=False)
class Subject:
    """An evaluated run.

    Attributes:
        folder: Where it is.
        data: Its log, tokens and configuration.
        metrics: The content of `metrics.json`.
        rows: Its rows as `compare_runs` has them, each with what it is set against.
    """

    folder: RunFolder
    data: RunData
    metrics: Mapping[str, Any]
    rows: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path, rows: list[dict[str, Any]]) -> Self:
        """Reads a run that `compare_runs` has read and checked, but for its model.

        Raises:
            ArtifactError: A part is missing or altered.
        """
        folder = RunFolder(path)
        return cls(folder, load_data(folder), read_json(folder.metrics), rows)

    @property
    def part(self) -> Part:
        """Which held-out items were scored."""
        return "validation" if self.metrics["split"].endswith("(validation)") else "test"

    @cached_property
    def targets(self) -> Targets:
        """The held-out items that were to be found."""
        return self.data.split.targets(self.part)

    @cached_property
    def ranked(self) -> list[dict[str, Any]]:
        """The rows that rank."""
        return [row for row in self.rows if JUDGED in row["metrics"]]

    @cached_property
    def main(self) -> dict[str, Any] | None:
        """The row by which the run is judged: what is served, with the first template of the first task that ranks.

        It is named by this rule and not by its numbers, so it is not the best of several. None where nothing ranks.
        """
        own = [row for row in self.ranked if row["template"] != BASELINE]
        first = [row for row in own if (row["task"], row["template"]) == (own[0]["task"], own[0]["template"])]
        return min(first, key=lambda row: _place(row["model"]), default=None)

    @cached_property
    def rival(self) -> dict[str, Any] | None:
        """The best baseline of the same task; None where there is none."""
        if self.main is None or "against" not in self.main:
            return None
        wanted = self.main["task"], self.main["against"]["template"], self.main["against"]["model"]
        return next(row for row in self.ranked if labels_of(row) == wanted)

    def lists(self, labels: Labels) -> Int32:
        """The lists of a row, int32 `[m, K]` item rows in the order of `targets`, -1 where nothing is listed."""
        task, template, model = labels
        log, table = self.data.split.log, self._predictions
        table = table.filter(task=task, template=template, model=model, split=self.part).filter(pl.col("rank") <= K)
        place = np.full(log.n_users, -1)
        place[self.targets.users] = np.arange(len(self.targets))
        users, items = log.users.find(table["user"]), log.items.find(table["item"])
        found = np.full((len(self.targets), K), -1, dtype=np.int32)
        known = (users >= 0) & (items >= 0)
        found[place[users[known]], table["rank"].to_numpy()[known] - 1] = items[known]
        return found

    def ranks(self, labels: Labels) -> Int32:
        """Place of each target in its list from 1, int32 `[m]`; 0 where it is not there."""
        return ranks(self.lists(labels), self.targets.items)

    @cached_property
    def _predictions(self) -> pl.DataFrame:
        return read_table(self.folder.predictions)

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """Training interactions of each item, int64 `[n_items]`."""
        train = self.data.split.train
        return np.bincount(train.frame["item"].to_numpy(), minlength=train.n_items)

    def title(self, row: int) -> str:
        """Title of an item row, or its raw id where none is known."""
        return self.data.catalogue.titles[row] or self.data.catalogue.items.raw[row]

    @cached_property
    def epochs(self) -> dict[str, list[float]]:
        """`training.csv` by column, NaN where a value is missing; empty where there is none, or another table."""
        try:
            with self.folder.table.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, restval=""))
            names = [name for name in (rows[0] if rows else {}) if name]
            return {name: [float(row[name] or "nan") for row in rows] for name in names}
        except (OSError, ValueError, TypeError):
            return {}

    @cached_property
    def record(self) -> TrainingRecord | None:
        """Which epoch was kept; None in runs of before that was written down."""
        return TrainingRecord.load(self.folder.training) if self.folder.training.is_file() else None


def labels_of(row: Mapping[str, Any]) -> Labels:
    """Task, template and model of a row."""
    return row["task"], row["template"], row["model"]


def _place(model: str) -> int:
    return SERVED.index(model) if model in SERVED else len(SERVED)
