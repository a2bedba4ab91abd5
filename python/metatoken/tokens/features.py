"""Vectors about items from outside the log (words of a title, an image), by raw item id, as a folder on disk.

features/  manifest.json (checksums, where the vectors come from)
           items.parquet      `item` (string id), `title` (string, "" where unknown)
           vectors.safetensors `vectors` float32 `[n, c]`, one row per item of items.parquet; zeros: unknown
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken import artifacts
from metatoken.config import expect_list
from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError, ArtifactError, UnknownIdError
from metatoken.tokens.vectors.matrix import check_scale, read_matrix

KIND, SCHEMA = "item_features", 1


def checked_features(features: Any, n_items: int) -> NDArray[np.float32]:
    """Features of all items as float32 `[n_items, f]`.

    Args:
        features: Rows of numbers, in any of the forms of `read_matrix`; zeros where nothing is known of an item.
        n_items: How many rows there must be.

    Raises:
        ArgumentError: They are something else, not finite, or so large or small that float32 cannot hold a length.
    """
    try:
        rows = read_matrix(features).whole()
    except ArgumentError as error:
        raise ArgumentError("features", str(error).removeprefix("x: ")) from error
    if len(rows) != n_items:
        raise ArgumentError("features", f"expected a row for each of {n_items} items, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ArgumentError("features", "expected finite numbers only; zeros say that nothing is known of an item")
    check_scale("features", rows)
    return rows


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """One vector per item.

    Attributes:
        ids: Raw item ids, each once.
        vectors: float32 `[n, c]`, finite; a row of zeros says that nothing is known of the item.
        titles: Title of each item; "" where unknown.
        source: Where the vectors come from, anything that JSON can hold.

    Raises:
        ArgumentError: Lengths differ, an id appears twice, or a vector is not finite.
    """

    ids: list[str]
    vectors: NDArray[np.float32]
    titles: list[str] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expect_list("ids", self.ids, "ids of items")
        expect_list("titles", self.titles, "texts")
        vectors = np.asarray(self.vectors, dtype=np.float32)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "titles", list(self.titles) or [""] * len(self.ids))
        if vectors.ndim != 2 or len(vectors) != len(self.ids) or len(self.titles) != len(self.ids):
            expected = f"expected one row and one title for each of {len(self.ids)} ids"
            raise ArgumentError("vectors", f"{expected}, got shape {vectors.shape} and {len(self.titles)} titles")
        if len(set(self.ids)) != len(self.ids):
            raise ArgumentError("ids", "expected each id once")
        if not np.isfinite(vectors).all():
            raise ArgumentError("vectors", "expected finite numbers only")

    def save(self, folder: str | Path) -> None:
        """Writes the folder, whole or not at all; older features there are replaced."""
        with artifacts.atomic_folder(folder, kind=KIND) as work:
            self.write(work)

    def write(self, folder: Path) -> None:
        """Writes the files into an existing empty folder."""
        schema = {"item": pl.String, "title": pl.String}
        artifacts.write_frame(
            folder / "items.parquet", pl.DataFrame({"item": self.ids, "title": self.titles}, schema=schema)
        )
        artifacts.write_tensors(folder / "vectors.safetensors", {"vectors": self.vectors})
        artifacts.write_manifest(folder, KIND, SCHEMA, source=self.source, shape=list(self.vectors.shape))

    @classmethod
    def load(cls, folder: str | Path) -> ItemFeatures:
        """Reads the folder; `ArtifactError` if a file is missing or altered."""
        folder = Path(folder)
        source = artifacts.read_manifest(folder, KIND, SCHEMA)["source"]
        frame = artifacts.read_frame(folder / "items.parquet", {"item": pl.String, "title": pl.String})
        tensors, _ = artifacts.read_tensors(folder / "vectors.safetensors", ["vectors"])
        return cls(frame["item"].to_list(), tensors["vectors"], frame["title"].to_list(), source)

    def rows(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of raw ids in their order, float32 `[len(items), c]`; zeros for an item that is not here.

        Raises:
            ArtifactError: No item is here, so these are the features of another catalogue.
        """
        known = IdMap(self.ids, "item").find(items)
        if len(items) and (known < 0).all():
            raise ArtifactError(
                f"the features know none of {len(items)} items (first: {items[0]!r}, features: "
                f"{self.ids[0] if self.ids else 'none'!r}); they belong to another catalogue"
            )
        result = np.zeros((len(items), self.vectors.shape[1]), dtype=np.float32)
        result[known >= 0] = self.vectors[known[known >= 0]]
        return result

    def nearest(self, item: str, k: int = 5) -> list[tuple[str, str, float]]:
        """The k items of highest cosine: `(id, title, cosine)`, best first; items without a vector are left out.

        Raises:
            UnknownIdError: The item is not here.
            ArgumentError: It has no vector, or k is below 1.
        """
        if item not in self.ids:
            raise UnknownIdError(f"no features of item {item!r}")
        if k < 1:
            raise ArgumentError("k", f"expected at least 1, got {k}")
        lengths = np.linalg.norm(self.vectors, axis=1)
        own = self.ids.index(item)
        if lengths[own] == 0:
            raise ArgumentError("item", f"{item!r} has no vector, since nothing is known of it")
        cosines = self.vectors @ self.vectors[own] / np.maximum(lengths * lengths[own], 1e-30)
        cosines[(lengths == 0) | (np.arange(len(self.ids)) == own)] = -np.inf
        order = np.argsort(-cosines, kind="stable")[:k]
        return [(self.ids[row], self.titles[row], float(cosines[row])) for row in order if np.isfinite(cosines[row])]


def texts_checksum(ids: Sequence[str], texts: Sequence[str]) -> str:
    """Checksum of ids and their texts, in order."""
    digest = hashlib.sha256()
    for part in (*ids, *texts):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
