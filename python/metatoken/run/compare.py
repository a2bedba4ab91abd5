"""`compare_runs`: evaluated runs side by side, from their metrics and predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from metatoken.artifacts.writing import resolved
from metatoken.data.checksum import content_checksum
from metatoken.data.cuts import drawn
from metatoken.data.split import split_log
from metatoken.errors import ArgumentError, ArtifactError, MetatokenWarning
from metatoken.run.config import Config, flat
from metatoken.run.evaluation import NOT_ITS_OWN, as_scored, metrics_of, read_metrics, scored_otherwise
from metatoken.run.folder import RunFolder
from metatoken.run.manifest import n_partners

if TYPE_CHECKING:
    from metatoken.data.split import Part
    from metatoken.evaluate.comparison import Group, Labels, Scored

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What an evaluation left in the folder of a run.

    Attributes:
        folder: The folder.
        config: Its configuration, with the settings that it was scored with.
        otherwise: Full keys of those of them that are other than it was trained with.
        models: How many models recommend: 1, or those of an ensemble.
        about: Split and part, size and checksum of the log; runs that differ in it cannot be compared.
        rows: The rows of `metrics.json`, with the values of users or pairs.
    """

    folder: Path
    config: Config
    otherwise: tuple[str, ...]
    models: int
    about: dict[str, Any]
    rows: dict[Labels, Scored]

    @property
    def recipe(self) -> tuple[Config, int]:
        """The configuration but for the seed, and for what changes no result; and the number of models."""
        return replace(self.config, seed=0, threads=None), self.models


