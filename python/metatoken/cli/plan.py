"""`metatoken plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from metatoken.cli.counts import count_option

if TYPE_CHECKING:
    from metatoken.run.plan import Plan

GB = 1e9
LEAST, MOST = 0.1, 100_000


def plan(
    users: Annotated[int, count_option(help="Users, e.g. 1e6.")],
    items: Annotated[int, count_option(help="Items.")],
    interactions: Annotated[int, count_option(help="Rows of the log.")],
    scored: Annotated[int | None, count_option(help="Held-out users who are scored; by default 20,000.")] = None,
    asked: Annotated[int | None, count_option(help="Users who get lists; by default all.")] = None,
    cores: Annotated[int | None, count_option(help="Cores of the machine; by default those of this one.")] = None,
    memory: Annotated[
        float | None, typer.Option(help="Memory of the machine in GB; by default that of this one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Estimate time and memory of each stage for a log of some size, what breaks first, and settings for it."""
    import json

    from metatoken.errors import ArgumentError
    from metatoken.run.plan import SCORED
    from metatoken.run.plan import plan as planned

    if memory is not None and not LEAST <= memory <= MOST:
        raise ArgumentError("--memory", f"expected {LEAST:g} to {MOST:,} GB, got {memory:g}")
    room = None if memory is None else int(memory * GB)
    found = planned(users, items, interactions, scored=scored or SCORED, asked=asked, cores=cores, bytes_=room)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        _print(found)


def _print(found: Plan) -> None:
    from rich.table import Table

    from metatoken.cli.output import make_console

    table = Table("stage", "processor hours", f"hours on {found.cores} cores", "peak GB", "fits", "breaks at", "by")
    for one in found.stages:
        row = (one.seconds / 3600, one.hours, one.peak / GB, one.breaks_at)
        hours, on_cores, peak, times = map(_estimate, row)
        table.add_row(one.stage, hours, on_cores, peak, "yes" if one.fits else "no", f"{times} x", one.why)
    make_console().print(table)
    size = found.size
    print(
        f"one epoch; {size.scored:,} users are scored, {size.asked:,} get lists; read is a part of tokenize and train"
    )
    print(f"{found.first} breaks first in {found.memory / GB:,.0f} GB as users, items and interactions grow alike")
    print("measured at " + ", ".join(f"{size:,}" for size in found.measured["interactions"]) + " interactions")
    for name, value in found.settings.items():
        print(f"  {name}: {value}")


def _estimate(value: float) -> str:
    """Two significant digits, which is what an estimate has."""
    digits = float(f"{value:.2g}")
    return f"{digits:,.0f}" if digits >= 10 else f"{digits:g}"
