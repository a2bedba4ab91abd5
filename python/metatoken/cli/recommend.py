"""`metatoken recommend`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Model(StrEnum):
    """Which part of the model ranks."""

    FUSED = "fused"
    ITEM_HEAD = "item_head"
    GENERATION = "generation"


def recommend(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    user: Annotated[list[str] | None, typer.Option(help="User id; may be given several times.")] = None,
    users: Annotated[Path | None, typer.Option(help="File with a user id a line.")] = None,
    history: Annotated[
        str | None, typer.Option(help="Item ids, oldest first, separated by commas: for anybody, known or not.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    model: Annotated[Model, typer.Option(help="Which part of the model ranks.")] = Model.FUSED,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write Parquet instead of printing.")] = None,
) -> None:
    """Recommends items that the user has not seen, with titles."""
    from metatoken.errors import ArgumentError
    from metatoken.recommend import Recommender

    asked = [*(user or []), *_lines(users)]
    if bool(asked) == (history is not None):
        raise ArgumentError("--user", "expected --user or --users, or else --history")
    recommender = Recommender.load(run)
    if history is not None:
        ids = [part.strip() for part in history.split(",") if part.strip()]
        found = {"(history)": recommender.recommend(history=ids, k=k, model=model.value)}
    else:
        found = recommender.recommend_many(asked, k=k, model=model.value)
    if out is not None:
        _write(found, out)
        print(f"{sum(map(len, found.values()))} recommendations for {len(found)} users written to {out}")
        return
    for name, items in found.items():
        print(f"{name}:")
        for one in items:
            print(f"  {one.rank:>3}  {one.score:.4f}  {one.item}  {one.title}".rstrip())


def _lines(path: Path | None) -> list[str]:
    from metatoken.errors import DataError

    if path is None:
        return []
    try:
        ids = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError("expected a text file with a user id a line, got bytes that are not UTF-8", path) from error
    if not ids:
        raise DataError("expected a user id a line, got an empty file", path)
    return ids


def _write(found: dict[str, list], out: Path) -> None:  # type: ignore[type-arg]
    import polars as pl

    from metatoken.artifacts import atomic_file, write_frame

    rows = [
        {"user": name, "rank": one.rank, "item": one.item, "title": one.title, "score": one.score}
        for name, items in found.items()
        for one in items
    ]
    schema = {"user": pl.String, "rank": pl.Int32, "item": pl.String, "title": pl.String, "score": pl.Float32}
    with atomic_file(out) as work:
        write_frame(work, pl.DataFrame(rows, schema=schema))
