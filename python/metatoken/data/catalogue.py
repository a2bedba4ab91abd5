"""What a run knows about its items: titles and every other column of the item table, searched and filtered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.artifacts import atomic_folder, read_frame, read_manifest, write_frame, write_manifest
from metatoken.data.conditions import Node, parse_condition
from metatoken.data.expressions import KINDS, expression
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.errors import ArtifactError

KIND, SCHEMA, FILE = "items", 1, "items.parquet"
REMEMBERED = 32  # masks of the latest filters, one byte per item each


class Catalogue:
    """The items of a run in the order of their rows.

    Columns of the frame are of the types in `KINDS`; the name `item` is taken by the raw id.
    """

    def __init__(self, items: IdMap, frame: pl.DataFrame) -> None:
        self.items = items
        ids = pl.Series("item", items.raw, dtype=pl.String)
        self.frame = frame.select(ids, pl.exclude("item")) if frame.width else ids.to_frame()
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()

    @classmethod
    def of(cls, log: Interactions, titles: Sequence[str] | None = None) -> Catalogue:
        """What the item table of a log says; `titles` where it has none."""
        rows = pl.DataFrame({"item": np.arange(log.n_items, dtype=np.int32)})
        if log.item_table is not None:
            rows = rows.join(log.item_table, on="item", how="left", maintain_order="left")
        if titles is not None and "title" not in rows.columns:
            rows = rows.with_columns(title=pl.Series(titles, dtype=pl.String))
        return cls(log.items, rows.drop("item"))

    def save(self, folder: str | Path) -> None:
        """Writes a folder with a manifest and checksums, in place of an older catalogue only."""
        with atomic_folder(folder, kind=KIND) as work:
            write_frame(work / FILE, self.frame)
            write_manifest(work, KIND, SCHEMA, items=len(self.items))

    @classmethod
    def load(cls, folder: str | Path, items: IdMap) -> Catalogue:
        """Reads what `save` wrote about the items of a vocabulary.

        Raises:
            ArtifactError: A part is missing or altered, or it is about other items.
        """
        read_manifest(folder, KIND, SCHEMA)
        frame = read_frame(Path(folder) / FILE, {"item": pl.String})
        if frame["item"].to_list() != list(items.raw):
            raise ArtifactError(f"{folder}: is about other items than the vocabulary of the run")
        return cls(items, frame.drop("item"))

    def table(self) -> pl.DataFrame:
        """The same as `Interactions.item_table` holds it."""
        rows = pl.Series("item", np.arange(len(self.items), dtype=np.int32))
        return self.frame.with_columns(item=rows)

    @property
    def columns(self) -> dict[str, str]:
        """Columns that a filter may name, and what they hold."""
        return {name: KINDS[dtype] for name, dtype in self.frame.schema.items() if dtype in KINDS}

    @cached_property
    def titles(self) -> list[str]:
        """Title of each item row, "" where unknown."""
        known = "title" in self.frame.columns
        return self.frame["title"].fill_null("").to_list() if known else [""] * len(self.items)

    def parse(self, where: str) -> Node:
        """Parses a filter and checks it against the columns.

        Raises:
            ConditionError: It is not of the grammar, names an unknown column, or compares what cannot be compared.
        """
        node = parse_condition(where)
        expression(node, self.columns)
        return node

    def mask(self, where: str) -> NDArray[np.bool_]:
        """Which items a filter lets pass, bool `[n_items]`, not to be written to; errors as in `parse`."""
        known = self._masks.pop(where, None)
        if known is None:
            passes = expression(parse_condition(where), self.columns)
            known = self.frame.select(passes.alias("pass"))["pass"].to_numpy()
            known.flags.writeable = False
        self._masks[where] = known
        while len(self._masks) > REMEMBERED:
            self._masks.popitem(last=False)
        return known

    def search(self, text: str, limit: int = 20) -> NDArray[np.int64]:
        """Item rows by title or id: those that begin with the text, then those with a word that does, then the rest.

        All words of the text must be there, upper and lower case alike.
        """
        words = text.lower().split()
        if not words or limit < 1:
            return np.arange(0 if limit < 1 else min(limit, len(self.items)))
        texts = self._searched
        rows = texts.with_row_index("row").filter(
            pl.all_horizontal(pl.col("both").str.contains(word, literal=True) for word in words)
        )
        whole = " ".join(words)
        title, padded = pl.col("title"), pl.lit(" ") + pl.col("title")
        rank = (
            pl.when((title == whole) | (pl.col("item") == whole)).then(0)
            .when(title.str.starts_with(whole) | pl.col("item").str.starts_with(whole)).then(1)
            .when(padded.str.contains(f" {whole}", literal=True)).then(2)
            .otherwise(3)
        )  # fmt: skip
        return rows.sort(rank, title.str.len_bytes(), "row")["row"].head(limit).to_numpy().astype(np.int64)

    @cached_property
    def _searched(self) -> pl.DataFrame:
        item, title = self.frame["item"].str.to_lowercase(), pl.Series("title", self.titles, dtype=pl.String)
        title = title.str.to_lowercase()
        return pl.DataFrame({"item": item, "title": title, "both": item + "\n" + title})
