"""How well a run is extended: new and old items after a cut in time, against retraining from nothing.

    python benchmarks/growth.py split movielens ../shared/data OUT    parts of the log, and a configuration
    python benchmarks/growth.py measure OUT --seed 0                  trains, extends, measures; a line of JSON for each

The first part of the interactions trains the parent (`old`: 80 % of MovieLens; half of the instruments, of whose items
all but two have come after 80 %), the next one extends it (`new`: 10 %; 25 %), and what comes in the rest (`later`) is
to be recommended: for every interaction whose user has a history, the list of ten for that history, all that came
before it. Targets are counted apart: items of `old`, those that came with `new`, and those that
nobody has taken yet, which only the item table knows. Processor time is that of the process that trains or extends.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

CUTS = {"movielens": (0.8, 0.9), "instruments": (0.5, 0.75)}
MOST = 4000  # targets, drawn once
K = 10


def movielens(data: Path) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Ratings, and movies with their genres."""
    folder = data / "movielens_small"
    log = pl.read_csv(folder / "ratings.csv").rename({"userId": "user", "movieId": "item", "timestamp": "time"})
    items = pl.read_csv(folder / "movies.csv").rename({"movieId": "item", "genres": "categories"})
    return log.select("user", "item", "time"), items


def instruments(data: Path) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Reviews; nothing is known about the items."""
    with gzip.open(data / "musical_instruments" / "reviews.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    named = {"user": "reviewerID", "item": "asin", "time": "unixReviewTime"}
    return pl.DataFrame({name: [row[column] for row in rows] for name, column in named.items()}), None


LOGS: dict[str, Callable[[Path], tuple[pl.DataFrame, pl.DataFrame | None]]] = {
    "movielens": movielens,
    "instruments": instruments,
}


def split(name: str, data: Path, out: Path, epochs: int) -> None:
    """Writes the parts of a log and the configuration of the parent."""
    log, items = LOGS[name](data)
    log = log.sort("time", maintain_order=True)
    first, second = (log["time"][int(cut * log.height)] for cut in CUTS[name])
    out.mkdir(parents=True)
    log.filter(pl.col("time") < first).write_csv(out / "old.csv")
    log.filter((pl.col("time") >= first) & (pl.col("time") < second)).write_csv(out / "new.csv")
    log.filter(pl.col("time") < second).write_csv(out / "both.csv")
    log.filter(pl.col("time") >= second).write_csv(out / "later.csv")
    about: dict[str, Any] = {"path": str(out / "old.csv"), "user": "user", "item": "item", "time": "time"}
    if items is not None:
        items.write_csv(out / "items.csv")
        about |= {"items": str(out / "items.csv"), "item_id": "item", "categories": "categories"}
    config = {"data": about, "trainer": {"max_epochs": epochs, "accelerator": "cpu"}, "threads": 1}
    (out / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def timed(*argv: object) -> float:
    """Runs a command of metatoken; its processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "metatoken", *map(str, argv)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Later:
    """What is to be recommended.

    Args:
        out: Folder of the parts.
    """

    def __init__(self, out: Path) -> None:
        known, later = (pl.read_csv(out / name, infer_schema=False) for name in ("both.csv", "later.csv"))
        histories: dict[str, list[str]] = {}
        for user, item in known.select("user", "item").iter_rows():
            histories.setdefault(user, []).append(item)
        asked = []
        for user, item in later.select("user", "item").iter_rows():
            before = histories.setdefault(user, [])
            if before and item not in before:
                asked.append((list(before), item))
            before.append(item)
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.permutation(len(asked))[:MOST])
        self.asked = [asked[place] for place in chosen]
        old, new = (set(pl.read_csv(out / name, infer_schema=False)["item"]) for name in ("old.csv", "new.csv"))
        self.groups = ["old" if item in old else "new" if item in new else "unseen" for _, item in self.asked]

    def measure(self, hits: list[bool]) -> dict[str, float]:
        """HR@10 by group."""
        found: dict[str, float] = {}
        for group in ("old", "new", "unseen"):
            own = [hit for hit, name in zip(hits, self.groups, strict=True) if name == group]
            found[group] = round(float(np.mean(own)), 4) if own else float("nan")
        return found

    def of_run(self, folder: Path, model: str = "fused") -> dict[str, float]:
        """The same for the lists of a run."""
        from metatoken import Recommender
        from metatoken.recommend.requests import Request

        one, hits = Recommender.load(folder), []
        for at in range(0, len(self.asked), 128):
            part = self.asked[at : at + 128]
            answers = one.answer([Request(history=history, k=K, model=model) for history, _ in part])  # type: ignore[arg-type]
            hits += [
                item in {found.item for found in answer.items} for answer, (_, item) in zip(answers, part, strict=True)
            ]
        return self.measure(hits)

    def of_scores(self, scores: Callable[[Any, Any], np.ndarray], items: Any) -> dict[str, float]:
        """The same for a ranker over `items`."""
        from metatoken.data import Sequences
        from metatoken.model.heads.top import top_k

        hits = []
        for at in range(0, len(self.asked), 128):
            part = self.asked[at : at + 128]
            seen = Sequences.of([rows[rows >= 0] for rows in (items.find(history) for history, _ in part)])
            lists, _ = top_k(scores(seen, np.arange(len(part))), seen, K)
            targets = items.find([item for _, item in part])
            hits += ((lists == targets[:, None]) & (targets[:, None] >= 0)).any(axis=1).tolist()
        return self.measure(hits)


