"""Embeddings that the user brings to `metatoken tokenize`: their vectors, ids and titles from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.cli.output import progress_bar
from metatoken.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from metatoken.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class OwnFiles:
    """What the options say about the user's files.

    Attributes:
        embeddings: A .npy file, or a .parquet file with a column of vectors.
        vectors: That column; by default the only one of lists.
        ids: A text file of raw item ids, one a line.
        item: In a Parquet file, the column of ids if `ids` is not given; without such a column rows are numbered.
        items: A table about items.
        item_id: Its column of ids.
        title: Its column of titles.
    """

    embeddings: Path
    vectors: str | None
    ids: Path | None
    item: str
    items: Path | None
    item_id: str | None
    title: str | None


def tokenize_own(files: OwnFiles, settings: dict[str, Any]) -> Vocabulary:
    """Makes a vocabulary of items.

    Raises:
        ArgumentError: Options do not go together.
        DataError: A file cannot be read, or its content cannot be used.
    """
    from metatoken.tokens.vectors.matrix import read_matrix
    from metatoken.tokens.vocabulary import Vocabulary

    path = files.embeddings
    columns = _parquet_columns(path)
    if files.vectors is not None and columns is None:
        raise ArgumentError("--vectors", f"names a column of a .parquet file; {path} has none")
    try:
        matrix = read_matrix(path, _vector_column(columns, files))
        names = _names(files, columns, len(matrix))
        titles = None if files.items is None else _titles(files, names)
        with progress_bar("tokens") as progress:
            return Vocabulary.from_embeddings(names, matrix, titles=titles, progress=progress, **settings)
    except ArgumentError as error:
        # Here the arguments came from files, and a person looks for the fault there.
        file = {"x": path, "column": path, "ids": path if files.ids is None else files.ids}.get(error.argument)
        if file is None:
            raise
        raise DataError(str(error).removeprefix(f"{error.argument}: "), file) from error


def _parquet_columns(path: Path) -> list[str] | None:
    """Names of the columns of a Parquet file; None for another file."""
    if path.suffix != ".parquet":
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path) from error


def _vector_column(columns: list[str] | None, files: OwnFiles) -> str | None:
    others = [name for name in columns or [] if name != files.item]
    return others[0] if files.vectors is None and len(others) == 1 else files.vectors


def _names(files: OwnFiles, columns: list[str] | None, n: int) -> list[str]:
    if files.ids is not None:
        return read_ids(files.ids)
    if columns is None or files.item not in columns:
        if columns is not None and files.item != "item":
            raise DataError(
                f"no column {files.item!r} for item; the columns are {', '.join(columns)}", files.embeddings
            )
        return [str(row) for row in range(n)]
    import polars as pl

    from metatoken.data import columns as data
    from metatoken.data.columns import RawTable

    frame = pl.read_parquet(files.embeddings, columns=[files.item])
    return data.ids(RawTable(frame, files.embeddings), files.item, "item").to_list()


def read_ids(path: Path) -> list[str]:
    """Reads one raw id a line.

    Raises:
        DataError: The file is missing, is not text, or has an empty line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text; expected one item id a line", path) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DataError("empty id; expected one item id a line", path, number)
    return lines


def _titles(files: OwnFiles, names: list[str]) -> list[str]:
    """A title for each row, "" where the table has none."""
    from metatoken.data.ids import IdMap
    from metatoken.data.items import item_columns, read_item_table
    from metatoken.data.readers import read_table

    if files.items is None:
        return []
    columns = item_columns(files.item, files.item_id, files.title or "title", None)
    known = IdMap(sorted(names), "item")
    table = read_item_table(read_table(files.items, columns.wanted), columns, known)
    titles = {known.raw[row]: title for row, title in table.select("item", "title").iter_rows()}
    return [titles.get(name, "") for name in names]
