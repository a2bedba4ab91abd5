"""`metatoken assign`: codes of a codebook for vectors in files, as many as there are."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import Annotated, Any

import typer

from metatoken.cli import options
from metatoken.cli.output import check_output, note, print_facts, progress_bar
from metatoken.engine.settings import EngineSettings, check_engine
from metatoken.tokens.settings import TokenSettings

Codes = Annotated[Path, typer.Option("--codebook", help="Folder of a codebook, a vocabulary (its items') or a run.")]
Rows = Annotated[
    int | None, typer.Option("--shard-rows", min=1, help="Rows of a shard.", show_default="as many as hold 64 MiB")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="Of each worker.", show_default="1 with ray, else all cores"),
]
Cap = Annotated[int | None, typer.Option("--max-cluster-size", min=1, help="Most rows with the same first token.")]


@options.with_settings(EngineSettings)
def assign(
    *,
    vectors: Annotated[Path, typer.Argument(help="A .npy or .parquet file of vectors, a folder of them or a pattern.")],
    codebook: Codes,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of Parquet shards; appears when complete.")],
    column: Annotated[str | None, typer.Option("--vectors", help="Column of vectors in Parquet.")] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Ids for rows of .npy, one per line; else they are numbered.")
    ] = None,
    unique: Annotated[str, typer.Option(help="assignment, nearest, counter, or none.")] = TokenSettings.unique,
    max_cluster_size: Cap = None,
    shard_rows: Rows = None,
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the codes that are at --out.")] = False,
    **fields: Any,
) -> None:
    """Give vectors the codes of a codebook that is there, shard by shard.

    The columns beside the vectors stay beside the codes. A job that was interrupted goes on when the same command is
    given again; the engine changes no byte.
    """
    began = clock.perf_counter()
    engine = EngineSettings(**fields)
    check_engine(engine)
    from metatoken.tokens.codes.sharded import KIND, assign_files, read_codebook
    from metatoken.tokens.codes.source import VectorSource

    check_output(out, overwrite, KIND)
    book = read_codebook(codebook)
    settings = TokenSettings(unique=unique, max_cluster_size=max_cluster_size)  # type: ignore[arg-type]
    with progress_bar("assigning") as progress:
        found = assign_files(
            VectorSource(vectors, column, ids), book, out, unique=settings.unique, max_cluster_size=max_cluster_size,
            shard_rows=shard_rows, threads=threads, engine=engine, progress=progress,
        )  # fmt: skip
    if found.resumed:
        note("went on with the shards of an earlier attempt")
    facts: list[tuple[str, object]] = [("rows", found.rows), ("shards", found.shards)]
    if unique != "none":
        facts += [("with their nearest codes", f"{found.kept_share:.1%}"), ("moved at the first level", found.moved)]
    print_facts([*facts, ("seconds", round(clock.perf_counter() - began, 1)), ("saved", out)])
