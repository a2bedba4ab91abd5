"""`metatoken tokenize`: a log, or embeddings that the user brings, into a vocabulary folder."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli import options
from metatoken.cli.inspect import compute_scores
from metatoken.cli.output import check_output, print_facts, progress_bar, warn
from metatoken.errors import ArgumentError
from metatoken.tokens.settings import TokenSettings

if TYPE_CHECKING:
    from metatoken.data.settings import LogSettings
    from metatoken.data.split import Split
    from metatoken.tokens.files import VectorFiles
    from metatoken.tokens.vocabulary import Vocabulary

own_option = options.panel("Your own embeddings, in place of a log")
Embeddings = Annotated[Path | None, own_option(help="A .npy file, one row of floats per item, or a .parquet file.")]
Vectors = Annotated[str | None, own_option(help="Column of vectors in a .parquet file; by default its only lists.")]
Ids = Annotated[Path | None, own_option(help="Raw item ids, one per line; by default column --item, or 0, 1, ...")]


@options.with_settings(TokenSettings)
@options.with_log
def tokenize(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the vocabulary; appears when complete.")],
    log: Annotated[
        Path | None,
        typer.Argument(help="A file of interactions (also .gz, .zst), a folder or a pattern.", show_default=False),
    ] = None,
    embeddings: Embeddings = None,
    vectors: Vectors = None,
    ids: Ids = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the vocabulary that is at --out.")] = False,
    **fields: Any,
) -> None:
    """Give every user and item a short tuple of shared tokens.

    Reads a LOG of interactions (or --embeddings of your own) and writes a vocabulary folder.
    """
    began = clock.perf_counter()
    check_output(out, overwrite, "vocabulary")
    given = options.log_fields(fields)
    settings, scores = TokenSettings(**fields), None
    if embeddings is not None:
        if log is not None:
            raise ArgumentError("--embeddings", f"expected either a log or embeddings, got both ({log}, {embeddings})")
        from metatoken.tokens.files import VectorFiles

        named = {name: given[name] for name in ("item", "item_id", "title") if name in given}
        files = VectorFiles(embeddings, vectors, ids, items=Path(given["items"]) if "items" in given else None, **named)
        vocabulary = tokenize_vectors(files, settings, seed, threads)
    elif log is None and "uri" not in given:
        raise ArgumentError("LOG", "expected a file of interactions, --uri and --query, or --embeddings; got none")
    elif ids is not None or vectors is not None:
        option = "--ids" if ids is not None else "--vectors"
        raise ArgumentError(option, "is about the file of --embeddings; a log has its own ids")
    else:
        part, about = options.read_split(log, given)
        vocabulary = tokenize_split(part, settings, about, seed, threads)
        warn_of_cold(vocabulary)
        scores = compute_scores(vocabulary, part.train)
    vocabulary.save(out, scores=scores)
    print_facts([*describe(vocabulary), ("seconds", round(clock.perf_counter() - began, 1)), ("saved", out)])


def tokenize_split(
    split: Split, settings: TokenSettings, about: LogSettings, seed: int, threads: int | None
) -> Vocabulary:
    """Fits a vocabulary on the training part of a split."""
    from metatoken.tokens.files import attribute_links
    from metatoken.tokens.vocabulary import Vocabulary

    links = attribute_links(settings, split.log, items=about.items, item=about.item, item_id=about.item_id)
    with progress_bar("tokens") as progress:
        return Vocabulary.fit(
            split.train, settings, attributes=links, seed=seed, threads=threads, source=split.log.checksum(),
            progress=progress,
        )  # fmt: skip


def tokenize_vectors(files: VectorFiles, settings: TokenSettings, seed: int, threads: int | None) -> Vocabulary:
    """Makes a vocabulary of items from the vectors that a person brings."""
    from metatoken.tokens.vocabulary import Vocabulary

    with files.blamed():
        names, matrix, titles = files.read()
        with progress_bar("tokens") as progress:
            return Vocabulary.from_embeddings(
                names, matrix, settings=settings, titles=titles, seed=seed, threads=threads, progress=progress
            )


def warn_of_cold(vocabulary: Vocabulary) -> None:
    """Says how many ids no walk reached, and what they got instead of a vector of their own."""
    from metatoken.tokens.vectors.cold import count_origins

    sources = {"none": "the mean of all", "neighbours": "their neighbours", "features": "their features"}
    for kind, counts in count_origins(vocabulary.origins, vocabulary.n_users).items():
        others = {sources[name]: count for name, count in counts.items() if name in sources}
        if others:
            parts = ", ".join(f"{count:,} from {source}" for source, count in others.items())
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
