"""What a split in parts comes to: rows, users and items of each part, and which of them no earlier part has.

An item that only a later part has is in the catalogue from the start, as a shop lists what it is about to sell: it has
tokens and may be recommended, but nothing is learned of it but what its features say. As a target it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metatoken.artifacts import atomic_folder, write_frame, write_manifest
from metatoken.data.assembly import validates_last
from metatoken.data.interactions import Interactions
from metatoken.data.parsing import BORDERS
from metatoken.data.parts import PARTS, TRAIN, VALIDATION
from metatoken.data.selection import LATEST_FIFTH
from metatoken.data.settings import LogSettings
from metatoken.data.split import Split, Targets
from metatoken.data.times import as_date

KIND, SCHEMA = "split", 1


def parts_overview(log: Interactions) -> dict[str, dict[str, Any]]:
    """Figures of each part of a log that has some rows: empty for a log without the column `part`.

    Returns:
        By part, in the order of time: `rows`, `users`, `items`; `new_users` and `new_items`, which no earlier part has;
        with times `begins` and `ends`, the first and the last one, in the unit of the log.
    """
    if "part" not in log.frame.columns:
        return {}
    found: dict[str, dict[str, Any]] = {}
    before = {"user": np.zeros(log.n_users, dtype=np.bool_), "item": np.zeros(log.n_items, dtype=np.bool_)}
    for part in PARTS:
        frame = log.frame.filter(pl.col("part") == part)
        if frame.height == 0:
            continue
        about: dict[str, Any] = {"rows": frame.height}
        for side, known in before.items():
            rows = frame[side].unique().to_numpy()
            about[f"{side}s"], about[f"new_{side}s"] = len(rows), int((~known[rows]).sum())
            known[rows] = True
        if "timestamp" in frame.columns:
            about["begins"], about["ends"] = frame["timestamp"].min(), frame["timestamp"].max()
        found[part] = about
    return found


def told(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each part of an overview but the first: when it begins, and what it has that none before has."""
    last = None
    for part, about in parts.items():
        behind = last is not None and "begins" in about and about["begins"] >= last["ends"]
        begins = f", from {as_date(about['begins'])} on" if behind else ""
        news = [f"{about[f'new_{side}']:,} of its {about[side]:,} {side}" for side in ("items", "users")]
        if last is not None:
            yield f"{part}: {about['rows']:,} rows{begins}; {' and '.join(news)} have no earlier row"
        last = about


def cut_of(about: LogSettings) -> dict[str, Any]:
    """What a split by time or by ratio was told, defaults included, by the names of the settings."""
    names = {"time": BORDERS, "ratio": ("validation_share", "test_share")}.get(about.split, ())
    said = {name: value for name in names if (value := getattr(about, name)) is not None}
    return {"test_from": LATEST_FIFTH, **said} if about.split == "time" else said


def of_new_items(split: Split, targets: Targets) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which targets are items that no training row has: bool `[m]`."""
    known = np.zeros(split.log.n_items, dtype=np.bool_)
    known[split.train.frame["item"].to_numpy()] = True
    return ~known[targets.items]


def drawn(split: Split, limit: int | None) -> Split:
    """A split with at most so many targets in each part, drawn once; histories stay whole. None draws nothing."""
    if limit is None or max(len(split.validation), len(split.test)) <= limit:
        return split

    def some(targets: Targets) -> Targets:
        if len(targets) <= limit:
            return targets
        rows = np.sort(np.random.default_rng(0).choice(len(targets), limit, replace=False))
        return replace(targets, users=targets.users[rows], items=targets.items[rows])

    known = split.between or split.validation
    return replace(split, validation=some(split.validation), test=some(split.test), between=known)


def write_parts(log: Interactions, about: LogSettings, out: str | Path) -> dict[str, dict[str, Any]]:
    """Writes a file for each part of a log: `train.parquet`, perhaps `validation.parquet`, and `test.parquet`.

    The files have the columns `user`, `item`, `time` and so on, under these names and with raw ids, and rows in the
    order of the log, so that a part reads as if the others had never been. Without rows that are chosen for validation
    by a boundary or a share, those of before the test are one part. The manifest says what was cut and what is new.

    Args:
        log: A log with the column `part`.
        about: The settings that it was read with.
        out: Folder; one of an earlier split is replaced.

    Returns:
        What `parts_overview` gives of the parts that were written.

    Raises:
        ArtifactError: The folder holds something else, or cannot be written.
    """
    if validates_last(about):
        whole = pl.col("part").replace(VALIDATION, TRAIN)
        log = replace(log, frame=log.frame.with_columns(whole))
    raw = log.frame.select(
        log.users.column(log.frame["user"]).alias("user"),
        log.items.column(log.frame["item"]).alias("item"),
        pl.exclude("user", "item", "order"),
    ).rename({"timestamp": "time"}, strict=False)
    parts = parts_overview(log)
    with atomic_folder(out, kind=KIND) as work:
        for part in parts:
            write_frame(work / f"{part}.parquet", raw.filter(pl.col("part") == part).drop("part"))
        source = {"source": about.uri or str(about.path), "query": about.query, "checksum": log.checksum()}
        said = {"by": about.split, **cut_of(about), "source": source, "left_out": list(log.notes)}
        write_manifest(work, KIND, SCHEMA, **said, parts=parts)
    return parts
