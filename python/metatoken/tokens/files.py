"""What a person names on a command line or in YAML for the graph: attributes, links and features in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metatoken.data import columns
from metatoken.data.ids import IdMap
from metatoken.data.items import item_columns
from metatoken.data.links import LinkKind, Links
from metatoken.data.readers import read_table
from metatoken.errors import ArgumentError, DataError
from metatoken.tokens.features import ItemFeatures
from metatoken.tokens.vectors.matrix import read_matrix

if TYPE_CHECKING:
    from metatoken.data import Interactions


def fit_arguments(
    settings: Mapping[str, Any], log: Interactions, *, items: Path | None, item: str, item_id: str | None
) -> dict[str, Any]:
    """Arguments of `Vocabulary.fit` from settings that name files.

    Args:
        settings: Arguments of `Vocabulary.fit`, where `attributes` maps a node type to a column of the file `items`;
            besides `item_links`, `user_links` (node type -> `FILE` or `FILE:IDCOLUMN:COLUMN`) and `item_features` (a
            folder of `metatoken text-vectors`, `FILE.parquet[:IDCOLUMN:COLUMN]` or `FILE.npy:IDS.txt`).
        log: Gives the rows.
        items: The item table.
        item: Column of items in the log, which the item table may use too.
        item_id: Column of ids of the item table.

    Raises:
        ArgumentError: A setting cannot be used, or a node type is named twice.
        DataError: A file cannot be read.
    """
    found = dict(settings)
    names = found.pop("attributes", None) or {}
    item_links, user_links = (found.pop(key, None) or {} for key in ("item_links", "user_links"))
    attributes: dict[str, Links] = {}
    if names:
        if items is None:
            raise ArgumentError("attributes", "are columns of an item table; name its file with items")
        about = item_columns(item, item_id, None, None)
        raw = read_table(items, [*about.item_id, *names.values()])
        key = next((name for name in about.item_id if name in raw.frame.columns), about.item_id[0])
        attributes = {name: Links.of_table(raw, log.items, "item", key, column) for name, column in names.items()}
    kinds: tuple[tuple[LinkKind, IdMap, Mapping[str, str]], ...] = (
        ("item", log.items, item_links),
        ("user", log.users, user_links),
    )
    for kind, ids, files in kinds:
        for name, spec in files.items():
            if name in attributes:
                raise ArgumentError(f"{kind}_links", f"the node type {name!r} is named twice")
            path, id_column, column = _parts(f"{kind}_links", spec)
            attributes[name] = Links.read(path, ids, kind=kind, id_column=id_column, column=column)
    features = found.pop("item_features", None)
    found["attributes"] = attributes or None
    found["features"] = None if features is None else read_features(features, log.items)
    return found


def read_features(spec: str, ids: IdMap) -> NDArray[np.float32]:
    """Features of each id, float32 `[len(ids), f]`; NaN where the file has none.

    Args:
        spec: See `fit_arguments`; the id column of a Parquet file is by default its first, the other its second.
        ids: The ids of the rows.

    Raises:
        ArgumentError: The text has another form.
        DataError: The file cannot be read, or has none of the ids.
    """
    path, *rest = spec.split(":")
    if Path(spec).is_dir():
        known = ItemFeatures.load(spec)
        # A row of zeros says that nothing is known.
        vectors = np.where(known.vectors.any(axis=1, keepdims=True), known.vectors, np.float32(np.nan))
        return _placed(vectors, known.ids, ids, Path(spec))
    if path.endswith(".npy"):
        if len(rest) != 1:
            raise ArgumentError("item_features", f"expected FILE.npy:IDS.txt, with one id a line, got {spec!r}")
        column, names = None, _lines(Path(rest[0]))
    else:
        file, id_column, column = _parts("item_features", spec)
        if not str(file).endswith(".parquet"):
            raise ArgumentError(
                "item_features", f"expected a folder, a .parquet file or FILE.npy:IDS.txt, got {spec!r}"
            )
        raw = read_table(file, [])
        id_column = id_column or raw.frame.columns[0]
        column = column or next((name for name in raw.frame.columns if name != id_column), id_column)
        names = columns.ids(raw, id_column, "item").to_list()
    return _placed(read_matrix(Path(path), column).whole(), names, ids, Path(path))


def _placed(rows: NDArray[np.float32], names: list[str], ids: IdMap, path: Path) -> NDArray[np.float32]:
    """Rows of named features in the order of ids; NaN for ids that have none."""
    if len(rows) != len(names):
        raise DataError(f"has {len(rows)} rows, but there are {len(names)} ids", path)
    place = np.array([ids.row(name) if name in ids else -1 for name in names])
    if not (place >= 0).any():
        raise DataError(f"none of its ids is an item of the log (first: {names[0]!r}, log: {ids.raw[0]!r})", path)
    features = np.full((len(ids), rows.shape[1]), np.nan, np.float32)
    features[place[place >= 0]] = rows[place >= 0]
    return features


def _parts(argument: str, spec: str) -> tuple[Path, str | None, str | None]:
    path, *names = str(spec).split(":")
    if len(names) not in (0, 2) or not path or not all(names):
        raise ArgumentError(argument, f"expected FILE or FILE:IDCOLUMN:COLUMN, got {spec!r}")
    return Path(path), *(names or (None, None))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("cannot be read as lines of ids", path) from error


def read_groups(spec: str, ids: IdMap, kind: LinkKind) -> Links:
    """Groups of ids from `FILE` or `FILE:IDCOLUMN:COLUMN`; see `Links.read`."""
    path, id_column, column = _parts("groups", spec)
    return Links.read(path, ids, kind=kind, id_column=id_column, column=column)
