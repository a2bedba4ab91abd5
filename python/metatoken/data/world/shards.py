"""A generated shop of any size, written shard by shard: what is in memory is one shard and 12 bytes an item.

Users walk as in `world.world`, with the formula that stands there; two things differ, so that nothing has a row for
each pair. Groups are of about 250 items and are themselves popular to different degrees (Zipf), where a small world has
a few equal ones. A step onto an item that was seen is drawn again, which is the same as setting its probability to
zero; a user whose groups are used up takes any item that is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.artifacts import atomic_folder, write_frame, write_manifest
from metatoken.bounds import check_integer, check_memory
from metatoken.data.ragged import offsets_of
from metatoken.data.world.words import BRAND_LENGTH, BRANDS, THEMES
from metatoken.data.world.world import DAY, DRIFT, JUMP, START, SUCCESSOR_WEIGHTS, ZIPF
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

KIND, SCHEMA = "world", 1
SHARD = 1 << 19  # rows of a shard, about
CHUNK = 4096  # users that walk together
GROUP = 250  # items of a group, about
GROUP_ZIPF = 0.6  # how unequal groups are
SHORTEST = 3  # so that every user can be held out
TASTE = np.array([0.6, 0.3, 0.1])  # weights of a user's favourite groups
SPAN = 730 * DAY
TRIES = 16  # draws of a step before any unseen item is taken
LEAST, MOST = {"items": 8}, {"users": 10**9, "items": 2**31 - 1, "interactions": 10**11}
BYTES_OF_ITEM = 16  # while the rings are drawn; 12 later


@dataclass(frozen=True, eq=False)
class Rings:
    """Groups of items, each a ring; a slot is a place on the ring of some group.

    Attributes:
        bounds: int64 `[n_groups + 1]`; group g owns the slots from `bounds[g]` up to `bounds[g + 1]`.
        item_at: int32 `[n_items]`, the item of each slot.
        ranked: int32 `[n_items]`, the slots of each group from the most popular on, group after group.
    """

    bounds: NDArray[np.int64]
    item_at: NDArray[np.int32]
    ranked: NDArray[np.int32]

    @classmethod
    def of(cls, n_items: int, n_groups: int, rng: np.random.Generator) -> Rings:
        """Shuffled, so that ids in the order of their rows do not give the groups away."""
        bounds = np.arange(n_groups + 1, dtype=np.int64) * n_items // n_groups
        ranked = np.arange(n_items, dtype=np.int32)
        for begin, end in pairwise(bounds):
            rng.shuffle(ranked[begin:end])
        return cls(bounds, rng.permutation(n_items).astype(np.int32), ranked)

    def groups(self, slots: NDArray[np.integer]) -> NDArray[np.int64]:
        """The group of each slot, int64 `[m]`."""
        found: NDArray[np.int64] = np.searchsorted(self.bounds, slots, side="right") - 1
        return found

    def after(self, slots: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots so many steps further on their rings, int64 `[m]`."""
        group = self.groups(slots)
        begin = self.bounds[group]
        found: NDArray[np.int64] = begin + (slots - begin + steps) % (self.bounds[group + 1] - begin)
        return found

    def popular(self, groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A slot of each group by popularity, int64 `[m]`."""
        begin = self.bounds[groups]
        found: NDArray[np.int64] = self.ranked[begin + zipf(self.bounds[groups + 1] - begin, ZIPF, rng)].astype(
            np.int64
        )
        return found


def zipf(sizes: NDArray[np.int64], exponent: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """A rank below each size with weights near (rank + 1)^-exponent, by the inverse of the integral: int64 `[m]`."""
    rest = 1 - exponent
    draw = (1 + rng.random(len(sizes)) * ((sizes + 1.0) ** rest - 1)) ** (1 / rest)
    return np.minimum(draw.astype(np.int64) - 1, sizes - 1)


def write_world(
    folder: str | Path,
    *,
    users: int,
    items: int,
    interactions: int,
    groups: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a world as Parquet: `interactions/*.parquet` and `items/*.parquet`, whole or not at all.

    Columns are `user_id`, `item_id`, `timestamp` (seconds), a shard's rows in the order of time; and `item_id`,
    `title`, `categories` (list[str]), `group` (int32, the truth). Ids have one width: their order is that of the rows.

    Args:
        folder: Place; a world that is there is replaced.
        users: Users, at least one.
        items: Items, at least eight.
        interactions: Rows in all, at least three a user and at most half of the items a user.
        groups: Taste groups, of at least four items each; by default one for each 250 items.
        seed: The same seed gives the same bytes.
        progress: Called with (rows written, rows in all).

    Raises:
        ArgumentError: A size is out of its range.
        ArtifactError: The folder holds something else, or cannot be written.
    """
    groups = max(1, items // GROUP) if groups is None else groups
    _check(users, items, interactions, groups, seed)
    rings = Rings.of(items, groups, np.random.default_rng([seed, 0]))
    sizes = {"users": users, "items": items, "interactions": interactions, "groups": groups}
    with atomic_folder(folder, kind=KIND) as work:
        for name in ("interactions", "items"):
            (work / name).mkdir()
        for shard, begin in enumerate(range(0, items, SHARD)):
            write_frame(work / "items" / _name(shard), _item_table(rings, begin, min(begin + SHARD, items)))
        n, spare = min(-(-interactions // SHARD), users), interactions - SHORTEST * users
        for shard in range(n):
            first, last = users * shard // n, users * (shard + 1) // n
            # By its users, not an equal share: few users have room for half of the items each, and for no more.
            total = SHORTEST * (last - first) + spare * last // users - spare * first // users
            frame = _shard(rings, first, last, total, users, np.random.default_rng([seed, 1, shard]))
            write_frame(work / "interactions" / _name(shard), frame)
            if progress is not None:
                progress(SHORTEST * last + spare * last // users, interactions)
        write_manifest(work, KIND, SCHEMA, sizes=sizes, seed=seed)


def _check(users: int, items: int, interactions: int, groups: int, seed: int) -> None:
    for name, value in {"users": users, "items": items, "interactions": interactions, "groups": groups}.items():
        check_integer(name, value, LEAST.get(name, 1), MOST.get(name, items // 4))
    check_memory("items", BYTES_OF_ITEM * items)
    low, high = SHORTEST * users, items // 2 * users
    if not low <= interactions <= high:
        said = f"expected {low:,} to {high:,} ({SHORTEST} a user to half of the items a user)"
        raise ArgumentError("interactions", f"{said}, got {interactions:,}")
    check_integer("seed", seed, 0)


def _name(shard: int) -> str:
    return f"part-{shard:05d}.parquet"


def _ids(prefix: str, rows: NDArray[np.integer], count: int) -> pl.Series:
    """Ids of equal width, so that their order as text is the order of the rows."""
    return prefix + pl.Series(rows + 1).cast(pl.String).str.zfill(max(4, len(str(count))))


def _item_table(rings: Rings, begin: int, end: int) -> pl.DataFrame:
    """The items from `begin` up to `end`, with a title that tells a little about the group and its neighbours."""
    slots = np.flatnonzero((rings.item_at >= begin) & (rings.item_at < end))
    slots = slots[np.argsort(rings.item_at[slots])]
    group = rings.groups(slots)
    place = slots - rings.bounds[group]
    titles, kinds = [], []
    for g, p in zip(group.tolist(), place.tolist(), strict=True):
        theme = THEMES[g % len(THEMES)]
        noun = theme.nouns[p % len(theme.nouns)]
        brand = BRANDS[(p // BRAND_LENGTH + 5 * g) % len(BRANDS)]
        titles.append(f"{brand} {theme.adjectives[g // len(THEMES) % len(theme.adjectives)]} {noun} {g}-{p}")
        kinds.append([theme.name, noun])
    ids = _ids("p", np.arange(begin, end), len(rings.item_at))
    return pl.DataFrame({"item_id": ids, "title": titles, "categories": kinds, "group": group.astype(np.int32)})


def _shard(rings: Rings, first: int, last: int, total: int, n_users: int, rng: np.random.Generator) -> pl.DataFrame:
    """`total` interactions of the users from `first` up to `last`, in the order of time."""
    lengths = _lengths(last - first, total, len(rings.item_at) // 2, rng)
    parts = [_walk(rings, lengths[at : at + CHUNK], rng) for at in range(0, len(lengths), CHUNK)]
    owners = np.repeat(np.arange(len(lengths)), lengths)
    times = _times(lengths, owners, rng)
    order = np.argsort(times, kind="stable")
    return pl.DataFrame(
        {
            "user_id": _ids("u", first + owners[order], n_users),
            "item_id": _ids("p", np.concatenate(parts)[order], len(rings.item_at)),
            "timestamp": times[order],
        }
    )


def _lengths(n: int, total: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of histories, from the shortest to `most`, skewed (log-normal) and of this sum: int64 `[n]`."""
    lengths = np.full(n, SHORTEST, dtype=np.int64)
    weights = rng.lognormal(sigma=1.0, size=n)
    while (left := total - int(lengths.sum())) > 0:
        open_ = weights * (lengths < most)
        lengths = np.minimum(lengths + rng.multinomial(left, open_ / open_.sum()), most)
    return lengths


def _times(lengths: NDArray[np.int64], owners: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Unix times, distinct and ascending within a user, of a span of the log of each user's own."""
    offsets = offsets_of(lengths)
    begin = rng.integers(0, SPAN // 2, len(lengths))
    span = rng.integers(SPAN // 16, SPAN // 2, len(lengths))
    steps = np.concatenate([[0.0], np.cumsum(0.05 + rng.exponential(size=len(owners)))])
    inside = (steps[1:] - steps[offsets[owners]]) / (steps[offsets[owners + 1]] - steps[offsets[owners]])
    place = np.arange(len(owners)) - offsets[owners]
    return np.asarray(START + begin[owners] + (span[owners] * inside).astype(np.int64) + place)


def _walk(rings: Rings, lengths: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int32]:
    """Histories of some users one after the other, item rows, int32 `[sum of lengths]`."""
    by_length = np.argsort(-lengths, kind="stable")  # who walks on stands before who has arrived
    walking = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(int(lengths.max())), side="right")
    n_groups = len(rings.bounds) - 1
    taste = np.stack([zipf(np.full(len(lengths), n_groups), GROUP_ZIPF, rng) for _ in TASTE], axis=1)
    path = np.full((len(lengths), len(walking)), -1, dtype=np.int32)  # slots
    for step, n in enumerate(walking.tolist()):
        rows, tries = np.arange(n), 0
        while len(rows):
            last = path[rows, step - 1].astype(np.int64) if step else None
            drawn = (
                _step(rings, taste[rows], last, rng)
                if tries < TRIES
                else rng.integers(0, len(rings.item_at), len(rows))
            )
            fresh = ~(path[rows, :step] == drawn[:, None]).any(axis=1)
            path[rows[fresh], step] = drawn[fresh]
            rows, tries = rows[~fresh], tries + 1
    own = np.empty_like(path)
    own[by_length] = path
    return rings.item_at[own[own >= 0]]


def _step(
    rings: Rings, taste: NDArray[np.int64], last: NDArray[np.int64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The next slot of each user by the formula of `world.world`, or the first one without a last: int64 `[m]`."""
    n = len(taste)
    favourite = taste[np.arange(n), np.searchsorted(np.cumsum(TASTE[:-1]), rng.random(n), side="right")]
    if last is None:
        return rings.popular(favourite, rng)
    how = rng.random(n)
    ahead = 1 + np.searchsorted(np.cumsum(SUCCESSOR_WEIGHTS[:-1]), rng.random(n), side="right")
    by_group = rings.popular(np.where(how < DRIFT, favourite, rings.groups(last)), rng)
    return np.where(how < DRIFT + (1 - DRIFT) * JUMP, by_group, rings.after(last, ahead))