def measure(out: Path, seed: int, epochs: int, write: Callable[[dict[str, Any]], None]) -> None:
    """Trains, extends and retrains with one seed."""
    later, table = Later(out), ["--items", out / "items.csv"] if (out / "items.csv").exists() else []
    place = out / f"seed-{seed}"
    place.mkdir(exist_ok=True)
    config, seeded = out / "config.yaml", ["--set", f"seed={seed}"]

    def one(name: str, folder: Path, *argv: object) -> None:
        seconds = 0.0 if folder.exists() else timed(*argv, "-o", folder)
        for model in ("fused", "item_head"):
            write(
                {"way": name, "seed": seed, "list": model, "seconds": round(seconds, 1), **later.of_run(folder, model)}
            )

    one("no extension", place / "parent", "train", config, *seeded)
    one("extended", place / "extended", "extend", place / "parent", out / "new.csv", *table)
    again = ("extend", place / "parent", out / "new.csv", *table, "--epochs", epochs)
    one(f"extended, {epochs} epochs", place / f"extended-{epochs}", *again)
    one("retrained", place / "retrained", "train", config, *seeded, "--set", f"data.path={out / 'both.csv'}")
    counted(later, place / "retrained", seed, write)


def counted(later: Later, run: Path, seed: int, write: Callable[[dict[str, Any]], None]) -> None:
    """Popularity and item neighbours, of old and new rows."""
    from metatoken.baselines import BASELINES
    from metatoken.baselines.settings import BaselineSettings
    from metatoken.data import no_split
    from metatoken.predict.transitions import Popularity
    from metatoken.run import load_run

    whole = load_run(run).split
    log = no_split(whole.log).train
    write({"way": "popularity", "seed": seed, **later.of_scores(Popularity.fit(log).scores, log.items)})
    began = time.process_time()
    knn = BASELINES["item_knn"].fit(whole, BaselineSettings().item_knn, seed=seed)
    write(
        {
            "way": "item-kNN",
            "seed": seed,
            "seconds": time.process_time() - began,
            **later.of_scores(knn.scores, log.items),
        }
    )


def main() -> None:
    """Does what the first argument says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parts = parser.add_subparsers(dest="command", required=True)
    one = parts.add_parser("split")
    one.add_argument("log", choices=[*LOGS])
    one.add_argument("data", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--max-epochs", type=int, default=40)
    two = parts.add_parser("measure")
    two.add_argument("out", type=Path)
    two.add_argument("--seed", type=int, default=0)
    two.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    if asked.command == "split":
        split(asked.log, asked.data, asked.out, asked.max_epochs)
        return

    def write(row: dict[str, Any]) -> None:
        print(json.dumps(row), flush=True)
        with (asked.out / "measured.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    measure(asked.out, asked.seed, asked.epochs, write)


if __name__ == "__main__":
    main()
