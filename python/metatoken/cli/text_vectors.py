"""`metatoken text-vectors`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoken.cli.output import print_facts, progress_bar, say
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.tokens.features import ItemFeatures


def text_vectors(
    items: Annotated[Path, typer.Argument(help="A table about items: CSV, TSV, Parquet or JSON lines, also .gz.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the vectors.")] = Path("text"),
    item_id: Annotated[str, typer.Option("--item-id", help="Column of item ids.")] = "item_id",
    title: Annotated[str, typer.Option("--title", help="Column of titles.")] = "title",
    backbone: Annotated[
        str, typer.Option(help="smollm2-135m, a folder with a Hugging Face model, or a hub name.")
    ] = "smollm2-135m",
    layer: Annotated[
        int | None, typer.Option(help="Whose output is taken, from 1.", show_default="two thirds of the depth")
    ] = None,
    components: Annotated[
        int, typer.Option(min=0, help="Whitened principal components; 0 keeps the hidden states as they are.")
    ] = 96,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a title that are read.")] = 64,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    near: Annotated[
        list[str] | None, typer.Option("--near", metavar="ID", help="Print the neighbours of an id.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many neighbours.")] = 5,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="By default all cores.", show_default=False)
    ] = None,
) -> None:
    """Turn the titles of items into vectors, by a language model, for `model.item_features` of a run.

    Vectors that are there already, from the same titles and the same model, are kept.
    """
    import torch

    from metatoken.artifacts import atomic_folder
    from metatoken.model.features import title_features
    from metatoken.tokens.features import KIND

    if threads is not None:
        torch.set_num_threads(threads)
    ids, titles = read_titles(items, item_id, title)
    if unknown := [name for name in near or [] if name not in set(ids)]:
        raise ArgumentError("--near", f"no item {unknown[0]!r} in {items}")
    # Around the work, so that a place which cannot be written is refused before it and Ctrl-C leaves nothing behind.
    with atomic_folder(out, kind=KIND) as work, progress_bar("reading titles") as progress:
        features = title_features(
            ids,
            titles,
            backbone,
            layer=layer,
            components=components or None,
            max_tokens=max_tokens,
            precision=precision,
            cached=out,
            progress=progress,
        )
        features.write(work)
    empty = sum(not text.strip() for text in titles)
    print_facts([("items", len(ids)), ("without a title", empty), ("dimensions", features.vectors.shape[1])])
    for name in near or []:
        print_neighbours(features, name, k)
    print(f"vectors saved to {out}; use them with model.item_features: {out}")


def read_titles(path: Path, item_id: str, title: str) -> tuple[list[str], list[str]]:
    """Ids and titles of a table, sorted by id."""
    from metatoken.data import columns
    from metatoken.data.ids import IdMap
    from metatoken.data.items import item_columns, read_item_table
    from metatoken.data.readers import read_table

    names = item_columns(item_id, item_id, title, None)
    raw = read_table(path, names.wanted)
    known = IdMap(sorted(set(columns.ids(raw, item_id, "item_id"))), "item")
    table = read_item_table(raw, names, known)
    return [known.raw[row] for row in table["item"]], table["title"].to_list()


def print_neighbours(features: ItemFeatures, item: str, k: int) -> None:
    """Prints an item and the ones that read most like it."""
    print()
    say(f"{item}  {features.titles[features.ids.index(item)]}")
    for name, title, cosine in features.nearest(item, k):
        say(f"  {cosine:.3f}  {name}  {title}".rstrip())
