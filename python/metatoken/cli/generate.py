"""`metatoken generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metatoken.cli.counts import count_option
from metatoken.cli.options import Seed


def generate(
    users: Annotated[int, count_option(help="Users, e.g. 1e6.")],
    items: Annotated[int, count_option(help="Items.")],
    interactions: Annotated[int, count_option(help="Rows of the log.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the world; appears when complete.")],
    groups: Annotated[int | None, count_option(help="Taste groups; by default one for each 250 items.")] = None,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the world that is at --out.")] = False,
) -> None:
    """Write a generated shop of any size as shards of Parquet: a log with known groups, and its item table."""
    from metatoken.cli.output import check_output, print_facts, progress_bar
    from metatoken.data.world.shards import KIND, write_world

    check_output(out, overwrite, KIND)
    with progress_bar("generating") as progress:
        write_world(
            out, users=users, items=items, interactions=interactions, groups=groups, seed=seed, progress=progress
        )
    print_facts((("log", out / "interactions"), ("items", out / "items")))
    print("columns are user_id, item_id, timestamp: --user user_id --item item_id --time timestamp")
