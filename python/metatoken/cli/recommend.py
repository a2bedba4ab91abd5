"""`metatoken recommend`."""

from __future__ import annotations

import csv
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli.options import panel, with_settings
from metatoken.cli.starting import starting
from metatoken.engine.settings import PANEL, EngineSettings, check_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from metatoken.recommend import Answer, Request
    from metatoken.recommend.columns import Columns
    from metatoken.recommend.files import UserLine
    from metatoken.recommend.streaming import Listed, Write

filter_option = panel("Which items are eligible")


class Model(StrEnum):
    """Which part of the model ranks."""

    FUSED = "fused"
    ITEM_HEAD = "item_head"
    GENERATION = "generation"


Users = Annotated[
    Path | None,
    typer.Option(help="File with one user id per line, or CSV, Parquet or JSON lines with user and history."),
]
Everybody = Annotated[bool, typer.Option("--all-users", help="Every user of the run's log, in the order of their ids.")]
History = Annotated[
    list[str] | None,
    typer.Option(
        help='Item ids, oldest first, for anybody, known or not: a line of CSV (a,"b,c"), or the option for each id.'
    ),
]
ToUri = Annotated[
    str | None, typer.Option("--to-uri", help="Write into a database: sqlite:///FILE, duckdb:///FILE, postgresql://...")
]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Write .parquet, .csv or .jsonl instead of printing; a folder of shards else."),
]
Shown = Annotated[
    str | None,
    typer.Option(help="Columns of the item table that go with each item, e.g. price,brand; a line of CSV."),
]
Table = Annotated[str | None, typer.Option("--table", help="The table of --to-uri; replaced when all is written.")]
SkipUnknown = Annotated[
    bool, typer.Option("--skip-unknown", help="Leave out unknown users without a history, and count them.")
]
Sharded = panel(PANEL)
ShardUsers = Annotated[
    int | None, Sharded("--shard-users", min=1, help="Users of a shard.", show_default="those of 16 batches")
]


@with_settings(EngineSettings)
def recommend(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    user: Annotated[list[str] | None, typer.Option(help="User id; may be given several times.")] = None,
    users: Users = None,
    all_users: Everybody = False,
    history: History = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    model: Annotated[Model, typer.Option(help="Which part of the model ranks.")] = Model.FUSED,
    out: Out = None,
    to_uri: ToUri = None,
    table: Table = None,
    columns: Shown = None,
    where: Annotated[str | None, filter_option(help="Filter, e.g. 'price < 20 and brand != \"A\"'.")] = None,
    allow: Annotated[Path | None, filter_option(help="File with the only eligible item ids, one per line.")] = None,
    deny: Annotated[Path | None, filter_option(help="File with item ids that are excluded.")] = None,
    include_seen: Annotated[bool, filter_option("--include-seen", help="Let items of the history come, too.")] = False,
    skip_unknown: SkipUnknown = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Users that pass through the model at once.")] = 256,
    shard_users: ShardUsers = None,
    threads: Annotated[int, Sharded("--threads", min=1, max=1024, help="Of each worker that makes shards.")] = 1,
    **engine: Any,
) -> None:
    """Recommend items that the user has not seen, with titles.

    A folder of shards is made by the local engine or by Ray. Where that was interrupted, the same command goes on.
    """
    chosen, folder = EngineSettings(**engine), out if out is not None and not out.suffix else None
    _check_engine(chosen, folder, bool(history), shard_users)
    with starting():
        from metatoken.recommend import Request

    _check(bool(user or users or all_users), bool(history), out, {"--users": users, "--allow": allow, "--deny": deny})
    items, never = _ids("--history", history) if history else None, _listed(deny) or ()
    pattern = Request(None, items, k, model.value, not include_seen, where, _listed(allow), never)
    asked: dict[str, Any] = {"users": users, "ids": user or [], "columns": _ids("--columns", [columns or ""])}
    asked |= {"skip_unknown": skip_unknown, "batch_size": batch_size, "all_users": all_users}
    if folder is not None:
        asked |= {"shard_users": shard_users, "threads": threads, "engine": chosen}
        found = _shards(run, pattern, folder, asked)
    else:
        found = _whole(run, pattern, partial(_target, out, to_uri, table), typed=history or [], **asked)
    _report(pattern, found)
    if place := out or table:
        print(f"{found.counts.items} recommendations for {found.counts.users} users written to {place}")


def _shards(run: Path, pattern: Request, out: Path, asked: dict[str, Any]) -> Listed:
    """Writes a folder of shards."""
    with starting():
        from metatoken.cli.output import note, progress_bar
        from metatoken.recommend.sharded import recommend_files

    with progress_bar("recommending") as progress:
        found = recommend_files(run, pattern, out, **asked, progress=progress)
    if found.resumed:
        note("went on with the shards of an earlier attempt")
    return found


