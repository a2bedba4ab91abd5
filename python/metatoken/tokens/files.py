"""What a person names on a command line or in YAML: attributes, links, features, and vectors of their own in files.

A file that cannot be read, or has none of the ids, is a `DataError`; a text of another form, or that names something
twice or in vain, an `ArgumentError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.data import columns as data
from metatoken.data.ids import IdMap, warn_of_missing
from metatoken.data.items import item_columns, read_item_table
from metatoken.data.links import LinkKind, Links
from metatoken.data.readers import read_table
from metatoken.data.settings import LogSettings
from metatoken.errors import ArgumentError, DataError
from metatoken.tokens.features import ItemFeatures
from metatoken.tokens.graph.walks import column_links
from metatoken.tokens.settings import TokenSettings
from metatoken.tokens.vectors.matrix import Matrix, open_parquet, read_matrix

if TYPE_CHECKING:
    from metatoken.data import Interactions


def attribute_links(settings: TokenSettings, log: Interactions, about: LogSettings) -> dict[str, Links]:
    """The attributes that settings name, from columns of the item table that `about` says."""
    names = settings.attributes
    if not names:
        return {}
    if about.items is None:
        raise ArgumentError("attributes", "are columns of an item table; name its file with items")
    named = item_columns(about.item, about.item_id, None, None)
    raw = read_table(about.items, [*named.item_id, *names.values()], about.items_dialect)
    key = named.key(raw.frame)
    return {name: Links.of_table(raw, log.items, "item", key, column) for name, column in names.items()}


def graph_links(
    settings: TokenSettings, train: Interactions, attributes: Mapping[str, str | Links] | None = None
) -> dict[str, Links]:
    """All links of a graph by node type: attributes, then those of `item_links` and `user_links` from their files.

    Attributes are columns of the log's own item table, or links; by default those of the settings.
    """
    found = {
        name: source if isinstance(source, Links) else column_links(train, name, source)
        for name, source in (settings.attributes if attributes is None else attributes).items()
    }
    kinds: tuple[LinkKind, LinkKind] = ("item", "user")
    for kind in kinds:
        ids, files = (train.items, settings.item_links) if kind == "item" else (train.users, settings.user_links)
        for name, spec in files.items():
            if name in found:
                raise ArgumentError(f"{kind}_links", f"the node type {name!r} is named twice")
            found[name] = _links(f"{kind}_links", spec, ids, kind)
    paths = ("".join(word for word in path.split() if "=" not in word) for path in settings.meta_paths)
    walked = {name for path in paths for name in re.split(r"[-<>]", path)}
    for name, links in found.items() if settings.cold != "neighbours" else ():
        if name not in walked:
            said = (
                f"no meta-path walks {name!r}, so it changes nothing; add one such as {links.kind}-{name}-{links.kind}"
            )
            raise ArgumentError("meta_paths", f"{said} (--meta-path), or cold: neighbours")
    return found


def read_features(spec: str, ids: IdMap) -> NDArray[np.float32]:
    """Features of each id, float32 `[len(ids), f]`; NaN where the file has none.

    The file is a folder of `metatoken text-vectors`, `FILE.parquet[:IDCOLUMN:COLUMN]` (by default its first column and
    the other) or `FILE.npy:IDS.txt`.
    """
    path, *rest = _split(spec)
    if os.path.isdir(spec):  # noqa: PTH112 (not if its name is too long)
        known = ItemFeatures.load(spec)
        # A row of zeros says that nothing is known.
        vectors = np.where(known.vectors.any(axis=1, keepdims=True), known.vectors, np.float32(np.nan))
        return _placed(vectors, known.ids, ids, Path(spec))
    if path.endswith(".npy"):
        if len(rest) != 1:
            raise ArgumentError("item_features", f"expected FILE.npy:IDS.txt, with one id per line, got {spec!r}")
        column, names = None, read_ids(Path(rest[0]))
    else:
        file, id_column, column = _parts("item_features", spec)
        if file.suffix != ".parquet":
            expected = "a folder, a .parquet file or FILE.npy:IDS.txt"
            raise ArgumentError("item_features", f"expected {expected}, got {spec!r}")
        raw = read_table(file, None)
        id_column = id_column or raw.frame.columns[0]
        column = column or next((name for name in raw.frame.columns if name != id_column), id_column)
        names = data.ids(raw, id_column, "item").to_list()
    return _placed(read_matrix(Path(path), column).whole(), names, ids, Path(path))


def _placed(rows: NDArray[np.float32], names: list[str], ids: IdMap, path: Path) -> NDArray[np.float32]:
    """Rows of named features in the order of ids; NaN for ids that have none."""
    if len(rows) != len(names):
        raise DataError(f"has {len(rows)} rows, but there are {len(names)} ids", path)
    place = ids.find(names)
    if not (place >= 0).any():
        raise DataError(f"none of its ids is an item of the log (first: {names[0]!r}, log: {ids.raw[0]!r})", path)
    warn_of_missing(ids, names, place, path)
    features = np.full((len(ids), rows.shape[1]), np.nan, np.float32)
    features[place[place >= 0]] = rows[place >= 0]
    return features


def _split(spec: str) -> list[str]:
    """Path and names of `PATH:NAME:NAME`; the path may begin with the letter of a drive, or be a file with colons."""
    if os.path.isfile(spec):  # noqa: PTH113 (not if its name is too long)
        return [spec]
    drive = re.match(r"[A-Za-z]:(?=[\\/])", spec)
    path, *names = spec[drive.end() :].split(":") if drive else spec.split(":")
    return [f"{drive[0]}{path}" if drive else path, *names]


def _parts(argument: str, spec: str) -> tuple[Path, str | None, str | None]:
    path, *names = _split(spec)
    if len(names) not in (0, 2) or not path or not all(names):
        raise ArgumentError(argument, f"expected FILE or FILE:IDCOLUMN:COLUMN, got {spec!r}")
    return Path(path), *(names or (None, None))


def read_groups(spec: str, ids: IdMap, kind: LinkKind) -> Links:
    """Groups of ids from `FILE` or `FILE:IDCOLUMN:COLUMN`; see `Links.read`."""
    return _links("groups", spec, ids, kind)


def _links(argument: str, spec: str, ids: IdMap, kind: LinkKind) -> Links:
    path, id_column, column = _parts(argument, spec)
    return Links.read(path, ids, kind=kind, id_column=id_column, column=column)


@dataclass(frozen=True)
class VectorFiles:
    """Vectors of items that a person brings, with their ids and titles.

    Attributes:
        embeddings: A .npy file, or a .parquet file with a column of vectors.
        vectors: That column; by default the only one of lists.
        ids: A text file of raw item ids, one per line.
        item: In a Parquet file, the column of ids if `ids` is not given; without such a column rows are numbered.
        items: A table about items.
        item_id: Its column of ids.
        title: Its column of titles.
    """

    embeddings: Path
    vectors: str | None = None
    ids: Path | None = None
    item: str = "item"
    items: Path | None = None
    item_id: str | None = None
    title: str | None = None

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Turns an error about an argument that came from a file into one about the file."""
        try:
            yield
        except ArgumentError as error:
            places = {"x": self.embeddings, "column": self.embeddings, "ids": self.ids or self.embeddings}
            if error.argument not in places:
                raise
            raise DataError(str(error).removeprefix(f"{error.argument}: "), places[error.argument]) from error

    def read(self) -> tuple[list[str], Matrix, list[str] | None]:
        """Raw ids, vectors, and titles where there is a table of them."""
        columns, column = self._columns(), self.vectors
        if column is not None and columns is None:
            raise ArgumentError("--vectors", f"names a column of a .parquet file; {self.embeddings} has none")
        others = [name for name in columns or [] if name != self.item]
        if column is None and len(others) == 1:
            column = others[0]
        matrix = read_matrix(self.embeddings, column)
        names = self._names(columns, len(matrix))
        return names, matrix, None if self.items is None else self._titles(self.items, names)

    def _columns(self) -> list[str] | None:
        """Names of the columns of a Parquet file; None for another file."""
        if self.embeddings.suffix != ".parquet":
            return None
        return list(open_parquet(self.embeddings).schema_arrow.names)

    def _names(self, columns: list[str] | None, n: int) -> list[str]:
        if self.ids is not None:
            return read_ids(self.ids)
        if columns is not None and self.item in columns:
            raw = data.RawTable(pl.read_parquet(self.embeddings, columns=[self.item]), self.embeddings)
            return data.ids(raw, self.item, "item").to_list()
        if columns is not None and self.item != "item":
            raise DataError(f"no column {self.item!r} for item; the columns are {', '.join(columns)}", self.embeddings)
        return [str(row) for row in range(n)]

    def _titles(self, table: Path, names: list[str]) -> list[str]:
        """A title for each row, "" where the table has none."""
        about = item_columns(self.item, self.item_id, self.title or "title", None)
        known = IdMap(sorted(names), "item")
        frame = read_item_table(read_table(table, about.wanted), about, known)
        titles = {known.raw[row]: title for row, title in frame.select("item", "title").iter_rows()}
        return [titles.get(name, "") for name in names]


def read_ids(path: Path) -> list[str]:
    """Reads one raw id per line, without surrounding blanks."""
    try:
        # Other signs at which Python ends lines may stand in an id.
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text; expected one item id per line", path) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DataError("empty id; expected one item id per line", path, number)
    return [line.strip() for line in lines]
