"""A generated shop whose right answers are known, for tests and the demo.

Each item belongs to one taste group and has a place on its group's ring. A user has a taste, a mixture of a few groups,
and walks: from item i in group g the next item is

    P(j | i, user) = (1 - drift) [ (1 - jump) S[i, j] + jump Z_g[j] ] + drift sum_h taste[user, h] Z_h[j]

where S puts fixed weights on the three items after i on the ring, and Z_g is the Zipf popularity within a group. No
item comes twice in a history, so probabilities of seen items are set to zero and the rest is scaled up. Order matters
(S), popularity is skewed (Z), and tastes drift between groups; the first term is what a sequence model can learn and
popularity cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.artifacts import atomic_file
from metatoken.config import MOST, shown
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.data.ragged import Sequences
from metatoken.data.world.words import THEMES, Writer
from metatoken.errors import ArgumentError

SUCCESSOR_WEIGHTS = np.array([0.6, 0.25, 0.15])
JUMP = 0.35
DRIFT = 0.12
ZIPF = 0.9
CHUNK = 1024
START = 1_600_000_000
DAY = 86_400
WRITTEN = ("review", "summary", "explanation")
# Arguments of `generate_world` for the demo: about 32,000 interactions.
DEMO_SIZE = {"n_users": 2000, "n_items": 600, "n_groups": 8, "min_length": 12, "max_length": 20}


@dataclass(frozen=True, eq=False)
class World:
    """A generated log and the truth behind it. Rows here are those of `user_ids` and `item_ids`.

    Attributes:
        frame: One row per interaction, oldest first per user: `user_id`, `item_id`, `timestamp` (seconds), `rating`
            (1 to 5), `review`, `summary`, `explanation`.
        item_frame: `item_id`, `title`, `categories` (list[str]).
        user_ids: Raw user ids, sorted.
        item_ids: Raw item ids, sorted; an item that nobody met is not in the log.
        item_group: int32 `[n_items]`, the taste group of each item.
        successors: int32 `[n_items, 3]`, the items that follow each item on its ring, likeliest first.
        popularity: float64 `[n_items]`, Zipf weights that sum to one within each group.
        taste: float64 `[n_users, n_groups]`, the mixture of each user.
        user_groups: The group of each interaction of each user, in order: the user's drift.
    """

    frame: pl.DataFrame
    item_frame: pl.DataFrame
    user_ids: IdMap
    item_ids: IdMap
    item_group: NDArray[np.int32]
    successors: NDArray[np.int32]
    popularity: NDArray[np.float64]
    taste: NDArray[np.float64]
    user_groups: tuple[NDArray[np.int32], ...]

    def transitions(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float64]:
        """P(next item | last item, user) before seen items are excluded; the formula of the module.

        User rows and the last item of each, int32 `[m]`, give float64 `[m, n_items]`; rows sum to one.
        """
        same = self.item_group[items][:, None] == self.item_group[None, :]
        weight = (1 - DRIFT) * JUMP * same + DRIFT * self.taste[users][:, self.item_group]
        probability = weight * self.popularity
        # Rings of fewer than four items come back to an item: add, do not assign.
        places = np.arange(len(items))[:, None], self.successors[items]
        np.add.at(probability, places, (1 - DRIFT) * (1 - JUMP) * SUCCESSOR_WEIGHTS)
        return np.asarray(probability)

    def interactions(self) -> Interactions:
        """The log with times, ratings, texts and titles."""
        same = {name: name for name in ("rating", *WRITTEN)}
        return Interactions.from_frame(
            self.frame, user="user_id", item="item_id", time="timestamp", items=self.item_frame, **same
        )

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write `interactions.csv` and `items.csv` (categories joined by "|"), whole or not at all; their paths."""
        joined = self.item_frame.with_columns(pl.col("categories").list.join("|"))
        paths = Path(folder) / "interactions.csv", Path(folder) / "items.csv"
        for path, frame in zip(paths, (self.frame, joined), strict=True):
            with atomic_file(path) as work:
                frame.write_csv(work)
        return paths


def generate_world(
    n_users: int = 200,
    n_items: int = 100,
    n_groups: int = 5,
    *,
    min_length: int = 8,
    max_length: int = 18,
    seed: int = 0,
) -> World:
    """Generate a world; `generate_world(**DEMO_SIZE)` is the one of the demo.

    Args:
        n_users: Users, at least one.
        n_items: Items, at least four per group.
        n_groups: Taste groups, at most as many as there are themes.
        min_length: Fewest interactions of a user, at least three.
        max_length: Most interactions of a user, at most half of the items.
        seed: The same seed gives the same bytes.

    Raises:
        ArgumentError: A size is out of its range.
    """
    _check_sizes(n_users, n_items, n_groups, min_length, max_length)
    if seed < 0:
        raise ArgumentError("seed", f"expected at least 0, got {seed}")
    rng = np.random.default_rng(seed)
    # Shuffled, so that neither ids nor titles in the order of their rows give the groups away.
    item_group = rng.permutation(np.arange(n_items) % n_groups).astype(np.int32)
    ring_place, successors, popularity = _rings(item_group, n_groups, rng)
    favourites = rng.permuted(np.tile(np.arange(n_groups), (n_users, 1)), axis=1)[:, :3]
    taste = np.zeros((n_users, n_groups))
    weights = np.array([0.6, 0.3, 0.1])[: favourites.shape[1]]
    taste[np.arange(n_users)[:, None], favourites] = weights / weights.sum()
    users, items = IdMap(_names("u", n_users), "user"), IdMap(_names("p", n_items), "item")
    world = World(pl.DataFrame(), pl.DataFrame(), users, items, item_group, successors, popularity, taste, ())
    histories = _walk(world, rng.integers(min_length, max_length + 1, n_users), rng)
    writer = Writer(item_group, ring_place, rng)
    return replace(
        world,
        frame=_describe(world, histories, writer, rng),
        item_frame=pl.DataFrame({"item_id": items.raw, "title": writer.titles, "categories": writer.categories}),
        user_groups=tuple(item_group[history] for history in histories),
    )


