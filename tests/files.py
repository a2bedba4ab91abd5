"""Files as users bring them, written for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
