"""Histories in shards: what each of several processes reads of a log, and nothing of what the others read.

part-I.parquet    users of a shard: user row, training items oldest first, held-out validation items
manifest.json     how many users and items there are, which items, and a checksum of each shard

A process checks the manifest and its own shards; it does not open the others, which may lie on other machines.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from metatoken.artifacts import OWN_SUM, atomic_folder, read_as, read_header, write_frame, write_manifest
from metatoken.artifacts.manifest import own_sum
from metatoken.bounds import check_integer
from metatoken.config import expect
from metatoken.data.ragged import Sequences
from metatoken.data.split import Split
from metatoken.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metatoken.data.ids import IdMap

KIND, SCHEMA = "histories", 1


@dataclass(frozen=True, eq=False)
class HistoryShard:
    """Users of a shard.

    Attributes:
        users: int32 `[n]`, user rows of the log, ascending.
        histories: Training items of each, by place in `users`.
        held_out: Validation items of each.
    """

    users: NDArray[np.int32]
    histories: Sequences
    held_out: Sequences


def write_histories(split: Split, folder: str | Path, shards: int, *, seed: int = 0) -> None:
    """Deals the users of a split to shards by chance and writes them; an older folder of this kind is replaced.

    Args:
        split: The log, split; its test part is not written.
        folder: The place.
        shards: How many, at least as many as there will be processes.
        seed: Of the deal.

    Raises:
        ArgumentError: There are fewer users than shards, no shard, or a seed that is none.
        ArtifactError: The folder holds something else, or cannot be written.
    """
    expect("split", split, Split)
    histories, held = split.train.sequences(), split.validation
    check_integer("shards", shards, 1, len(histories))
    check_integer("seed", seed, 0)
    owner = np.random.default_rng(seed).permutation(len(histories)) % shards
    items: list[list[int]] = [[] for _ in range(len(histories))]
    for user, item in zip(held.users.tolist(), held.items.tolist(), strict=True):
        items[user].append(item)
    with atomic_folder(folder, kind=KIND) as work:
        for shard in range(shards):
            users = np.flatnonzero(owner == shard)
            frame = pl.DataFrame(
                {
                    "user": users.astype(np.int32),
                    "train": [row.tolist() for row in histories.take(users)],
                    "validation": [items[user] for user in users.tolist()],
                },
                schema={"user": pl.Int32, "train": pl.List(pl.Int32), "validation": pl.List(pl.Int32)},
            )
            write_frame(work / part_name(shard), frame)
        ids = split.train.items
        write_manifest(work, KIND, SCHEMA, shards=shards, users=len(histories), items=len(ids), item_ids=sum_of(ids))


@dataclass(frozen=True)
class HistoryShards:
    """A folder of shards, of which nothing but the manifest has been read.

    Attributes:
        folder: The place.
        shards: How many there are.
        n_items: Items of the log.
        item_ids: Checksum of their raw ids.
        sums: Checksum of each file by its name.
    """

    folder: Path
    shards: int
    n_items: int
    item_ids: str
    sums: dict[str, str]

    @classmethod
    def load(cls, folder: str | Path) -> HistoryShards:
        """Reads the manifest.

        Raises:
            ArtifactError: It is none of histories, or was altered.
        """
        folder = Path(folder)
        header = read_header(folder)
        if header["kind"] != KIND:
            raise ArtifactError(f"{folder}: is a {header['kind']}, expected {KIND}")
        if header["schema"] > SCHEMA or header.pop(OWN_SUM, None) != own_sum(header):
            raise ArtifactError(f"{folder}: was altered, or written by a newer metatoken; write the histories again")
        with read_as(KIND, folder):
            return cls(folder, int(header["shards"]), int(header["items"]), str(header["item_ids"]), header["files"])

    def read(self, shard: int) -> HistoryShard:
        """Reads a shard, and no other.

        Raises:
            ArgumentError: There is no shard of this number.
            ArtifactError: It is missing or was altered.
        """
        path = self.folder / part_name(check_integer("shard", shard, 0, self.shards - 1))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror}); write the histories again") from error
        if hashlib.sha256(content).hexdigest() != self.sums.get(path.name):
            raise ArtifactError(f"{path}: altered or damaged since it was saved (checksum differs)")
        with read_as(KIND, path):
            frame = pl.read_parquet(io.BytesIO(content))
            found = HistoryShard(frame["user"].to_numpy(), _packed(frame["train"]), _packed(frame["validation"]))
        items = np.concatenate([found.histories.items, found.held_out.items])
        if len(items) and not 0 <= items.min() <= items.max() < self.n_items:
            raise ArtifactError(f"{path}: holds item rows beyond the {self.n_items} items; write the histories again")
        return found


def part_name(shard: int) -> str:
    """The file of a shard."""
    return f"part-{shard:05}.parquet"


def _packed(column: pl.Series) -> Sequences:
    lengths = column.list.len().to_numpy().astype(np.int64)
    items = column.explode(empty_as_null=False).to_numpy().astype(np.int32)
    return Sequences(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), items)


def sum_of(ids: IdMap | Iterable[str]) -> str:
    """Checksum of raw ids in their order."""
    digest = hashlib.sha256()
    for name in getattr(ids, "raw", ids):
        digest.update(name.encode() + b"\n")
    return digest.hexdigest()
