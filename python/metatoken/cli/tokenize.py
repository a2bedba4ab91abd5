"""`metatoken tokenize`: a log, or embeddings that the user brings, into a vocabulary folder."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli import options
from metatoken.cli.inspect import compute_scores
from metatoken.cli.output import check_output, print_facts, progress_bar
from metatoken.cli.own import OwnFiles, tokenize_own
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data.split import Split
    from metatoken.tokens.vocabulary import Vocabulary

IDS = "Ids"
WALKS = "Walks and embeddings"
OWN = "Your own embeddings, in place of a log"

META_PATHS = ("user-item-user", "item-user-item")


def tokenize(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the vocabulary; appears when complete.")],
    log: Annotated[Path | None, typer.Argument(help="File of interactions, also .gz.", show_default=False)] = None,
    form: options.Form = "table",
    user: options.User = "user",
    item: options.Item = "item",
    time: options.Time = None,
    rating: options.Rating = None,
    split: options.SplitName = "leave-last-out",
    items: options.Items = None,
    item_id: options.ItemId = None,
    title: options.Title = None,
    categories: options.Categories = None,
    levels: Annotated[
        str,
        typer.Option(help='Tokens at each level, e.g. "256,256"; "auto" counts users and items.', rich_help_panel=IDS),
    ] = "auto",
    method: Annotated[
        str, typer.Option(help="residual, tree or flat+rank (the published scheme).", rich_help_panel=IDS)
    ] = "residual",
    metric: Annotated[str, typer.Option(help="euclidean or cosine.", rich_help_panel=IDS)] = "euclidean",
    unique: Annotated[
        str,
        typer.Option(help="Ids made unique by assignment, nearest or counter; none leaves them.", rich_help_panel=IDS),
    ] = "assignment",
    max_cluster_size: Annotated[
        int | None,
        typer.Option(help="Most ids of a kind with the same first token.", show_default=False, rich_help_panel=IDS),
    ] = None,
    kinds: Annotated[
        str, typer.Option(help="joint: users and items share tokens; apart: each has its own.", rich_help_panel=IDS)
    ] = "joint",
    dim: Annotated[int, typer.Option(help="Length of the embeddings.", rich_help_panel=WALKS)] = 64,
    meta_path: Annotated[
        list[str] | None,
        typer.Option(help=f"Give it once for each path; by default {' and '.join(META_PATHS)}.", rich_help_panel=WALKS),
    ] = None,
    walks_per_node: Annotated[int, typer.Option(help="Walks from each node.", rich_help_panel=WALKS)] = 10,
    walk_length: Annotated[int, typer.Option(help="Nodes in a walk.", rich_help_panel=WALKS)] = 40,
    window: Annotated[int, typer.Option(help="Nodes to each side that count as near.", rich_help_panel=WALKS)] = 5,
    negatives: Annotated[int, typer.Option(help="Noise nodes for each pair.", rich_help_panel=WALKS)] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the walks.", rich_help_panel=WALKS)] = 1,
    hogwild: Annotated[
        bool, typer.Option("--hogwild", help="Faster, but no two runs are the same.", rich_help_panel=WALKS)
    ] = False,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="A .npy file, one row of floats an item, or a .parquet file.", rich_help_panel=OWN),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(help="Column of vectors in a .parquet file; by default its only lists.", rich_help_panel=OWN),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="Raw item ids, one a line; by default column --item, or 0, 1, ...", rich_help_panel=OWN),
    ] = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the vocabulary that is at --output.")] = False,
) -> None:
    """Give every user and item a short tuple of shared tokens.

    Reads a LOG of interactions (or --embeddings of your own) and writes a vocabulary folder.
    """
    began = clock.perf_counter()
    check_output(output, overwrite)
    codes: dict[str, Any] = {"levels": parse_levels(levels), "method": method, "metric": metric, "unique": unique}
    codes |= {"seed": seed, "threads": threads, "max_cluster_size": max_cluster_size}
    scores = None
    if embeddings is not None:
        if log is not None:
            raise ArgumentError("--embeddings", f"expected either a log or embeddings, got both ({log}, {embeddings})")
        vocabulary = tokenize_own(OwnFiles(embeddings, vectors, ids, item, items, item_id, title), codes)
    elif log is None:
        raise ArgumentError("LOG", "expected a file of interactions, or --embeddings x.npy; got neither")
    elif ids is not None or vectors is not None:
        option = "--ids" if ids is not None else "--vectors"
        raise ArgumentError(option, "is about the file of --embeddings; a log has its own ids")
    else:
        walks = {"dim": dim, "meta_paths": tuple(meta_path or META_PATHS), "walks_per_node": walks_per_node}
        walks |= {"walk_length": walk_length, "window": window, "negatives": negatives, "epochs": epochs}
        columns = options.LogOptions(
            form, user, item, time, rating, split, items=items, item_id=item_id, title=title, categories=categories
        )
        part = options.read_split(log, columns)
        vocabulary = tokenize_split(part, codes | walks | {"kinds": kinds, "hogwild": hogwild})
        scores = compute_scores(vocabulary, part.train)
    vocabulary.save(output, scores=scores)
    print_facts([*describe(vocabulary), ("seconds", round(clock.perf_counter() - began, 1)), ("saved", output)])


def parse_levels(text: str) -> str | tuple[int, ...]:
    """`"auto"`, or `"256,64"` as `(256, 64)`."""
    if text == "auto":
        return text
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError("--levels", f'expected "auto" or whole numbers such as "256,256", got "{text}"') from None


def tokenize_split(split: Split, settings: dict[str, Any]) -> Vocabulary:
    """Fits a vocabulary on the training part of a split."""
    from metatoken.tokens.vocabulary import Vocabulary

    with progress_bar("tokens") as progress:
        return Vocabulary.fit(split.train, source=split.log.checksum(), progress=progress, **settings)


def describe(vocabulary: Vocabulary) -> list[tuple[str, object]]:
    """The few facts that tell a person whether the vocabulary is what they meant."""
    example = vocabulary.items.raw[0]
    kept = [f"{part['kept_share']:.1%}" for part in vocabulary.report.values()]
    return [
        ("users", vocabulary.n_users),
        ("items", vocabulary.n_items),
        ("levels", " x ".join(str(size) for size in vocabulary.levels)),
        ("tokens", vocabulary.n_tokens),
        ("ids with their nearest tokens", ", ".join(kept)),
        ("example", f"item {example} is {vocabulary.tokens_of(item=example)}"),
    ]
