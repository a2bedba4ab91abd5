"""Files as users bring them, written for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]


def write_ratings(path: Path, n_users: int = 60, n_items: int = 40, per_user: int = 12, seed: int = 0) -> Path:
    """A CSV `userId,movieId,rating,timestamp` of two taste groups: even users like the first half of the items."""
    rng = np.random.default_rng(seed)
    half = n_items // 2
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(n_users):
        items = rng.permutation(half)[:per_user] + half * (user % 2)
        times = 1_260_000_000 + 86_400 * user + 600 * np.arange(len(items))
        ratings = rng.integers(1, 11, len(items)) / 2
        lines += [
            f"{user + 1},{item + 1},{rating},{time}" for item, rating, time in zip(items, ratings, times, strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_movies(path: Path, n_items: int = 40) -> Path:
    """The item table that fits `write_ratings`: `movieId,title,genres`, genres separated by `|`."""
    half = n_items // 2
    rows = [f"{item + 1},Film {item + 1},{'Drama' if item < half else 'Action|Comedy'}" for item in range(n_items)]
    path.write_text("\n".join(["movieId,title,genres", *rows]) + "\n")
    return path


def write_run_config(folder: Path, n_users: int = 80, n_items: int = 60, **sections: dict[str, Any]) -> Path:
    """A generated world in `folder` and beside it `config.yaml` of a tiny run on it.

    Args:
        folder: Where to write.
        n_users: Users of the world.
        n_items: Items of the world.
        **sections: Keys that are added to the sections of the configuration.
    """
    from metatoken.data import generate_world

    log, items = generate_world(n_users=n_users, n_items=n_items, seed=0).write(folder / "world")
    config: dict[str, Any] = {
        "data": {
            "path": str(log), "user": "user_id", "item": "item_id", "time": "timestamp",
            "items": str(items), "title": "title", "categories": "categories",
        },
        "tokens": {"levels": [8, 16], "dim": 16, "walks_per_node": 2, "walk_length": 10},
        "model": {
            "preset": {"dim": 16, "layers": 1, "heads": 2, "dropout": 0.1, "positions": 160},
            "max_history": 20, "learning_rate": 5e-3, "warmup_steps": 2,
        },
        "trainer": {"max_epochs": 1, "batch_size": 32, "accelerator": "cpu"},
        "seed": 0,
        "threads": 1,
    }  # fmt: skip
    for name, values in sections.items():
        config.setdefault(name, {}).update(values)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def reseal(run: Path) -> None:
    """Takes what stands in a finished run for what belongs there, after a test has changed it."""
    from metatoken.run import RunFolder
    from metatoken.run.manifest import seal

    seal(RunFolder(run), "finished", None)


def forget_history(run: Path) -> None:
    """Makes the configuration of a run one of before `model.history` was a setting."""
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config["model"]["history"]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    (run / "manifest.json").unlink(missing_ok=True)  # which came later


def flip_byte(path: Path) -> None:
    """Alters one bit, as a bad disk would: in the middle of a file, or of the largest part of an archive.

    Between the parts of a checkpoint lies padding, which says nothing and which no checksum holds; where it lies
    depends on the length of the paths that are saved.
    """
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            part = max(parts.infolist(), key=lambda one: one.compress_size)
        header = content[part.header_offset : part.header_offset + 30]
        # What follows the header: the name and what is extra, of the lengths that its last four bytes tell.
        name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        place = part.header_offset + len(header) + name + extra + part.compress_size // 2
    content[place] ^= 1
    path.write_bytes(content)