def _rings(
    item_group: NDArray[np.int32], n_groups: int, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Place of each item on its group's ring, the items that follow it, and its popularity within the group."""
    place = np.zeros(len(item_group), dtype=np.int32)
    successors = np.zeros((len(item_group), len(SUCCESSOR_WEIGHTS)), dtype=np.int32)
    popularity = np.zeros(len(item_group))
    for group in range(n_groups):
        ring = rng.permutation(np.flatnonzero(item_group == group))
        place[ring] = np.arange(len(ring))
        for step in range(successors.shape[1]):
            successors[ring, step] = np.roll(ring, -(step + 1))
        zipf = 1.0 / np.arange(1, len(ring) + 1) ** ZIPF
        popularity[ring] = rng.permutation(zipf / zipf.sum())
    return place, successors, popularity


def _check_sizes(n_users: int, n_items: int, n_groups: int, min_length: int, max_length: int) -> None:
    sizes = {"n_users": n_users, "n_items": n_items, "n_groups": n_groups}
    for name, value in (sizes | {"min_length": min_length, "max_length": max_length}).items():
        if isinstance(value, bool) or not isinstance(value, int) or value > MOST:
            raise ArgumentError(name, f"expected an integer of at most {MOST}, got {shown(value)}")
    if n_users < 1:
        raise ArgumentError("n_users", f"expected at least 1, got {n_users}")
    if not 1 <= n_groups <= len(THEMES):
        raise ArgumentError("n_groups", f"expected 1 to {len(THEMES)}, got {n_groups}")
    if n_items < 4 * n_groups:
        raise ArgumentError("n_items", f"expected at least four per group ({4 * n_groups}), got {n_items}")
    if min_length < 3:
        raise ArgumentError("min_length", f"expected at least 3, so that every user can be held out, got {min_length}")
    if not min_length <= max_length <= n_items // 2:
        raise ArgumentError("max_length", f"expected {min_length} to {n_items // 2} (half the items), got {max_length}")


def _names(prefix: str, count: int) -> list[str]:
    """Ids of equal width, so that their order as text is the order of the rows."""
    width = max(4, len(str(count)))
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]


def _walk(world: World, lengths: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int32]]:
    """One history per user, by inverse sampling from `World.transitions` without the seen items."""
    histories: list[NDArray[np.int32]] = []
    for begin in range(0, len(lengths), CHUNK):
        length = lengths[begin : begin + CHUNK]
        users = np.arange(begin, begin + len(length), dtype=np.int32)
        path = np.zeros((len(users), int(length.max())), dtype=np.int32)
        unseen = np.ones((len(users), len(world.item_ids)), dtype=np.bool_)
        for step in range(path.shape[1]):
            if step:
                weight = world.transitions(users, path[:, step - 1]) * unseen
            else:
                weight = world.taste[users][:, world.item_group] * world.popularity
            # Users whose groups are used up may take anything that is left.
            weight += 1e-9 * unseen
            total = np.cumsum(weight, axis=1)
            draw = rng.random(len(users)) * total[:, -1]
            path[:, step] = (total <= draw[:, None]).sum(axis=1)
            unseen[np.arange(len(users)), path[:, step]] = False
        histories += [row[:n].copy() for row, n in zip(path, length, strict=True)]
    return histories


def _describe(
    world: World, histories: list[NDArray[np.int32]], writer: Writer, rng: np.random.Generator
) -> pl.DataFrame:
    """Times, ratings and texts. rating = 3.6 + user bias + item bias + 1.2 (taste for the group - .3) + noise."""
    log = Sequences.of(histories)
    user, item = log.owners, log.items
    first = log.offsets[user]
    # Gaps of an hour to nine days, so that times within a user are distinct.
    elapsed = np.cumsum(rng.integers(3_600, 9 * DAY, len(user)))
    begin = START + rng.integers(0, 300 * DAY, len(histories))
    user_bias = 0.4 * rng.standard_normal(len(histories))
    item_bias = 0.5 * rng.standard_normal(len(world.item_ids))
    liking = 1.2 * (world.taste[user, world.item_group[item]] - 0.3)
    exact = 3.6 + user_bias[user] + item_bias[item] + liking + 0.5 * rng.standard_normal(len(user))
    rating = np.clip(np.rint(exact), 1, 5)
    before = np.where(np.arange(len(user)) == first, -1, np.concatenate(([-1], item[:-1])))
    texts = writer.write(item, before, rating.astype(np.int64), rng)
    return pl.DataFrame(
        {
            "user_id": world.user_ids.column(user),
            "item_id": world.item_ids.column(item),
            "timestamp": begin[user] + elapsed - elapsed[first],
            "rating": rating,
            **texts,
        }
    )