def _whole(
    run: Path,
    pattern: Request,
    target: Callable[[Columns], AbstractContextManager[Write]],
    *,
    users: Path | None,
    ids: list[str],
    all_users: bool,
    typed: list[str],
    columns: list[str],
    skip_unknown: bool,
    batch_size: int,
) -> Listed:
    """Prints lists, or writes them into one file or table."""
    with starting():
        from metatoken.cli.output import progress_bar
        from metatoken.recommend import Recommender
        from metatoken.recommend.columns import Columns
        from metatoken.recommend.source import Source
        from metatoken.recommend.streaming import Listed, stream

        recommender = Recommender.load(run)
    shown = Columns.of(recommender.catalogue, columns)
    everybody = recommender.history.users.raw if all_users else ()
    with target(shown) as write, progress_bar("recommending") as progress:
        lines = _told(ids, everybody, users, progress)
        source = Source(recommender, pattern, lines, users, skip_unknown=skip_unknown, typed=typed)
        counts = stream(recommender, source, write, batch_size=batch_size)
    return Listed(counts, source.skipped, source.listed)


def _check_engine(engine: EngineSettings, folder: Path | None, history: bool, shard_users: int | None) -> None:
    """Refuses an engine for what is no folder of shards, and ray where it is not installed."""
    from metatoken.errors import ArgumentError

    if folder is None and (engine.engine != "local" or shard_users is not None):
        option = "--engine" if engine.engine != "local" else "--shard-users"
        raise ArgumentError(option, "makes a folder of Parquet shards; give it by -o, a name without an ending")
    if folder is not None and history:
        raise ArgumentError("--out", "expected a file for the list of --history; a folder is for --users")
    check_engine(engine)


def _told(
    ids: list[str], everybody: Sequence[str], path: Path | None, progress: Callable[[int, int], None]
) -> Iterator[UserLine]:
    """The users that are asked for, and how many of them are done."""
    from metatoken.recommend.source import user_lines

    for place, line in enumerate(user_lines([*ids, *everybody], path)):
        if line.line:
            progress(int(1000 * line.done), 1000)
        elif everybody:
            progress(place, len(ids) + len(everybody))
        yield line


def _listed(path: Path | None) -> tuple[str, ...] | None:
    """The ids in a file."""
    from metatoken.tokens.files import read_ids

    return None if path is None else tuple(read_ids(path))


def _ids(option: str, lines: list[str]) -> list[str]:
    """The ids or names in some lines of CSV."""
    from metatoken.errors import ArgumentError

    try:
        fields = [one for line in lines for one in next(csv.reader([line], skipinitialspace=True, strict=True), [])]
    except csv.Error as error:
        raise ArgumentError(option, f'expected a line of CSV such as a,"b,c" ({error})') from error
    return [one.strip() for one in fields if one.strip()]


def _target(out: Path | None, to_uri: str | None, table: str | None, columns: Columns) -> AbstractContextManager[Write]:
    """Where the answers go: a file, a table of a database, or the screen."""
    from metatoken.errors import ArgumentError

    if (to_uri is None) != (table is None):
        raise ArgumentError("--table", "goes with --to-uri: a database and the name of a table in it")
    if to_uri is not None and table is not None:
        from metatoken.recommend.tables import database_writer

        if out is not None:
            raise ArgumentError("--to-uri", f"expected a file or a database, got both ({out})")
        return database_writer(to_uri, table, columns)
    from metatoken.recommend.streaming import writer

    return nullcontext(partial(_print, columns)) if out is None else writer(out, columns)


def _check(users: bool, history: bool, out: Path | None, inputs: dict[str, Path | None]) -> None:
    """Refuses to ask for nobody, or for users and a history; and to write onto what must stay."""
    from metatoken.cli.kinds import table
    from metatoken.cli.output import check_output_file
    from metatoken.errors import ArgumentError

    if users == history:
        said = "a known user, --users with a file of them or --all-users, or --history for anybody"
        raise ArgumentError("--user", f"expected {said}; got {'both' if users else 'none of them'}")
    if out is not None and not out.suffix:
        from metatoken.artifacts import check_folder

        check_folder(out, "recommendations")
        return
    one = ("user", "items") if out is not None and out.suffix.lower() == ".jsonl" else ("user", "rank", "item", "score")
    check_output_file("--out", out, inputs, table("recommendations", one))


def _report(pattern: Request, found: Listed) -> None:
    """Says on stderr what is not as one might think."""
    from metatoken.cli.output import warn

    counts = found.counts
    if found.listed:
        warn(f"{len(found.listed)} ids of --allow and --deny are no items of the run, e.g. {found.listed[0]}")
    if counts.unknown:
        warn(f"{counts.unknown} ids in histories are no items of the run and were left out, e.g. {counts.example}")
    if found.skipped:
        warn(f"{found.skipped} unknown users without a history were skipped")
    if counts.short:
        got = "1 user" if counts.short == 1 else f"{counts.short:,} users"
        warn(f"{got} got fewer than {pattern.k:,} items, since no more are allowed")


def _print(columns: Columns, answers: Iterable[Answer]) -> None:
    from metatoken.cli.output import printable

    for answer in answers:
        print(f"{printable(answer.user or '(history)')}:")
        for one in answer.items:
            told = zip(columns.names, columns.texts(one.item), strict=True)
            more = ", ".join(f"{name} {value}" for name, value in told if value is not None)
            line = f"  {one.rank:>3}  {one.score:.4f}  {one.item}  {one.title}".rstrip()
            print(printable(f"{line}  ({more})" if more else line))
