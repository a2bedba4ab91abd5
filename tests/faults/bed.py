"""What is attacked: a folder with one of everything that metatoken writes, and the commands that write it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.files import write_run_config

if TYPE_CHECKING:
    from tests.faults.zygote import Zygote

WASTE = (".metatoken-*", ".*.training", ".*.job")
COLUMNS = ("--user", "user_id", "--item", "item_id", "--time", "timestamp")
SMALL = ("--dim", 8, "--levels", "8,16", "--walks-per-node", 2, "--walk-length", 8)
TINY: dict[str, Any] = {
    "tokens": {"levels": [8, 16], "dim": 8, "walks_per_node": 2, "walk_length": 8},
    "model": {"preset": {"dim": 8, "layers": 1, "heads": 1, "dropout": 0.0, "positions": 80}, "max_history": 6},
}


@dataclass(frozen=True)
class Command:
    """A command under attack.

    Attributes:
        argv: It, in a folder `base` with a configuration, a world, runs, a vocabulary, an export.
        makes: What it writes, below the folder.
        again: What mends it after a kill, by default itself.
        keeps: A folder that it reads and must leave as it is.
    """

    argv: tuple[object, ...]
    makes: str
    again: tuple[object, ...] = ()
    keeps: str = ""


def anew(*argv: object, keeps: str = "") -> Command:
    """A command whose last argument is a new place; killed when that was whole, it asks for `--overwrite`."""
    return Command(argv, Path(str(argv[-1])).name, (*argv, "--overwrite"), keeps)


def commands(base: Path) -> dict[str, Command]:
    """The commands that write, in a folder."""
    config, run, log, items = base / "config.yaml", base / "run", base / "world" / "interactions.csv", items_of(base)
    train, tokenize = ("train", config, "-o"), ("tokenize", log, *COLUMNS, *SMALL, "-o")
    two = ("--set", "trainer.max_epochs=2")
    demo = ("quickstart", "--users", 50, "--items", 36, "--epochs", 1, "-o", base / "demo")
    vectors = ("text-vectors", items, "--backbone", base / "exported", "--components", 4, "--layer", 1)
    extend = ("extend", run, base / "later.csv", "-o")
    look = ("inspect", log, *COLUMNS, "--write", base / "written.yaml")
    seeds = ("train", config, "--seeds", "1", "-o", base / "several")
    shop = ("generate", "--users", 50, "--items", 40, "--interactions", 1000, "-o", base / "shop")
    split, rebuild = ("split", log, *COLUMNS, "--by", "ratio", "-o"), ("rebuild", run, "--epochs", 1, "-o")
    lists = ("recommend", run, "--users", base / "users.txt")
    assign = ("assign", base / "vectors.npy", "--codebook", run, "--shard-rows", 20, "-o")
    table = (*lists, "--to-uri", f"sqlite:///{base / 'lists.db'}", "--table", "lists")
    return {
        "train": Command((*train, base / "new"), "new", (*train, base / "new", "--overwrite")),
        "train --overwrite": Command((*train, run, "--overwrite"), "run", (*train, run, "--overwrite")),
        "train --overwrite, then --resume": Command((*train, run, "--overwrite"), "run", (*train, run, "--resume")),
        "train --resume": Command((*train, run, "--resume", *two), "run", (*train, run, "--resume", *two)),
        "train --seeds": Command(seeds, "several/seed-1", (*seeds, "--overwrite")),
        "tokenize": anew(*tokenize, base / "fresh"),
        "assign": anew(*assign, base / "codes"),
        "tokenize --overwrite": Command((*tokenize, base / "vocabulary", "--overwrite"), "vocabulary"),
        "export": Command(("export", run, base / "exported", "--overwrite"), "exported"),
        "extend": anew(*extend, base / "grown", keeps="run"),
        "extend --epochs": Command(
            (*extend, base / "other", "--epochs", 1, "--overwrite"), "other", keeps="run"
        ),
        "evaluate": Command(("evaluate", run, "--no-unseen"), "run"),
        "evaluate --export": Command(("evaluate", run, "--no-unseen", "--export", base / "plain"), "plain"),
        "compare --json": Command(("compare", run, base / "other", "--json", base / "table.json"), "table.json"),
        "baseline": Command(("baseline", run, "item_knn"), "run"),
        "recommend": Command((*lists, "-o", base / "out.csv"), "out.csv"),
        "recommend --shard-users": Command((*lists, "--shard-users", 25, "-o", base / "lists"), "lists"),
        "recommend --to-uri": Command(table, "lists.db"),
        "split": anew(*split, base / "cut"),
        "split --overwrite": Command((*split, base / "parts", "--overwrite"), "parts"),
        "rebuild": anew(*rebuild, base / "rebuilt", keeps="run"),
        "rebuild --overwrite": Command((*rebuild, base / "other", "--overwrite"), "other", keeps="run"),
        "ensemble": anew("ensemble", run, base / "other", "-o", base / "joined", keeps="run"),
        "inspect --write": Command(look, "written.yaml", (*look, "--overwrite")),
        "text-vectors": Command((*vectors, "-o", base / "text"), "text"),
        "generate": Command(shop, "shop", (*shop, "--overwrite")),
        "quickstart": Command(demo, "demo/run", (*demo, "--overwrite")),
    }  # fmt: skip


def items_of(base: Path) -> Path:
    """The table of items of the world."""
    return next((base / "world").glob("items.*"))


def make_base(zygote: Zygote, folder: Path) -> Path:
    """A folder with everything that the commands need; `other` is a run of another seed."""
    base = folder / "base"
    base.mkdir()
    write_world(base)
    config, evaluate = base / "config.yaml", ("evaluate", "--no-unseen")
    made: list[tuple[object, ...]] = [("train", config, "-o", base / "run")]
    made += [("train", config, "-o", base / "other", "--set", "seed=1")]
    made += [("tokenize", base / "world" / "interactions.csv", *COLUMNS, *SMALL, "-o", base / "vocabulary")]
    made += [("export", base / "run", base / "exported"), (*evaluate, base / "other")]
    made += [(*evaluate, base / "run", "--export", base / "plain")]
    made += [commands(base)[name].argv for name in ("split --overwrite", "recommend --to-uri")]
    for argv in made:
        done = zygote.run(*argv)
        assert done.code == 0, done
    return base


def write_world(base: Path) -> None:
    """A log, a configuration, a list of users, vectors."""
    np.save(base / "vectors.npy", np.random.default_rng(0).normal(size=(50, TINY["tokens"]["dim"])).astype("f4"))
    config = write_run_config(base, n_users=60, n_items=40, **TINY)
    lines = (base / "world" / "interactions.csv").read_text().splitlines()[1:]
    header = (base / "world" / "interactions.csv").read_text().splitlines()[0].split(",")
    newest = max(line.split(",")[header.index("timestamp")] for line in lines)
    write_later(base / "later.csv", header, newest)
    (base / "users.txt").write_text("\n".join(sorted({line.split(",")[0] for line in lines})) + "\n")
    assert config.exists()


def write_later(path: Path, header: list[str], newest: str) -> None:
    """A log that comes later: known users take new items, new users known ones."""
    rows = [("u0001", "later1"), ("u0002", "later1"), ("later", "p0001"), ("later", "p0002"), ("later", "later2")]
    values = [{"user_id": user, "item_id": item, "timestamp": newest} for user, item in rows]
    lines = [",".join(one.get(name, "") for name in header) for one in values]
    path.write_text("\n".join([",".join(header), *lines]) + "\n")


def copied(base: Path, folder: Path) -> Path:
    """A copy of the base, whose configuration names the copied log."""
    place = folder / f"copy-{random.getrandbits(48):012x}"
    shutil.copytree(base, place, symlinks=True)
    config = place / "config.yaml"
    config.write_text(config.read_text().replace(str(base), str(place)))
    return place


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def is_whole(path: Path) -> str | None:
    """What is wrong with what stands at a path; None where it is whole, absent, or a run that says it is unfinished."""
    from metatoken.artifacts import read_manifest
    from metatoken.artifacts.manifest import MANIFEST, read_header
    from metatoken.errors import MetatokenError
    from metatoken.run import RunFolder
    from metatoken.run.manifest import check_bytes, is_begun

    try:
        if (path / "config.yaml").exists():
            return None if is_begun(RunFolder(path)) else (check_bytes(RunFolder(path)) and None)
        if (path / MANIFEST).exists():
            header = read_header(path)
            read_manifest(path, header["kind"], header["schema"])
        elif path.is_dir() and not (path / "truth.tsv").exists():
            return f"{path.name} is half-written"
        elif path.suffix == ".db":
            return wrong_rows(path)
        elif path.is_file() and not path.read_text().endswith("\n"):
            return f"{path.name} is cut"
    except MetatokenError as error:
        return str(error)
    return None


def wrong_rows(path: Path) -> str | None:
    """What is wrong with the table of lists in a database, which each user is in with ten items."""
    with closing(sqlite3.connect(path)) as base:
        found = base.execute("SELECT count(*), count(DISTINCT user) FROM lists").fetchone()
    return None if found == (600, 60) else f"{path.name} holds {found} rows and users"


def waste(place: Path) -> list[str]:
    """Temporary folders that are left."""
    return [str(one) for pattern in WASTE for one in place.rglob(pattern)]
