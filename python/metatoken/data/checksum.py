"""A fingerprint of tables that does not depend on how they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl

from metatoken.data.ids import IdMap


def content_checksum(ids: Iterable[IdMap], frames: Iterable[pl.DataFrame | None]) -> str:
    """SHA-256, as hex, over id maps and the columns (numbers, str, list[str]) of frames, taken in order of name."""
    digest = hashlib.sha256(b"metatoken.content.1")
    for known in ids:
        _feed(digest, pl.Series(known.kind, known.raw, dtype=pl.String))
    for frame in frames:
        if frame is not None:
            for name in sorted(frame.columns):
                _feed(digest, frame[name])
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, column: pl.Series) -> None:
    """Add a column to a checksum: name, kind, lengths of texts, content."""
    digest.update(f"{column.name}:{column.dtype}:{len(column)};".encode())
    if column.dtype == pl.List(pl.String):
        _feed(digest, column.list.len().alias("lengths"))
        column = column.filter(column.list.len() > 0).explode()
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Int8)
    if column.dtype == pl.String:
        column = column.fill_null("")
        digest.update(column.str.len_bytes().to_numpy().astype("<u4").tobytes())
        digest.update("".join(column.to_list()).encode())
    else:
        array = column.to_numpy()
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