def compare_runs(
    folders: Sequence[str | Path], *, against: str | None = None, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Mean and standard deviation over seeds of every row, and a paired bootstrap against a reference row.

    Runs that were trained and scored alike, but for the seed, are a group. Several groups stand side by side, and their
    rows are set against those of the first group, too.

    Args:
        folders: Folders of evaluated runs, over the same log, split and part.
        against: Model that every row is set against; None takes the best baseline of its task and group.
        resamples: How often users are drawn.
        seed: Seed of the draws.

    Returns:
        The document that docs/evaluation.md describes, ready for `json.dump`.

    Warns:
        MetatokenWarning: Rows are over fewer runs than their group has, since some runs lack them.

    Raises:
        ArgumentError: No runs, a run given twice, or runs over different logs, splits or parts; no such model.
        ArtifactError: A run was not evaluated, or its files do not belong together.
    """
    from metatoken.evaluate.comparison import Comparison, name_of

    runs = [read_evaluated(folder) for folder in folders]
    _check_alike(runs)
    groups = _grouped(runs)
    comparison = Comparison([_rows_of(group) for group in groups], against, resamples=resamples, seed=seed)
    changed = _changed(groups)
    return {
        "schema": SCHEMA,
        **{name: runs[0].about[name] for name in ("split", "dataset", "users")},
        "resamples": resamples,
        "seed": seed,
        "groups": [
            {"name": name_of(number), "runs": [str(one.folder) for one in group],
             "seeds": [one.config.seed for one in group], "settings": settings}
            for number, (group, settings) in enumerate(zip(groups, changed, strict=True))
        ],
        "rows": comparison.rows(),
        "between": comparison.between(),
    }  # fmt: skip


def read_evaluated(folder: str | Path) -> Evaluated:
    """Reads what `evaluate_run` wrote, and checks that lists and metrics belong together.

    Raises:
        ArtifactError: The run was not evaluated, or its files do not belong together.
    """
    at = RunFolder(folder)
    if not at.metrics.is_file():
        state = f"has no metrics; run `metatoken evaluate {at.path}`" if at.config.is_file() else at.no_run()
        raise ArtifactError(f"{at.path}: {state}")
    document, log = read_metrics(at), at.read_log()
    part: Part = "validation" if document["split"].endswith("(validation)") else "test"
    own = at.load_config()
    config = as_scored(own, document.get("settings", {}), at)
    targets = drawn(split_log(log, config.data.split), config.evaluate.users).targets(part)
    about = {"split": document["split"], "dataset": document["dataset"], "users": len(targets)}
    truth = pl.DataFrame({"user": log.users.column(targets.users), "item": log.items.column(targets.items)})
    rows = {_labels(row): row for row in document["rows"]}
    ranked = {labels: row for labels, row in rows.items() if "ndcg@10" in row}
    scored = _ranked(at, ranked, truth)
    scored |= _answered(at, {labels: row for labels, row in rows.items() if labels not in ranked})
    about["log"] = log.edges_checksum()
    otherwise = tuple(scored_otherwise(own, config))
    return Evaluated(at.path, config, otherwise, 1 + n_partners(at), about, {one: scored[one] for one in rows})


def _ranked(at: RunFolder, rows: Mapping[Labels, Mapping[str, Any]], truth: pl.DataFrame) -> dict[Labels, Scored]:
    """Rows that rank, with the metrics of each user; one without the target among the predictions is a miss."""
    from metatoken.evaluate.comparison import NAMES, Scored
    from metatoken.evaluate.predictions import read_table
    from metatoken.evaluate.ranking import user_metrics

    if not rows:
        return {}
    hits = read_table(at.predictions).join(truth.with_row_index("place"), on=["user", "item"])
    if hits["rank"].has_nulls():
        raise ArtifactError(f"{at.predictions}: {NOT_ITS_OWN}")
    parts = hits.partition_by(NAMES, as_dict=True)
    found = {}
    for labels, row in rows.items():
        hit, ranks = parts.get(labels), np.zeros(len(truth), dtype=np.int32)
        if hit is not None:
            ranks[hit["place"].to_numpy()] = hit["rank"].to_numpy()
        values, metrics = user_metrics(ranks), metrics_of(row)
        for name, users in values.items():
            if row["users"] != len(truth) or not abs(users.mean() - metrics[name]) <= 1e-9:
                raise ArtifactError(f"{at.predictions}: {NOT_ITS_OWN}")
        found[labels] = Scored.one(metrics, "users", values)
    return found


def _answered(at: RunFolder, rows: Mapping[Labels, Mapping[str, Any]]) -> dict[Labels, Scored]:
    """Rows of ratings, with the errors of each pair, and rows of texts, which no test is made for."""
    from metatoken.evaluate.comparison import NAMES, Scored
    from metatoken.evaluate.predictions import ANSWERS, read_table
    from metatoken.evaluate.ratings import number_in

    if not rows:
        return {}
    parts = read_table(at.answers, ANSWERS).partition_by(NAMES, as_dict=True)
    found = {}
    for labels, row in rows.items():
        metrics, values, pairs = metrics_of(row), {}, parts.get(labels)
        if pairs is None or len(pairs) != row["users"] or len(pairs.drop_nulls()) < len(pairs):
            raise ArtifactError(f"{at.answers}: {NOT_ITS_OWN}")
        if "rmse" in metrics:
            told, known = (np.array([number_in(text) for text in pairs[name]]) for name in ("answer", "reference"))
            error = np.abs(told - known)
            # A text that has no number, or one beyond the ratings of training, counted as another one.
            alike = np.isclose(np.mean(error), metrics["mae"], rtol=1e-9)
            values = {"rmse": error**2, "mae": error} if alike else {}
        units = content_checksum([], [pairs.select("task", "user", "item", "reference")])
        found[labels] = Scored.one(metrics, units, values)
    return found


def _labels(row: Mapping[str, Any]) -> Labels:
    return row["task"], row["template"], row["model"]


def _check_alike(runs: Sequence[Evaluated]) -> None:
    if not runs:
        raise ArgumentError("folders", "expected at least one evaluated run")
    places = [resolved(run.folder) for run in runs]
    for number, run in enumerate(runs):
        first = runs[0]
        if places[number] in places[:number]:
            raise ArgumentError("folders", f"{run.folder} is given twice")
        for name, value in run.about.items():
            if value != first.about[name]:
                said = f": {first.about[name]} and {value}" if name != "log" else ", which hold other interactions"
                what = {"split": "other held-out parts", "users": "other users"}.get(name, "other logs")
                raise ArgumentError("folders", f"{first.folder} and {run.folder} were scored on {what}{said}")


def _grouped(runs: Sequence[Evaluated]) -> list[list[Evaluated]]:
    """Runs that differ in the seed alone, in the order given; the same seed again begins another group."""
    groups: list[list[Evaluated]] = []
    for run in runs:
        for group in groups:
            alike = group[0].recipe == run.recipe
            if alike and run.config.seed not in [one.config.seed for one in group]:
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def _rows_of(group: Sequence[Evaluated]) -> Group:
    """The rows of a group, each over the runs that have it."""
    import warnings

    from metatoken.evaluate.comparison import Scored

    every = dict.fromkeys(labels for run in group for labels in run.rows)
    found = {labels: Scored.mean([run.rows[labels] for run in group if labels in run.rows]) for labels in every}
    if few := [labels for labels, row in found.items() if row.runs < len(group)]:
        said = f"not every run of {group[0].folder} and its other seeds has the rows {', '.join(map('/'.join, few))}"
        warnings.warn(f"{said}; they are over fewer runs", MetatokenWarning, stacklevel=3)
    return found


def _changed(groups: Sequence[Sequence[Evaluated]]) -> list[dict[str, Any]]:
    """For each group the keys in which not all agree or a run was scored otherwise, and `models` where these differ."""
    plain = [{"models": models, **flat(config)} for config, models in (group[0].recipe for group in groups)]
    keys = dict.fromkeys(key for one in plain for key in one)
    told = {key for group in groups for one in group for key in one.otherwise}
    differ = [key for key in keys if key in told or any(one.get(key) != plain[0].get(key) for one in plain)]
    return [{key: one.get(key) for key in differ} for one in plain]
