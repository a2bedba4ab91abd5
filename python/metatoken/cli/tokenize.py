"""`metatoken tokenize`: a log, or embeddings that the user brings, into a vocabulary folder."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli import options
from metatoken.cli.inspect import compute_scores
from metatoken.cli.output import check_output, print_facts, progress_bar, warn
from metatoken.cli.own import OwnFiles, tokenize_own
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data.split import Split
    from metatoken.tokens.vocabulary import Vocabulary

IDS = "Ids"
GRAPH = "The graph that is walked"
COLD = "Ids with few or no training edges"
WALKS = "Walks and embeddings"
OWN = "Your own embeddings, in place of a log"

META_PATHS = ("user-item-user", "item-user-item")
PATH_HELP = f"Repeatable, e.g. 'item>item share=0.5'; by default {' and '.join(META_PATHS)}."


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
        str,
        typer.Option(
            help="joint: users and items share tokens; apart: each has its own; items: users get none.",
            rich_help_panel=IDS,
        ),
    ] = "joint",
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="TYPE=COLUMN of --items: its values become nodes; repeatable.", rich_help_panel=GRAPH),
    ] = None,
    item_links: Annotated[
        list[str] | None,
        typer.Option(help="TYPE=FILE[:IDCOLUMN:COLUMN]: values of items in a file; repeatable.", rich_help_panel=GRAPH),
    ] = None,
    user_links: Annotated[
        list[str] | None, typer.Option(help="The same of users; repeatable.", rich_help_panel=GRAPH)
    ] = None,
    edge_weights: Annotated[
        str, typer.Option(help="count, distinct, rating, recency or position.", rich_help_panel=GRAPH)
    ] = "count",
    half_life: Annotated[
        float | None,
        typer.Option(
            help="In which a weight halves: of recency in the unit of --time, of position in interactions.",
            rich_help_panel=GRAPH,
        ),
    ] = None,
    dim: Annotated[int, typer.Option(help="Length of the embeddings.", rich_help_panel=WALKS)] = 64,
    meta_path: Annotated[
        list[str] | None,
        typer.Option(
            help=PATH_HELP,
            rich_help_panel=WALKS,
        ),
    ] = None,
    restart: Annotated[
        float, typer.Option(help="Chance that a walk goes back to its start.", rich_help_panel=WALKS)
    ] = 0.0,
    walks_per_node: Annotated[int, typer.Option(help="Walks from each node.", rich_help_panel=WALKS)] = 10,
    walk_length: Annotated[int, typer.Option(help="Nodes in a walk.", rich_help_panel=WALKS)] = 40,
    window: Annotated[int, typer.Option(help="Nodes to each side that count as near.", rich_help_panel=WALKS)] = 5,
    negatives: Annotated[int, typer.Option(help="Noise nodes for each pair.", rich_help_panel=WALKS)] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the walks.", rich_help_panel=WALKS)] = 1,
    hogwild: Annotated[
        bool, typer.Option("--hogwild", help="Faster, but no two runs are the same.", rich_help_panel=WALKS)
    ] = False,
    subsample: Annotated[
        float, typer.Option(help="Share of visits from which on nodes are left out by chance.", rich_help_panel=WALKS)
    ] = 0.0,
    cold: Annotated[
        str, typer.Option(help="neighbours: their vectors are those of what they share; none.", rich_help_panel=COLD)
    ] = "none",
    min_edges: Annotated[
        int, typer.Option(help="Ids with fewer training edges count as cold, too.", rich_help_panel=COLD)
    ] = 0,
    item_features: Annotated[
        str | None,
        typer.Option(
            help="A folder of text-vectors, FILE.parquet[:IDCOLUMN:COLUMN] or FILE.npy:IDS.txt to map to vectors.",
            show_default=False,
            rich_help_panel=COLD,
        ),
    ] = None,
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
        walks |= {"restart": restart, "edge_weights": edge_weights, "half_life": half_life, "hogwild": hogwild}
        walks |= {"subsample": subsample}
        walks |= {"cold": cold, "min_edges": min_edges, "item_features": item_features, "kinds": kinds}
        walks |= {
            "attributes": named("--attribute", attribute),
            "item_links": named("--item-links", item_links),
            "user_links": named("--user-links", user_links),
        }
        columns = options.LogOptions(
            form, user, item, time, rating, split, items=items, item_id=item_id, title=title, categories=categories
        )
        part = options.read_split(log, columns)
        vocabulary = tokenize_split(part, codes | walks, columns)
        warn_of_cold(vocabulary)
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


def named(option: str, texts: list[str] | None) -> dict[str, str]:
    """`["brand=b.csv"]` as `{"brand": "b.csv"}`; a name alone stands for itself."""
    found: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not name or (equals and not value) or name in found or (not equals and option != "--attribute"):
            form = "TYPE=COLUMN or TYPE" if option == "--attribute" else "TYPE=FILE"
            raise ArgumentError(option, f"expected {form}, each type once, got {text!r}")
        found[name] = value or name
    return found


def tokenize_split(split: Split, settings: dict[str, Any], columns: options.LogOptions) -> Vocabulary:
    """Fits a vocabulary on the training part of a split."""
    from metatoken.tokens.files import fit_arguments
    from metatoken.tokens.vocabulary import Vocabulary

    arguments = fit_arguments(settings, split.log, items=columns.items, item=columns.item, item_id=columns.item_id)
    with progress_bar("tokens") as progress:
        return Vocabulary.fit(split.train, source=split.log.checksum(), progress=progress, **arguments)


def warn_of_cold(vocabulary: Vocabulary) -> None:
    """Says how many ids no walk reached, and what they got instead of a vector of their own."""
    from metatoken.tokens.vectors.cold import count_origins

    for kind, counts in count_origins(vocabulary.origins, vocabulary.n_users).items():
        others = {name: count for name, count in counts.items() if name not in ("walked", "given")}
        if not others:
            continue
        sources = {"none": "the mean of all", "neighbours": "their neighbours", "features": "their features"}
        parts = ", ".join(f"{count:,} from {sources[name]}" for name, count in others.items())
        warn(f"{sum(others.values()):,} {kind} have no vector of their own, for want of training edges: {parts}")


def describe(vocabulary: Vocabulary) -> list[tuple[str, object]]:
    """The few facts that tell a person whether the vocabulary is what they meant."""
    example = vocabulary.items.raw[0]
    kept = [f"{part['kept_share']:.1%}" for part in vocabulary.report.values() if "kept_share" in part]
    return [
        ("users", vocabulary.n_users),
        ("items", vocabulary.n_items),
        ("levels", " x ".join(str(size) for size in vocabulary.levels)),
        ("tokens", vocabulary.n_tokens),
        ("ids with their nearest tokens", ", ".join(kept)),
        ("example", f"item {example} is {vocabulary.tokens_of(item=example)}"),
    ]
