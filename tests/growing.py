"""Logs that are cut in time, for tests of what is appended."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import yaml

from tests.files import write_run_config

if TYPE_CHECKING:
    from metatoken import Interactions

TIMES = {"time": "timestamp"}


def rows_of(n_users: int = 60, n_items: int = 40, *, later: int = 5, seed: int = 0) -> pl.DataFrame:
    """A log of a generated world by raw ids, in time; every `later`-th item appears in its last half alone."""
    from metatoken.data import generate_world

    log = generate_world(n_users=n_users, n_items=n_items, seed=seed).interactions()
    raw = log.frame.select(
        "timestamp", "rating", user=log.users.column(log.frame["user"]), item=log.items.column(log.frame["item"])
    ).sort("timestamp", "user", "item")
    half = raw["timestamp"][raw.height // 2]
    return raw.filter((pl.col("timestamp") >= half) | ~pl.col("item").is_in([*log.items.raw[::later]]))


def cut(rows: pl.DataFrame, *shares: float) -> list[Any]:
    """Logs of the parts of rows between these shares of them; rows of one time stay together."""
    from metatoken import Interactions

    times = [rows["timestamp"][int(share * rows.height)] for share in shares]
    borders = [-np.inf, *times, np.inf]
    parts = [
        rows.filter((pl.col("timestamp") >= begin) & (pl.col("timestamp") < end)) for begin, end in pairwise(borders)
    ]
    return [Interactions.from_frame(part.select("user", "item", "timestamp"), **TIMES) for part in parts if part.height]


def write_growing(folder: Path, share: float = 0.6, **sections: dict[str, Any]) -> tuple[Path, Path, Path]:
    """A configuration of a tiny run, and beside it the later rows of its log and the table of all items.

    The run's own log is the first share of the rows, without every fifth item.
    """
    config = write_run_config(folder, **sections)
    log = pl.read_csv(folder / "world" / "interactions.csv").sort("timestamp", maintain_order=True)
    begin, items = log["timestamp"][int(share * log.height)], sorted(log["item_id"].unique())[::5]
    log.filter((pl.col("timestamp") < begin) & ~pl.col("item_id").is_in(items)).write_csv(folder / "old.csv")
    log.filter(pl.col("timestamp") >= begin).write_csv(folder / "new.csv")
    values = yaml.safe_load(config.read_text())
    values["data"]["path"] = str(folder / "old.csv")
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    return config, folder / "new.csv", Path(values["data"]["items"])


class Grown(NamedTuple):
    """A run, what came later, the run with it, and the table of all items."""

    parent: Path
    new: Interactions
    run: Path
    items: Path


def make_grown(folder: Path) -> Grown:
    """A tiny run in a folder, trained for a moment and extended."""
    from metatoken.run import train_run
    from metatoken.run.addition import Addition
    from metatoken.run.config import load_config

    config, log, items = write_growing(folder)
    run = train_run(load_config(config), folder / "run", say=quiet)
    new = Addition.of(run.config.data, log, items).read()
    run.extend(new, folder / "grown", say=quiet)
    return Grown(folder / "run", new, folder / "grown", items)


def quiet(_: str) -> None:
    """Says nothing."""
