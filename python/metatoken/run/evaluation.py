"""What an evaluation leaves in a run: `metrics.json`, tied to the lists and answers that it was computed from.

It has the version of the run, the checksums of `predictions.parquet` and `answers.parquet`, and one of its own. It is
written last, and not named by the manifest of the run, since an evaluation changes nothing of what a run is. Those of
older versions have no checksums; they are read for what they may hold.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from metatoken.artifacts import OWN_SUM, read_json, sha256
from metatoken.artifacts.manifest import own_sum
from metatoken.config import SettingError
from metatoken.errors import ArtifactError
from metatoken.run.config import Config, flat
from metatoken.run.manifest import ALTERED, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from metatoken.run.folder import RunFolder

SCHEMA = 1
RANKED, RATED = ("hr@5", "ndcg@5", "mrr@5", "hr@10", "mrr@10", "ndcg@10"), ("mae", "rmse")  # the last names the kind
AGAIN = "run `metatoken evaluate` again"
NOT_WRITTEN = "is not what `metatoken evaluate` writes; run it again"
NOT_ITS_OWN = f"is not what metrics.json was computed from; {AGAIN}"


def sealed(document: Mapping[str, Any], at: RunFolder, files: Sequence[Path]) -> dict[str, Any]:
    """The content of `metrics.json` with what ties it to a run, and to the files beside it, which are written."""
    tied = {**document, "run": version_of(at), "files": {one.name: sha256(one) for one in files}}
    return {**tied, OWN_SUM: own_sum(tied)}


def read_metrics(at: RunFolder) -> dict[str, Any]:
    """Reads `metrics.json` and checks the files that it was computed from.

    Raises:
        ArtifactError: It is damaged, of another run, or of other files.
    """
    document = read_json(at.metrics)
    if not _is_sound(document):
        raise ArtifactError(f"{at.metrics}: {NOT_WRITTEN}")
    own, run, files = document.pop(OWN_SUM, None), document.get("run"), document.get("files")
    if run is not None and run != version_of(at):  # older versions did not say it
        said = "was computed from another run, or before this one was trained further"
        raise ArtifactError(f"{at.metrics}: {said}; {AGAIN}")
    if own != (None if files is None else own_sum(document)):
        raise ArtifactError(f"{at.metrics}: {ALTERED.partition(';')[0]}; {AGAIN}")
    for one in (at.predictions, at.answers) if files is not None else ():
        found = sha256(one) if one.is_file() else None
        if found != files.get(one.name):
            raise ArtifactError(f"{one}: {NOT_ITS_OWN}")
    return dict(document)


def as_scored(config: Config, settings: Any, at: RunFolder) -> Config:
    """The configuration of a run with what it was scored with instead, the `settings` of `metrics.json`.

    Raises:
        ArtifactError: They are none.
    """
    try:
        return Config.read({**config.plain(), "evaluate": {**config.evaluate.plain(), **settings}})
    except (SettingError, TypeError) as error:
        raise ArtifactError(f"{at.metrics}: {NOT_WRITTEN}") from error


def scored_otherwise(config: Config, scored: Config) -> dict[str, Any]:
    """Full keys, with their values, in which what `as_scored` gives is other than the configuration of the run."""
    own = flat(config)
    return {key: value for key, value in flat(scored).items() if value != own[key]}


def chosen_novelty(folder: Path) -> dict[str, float]:
    """The novelty that the last evaluation of a run chose for each task that writes; none where there was none.

    Raises:
        ArtifactError: As in `read_metrics`.
    """
    from metatoken.run.folder import RunFolder

    at = RunFolder(folder)
    if not at.metrics.is_file():
        return {}
    return {name: float(one["novelty"]) for name, one in read_metrics(at).get("writing", {}).items()}


def choice_before(at: RunFolder) -> dict[str, Any]:
    """What stands under `writing` in `metrics.json`; nothing where it is not there or not of this run."""
    with suppress(ArtifactError):
        return dict(read_metrics(at).get("writing", {})) if at.metrics.is_file() else {}
    return {}


def _is_sound(document: Any) -> bool:
    """Whether a document has all that is read of it, each of its type."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return False
    dataset, rows = document.get("dataset"), document.get("rows")
    counted = isinstance(dataset, dict) and all(type(dataset.get(name)) is int for name in ("users", "items"))
    listed = isinstance(rows, list) and len(rows) > 0 and all(map(_is_row, rows))
    split, files, writing = document.get("split"), document.get("files", {}), document.get("writing", {})
    return isinstance(split, str) and counted and listed and isinstance(files, dict) and _is_writing(writing)


def _is_writing(writing: Any) -> bool:
    """Whether each task has a novelty that texts can be written with."""
    chosen = writing.values() if isinstance(writing, dict) else [None]
    values: list[Any] = [one.get("novelty") if isinstance(one, dict) else None for one in chosen]
    return all(type(value) in (int, float) and 0 <= value <= 1 for value in values)


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or type(row.get("users")) is not int:
        return False
    labels = [row.get(name) for name in ("task", "template", "model")]
    named = all(isinstance(name, str) and name.isprintable() for name in (*labels, *row))
    kind = next((names for names in (RANKED, RATED) if names[-1] in row), ())
    finite = all(map(math.isfinite, metrics_of(row).values()))
    return named and finite and all(isinstance(row.get(name), float) for name in kind)


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row, by name."""
    return {name: value for name, value in row.items() if isinstance(value, float)}
