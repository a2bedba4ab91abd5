"""`metatoken recommend`."""

from __future__ import annotations

import csv
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoken.cli.options import panel
from metatoken.cli.starting import starting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from metatoken.data import IdMap
    from metatoken.errors import UnknownIdError
    from metatoken.recommend import Answer, Prepared, Recommender, Request
    from metatoken.recommend.columns import Columns
    from metatoken.recommend.files import UserLine
    from metatoken.recommend.streaming import Counts, Write

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
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Write .parquet, .csv or .jsonl instead of printing.")]
Shown = Annotated[
    str | None,
    typer.Option(help="Columns of the item table that go with each item, e.g. price,brand; a line of CSV."),
]
Table = Annotated[str | None, typer.Option("--table", help="The table of --to-uri; replaced when all is written.")]


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
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out unknown users without a history, and count them.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Users that pass through the model at once.")] = 256,
) -> None:
    """Recommend items that the user has not seen, with titles."""
    with starting():
        from metatoken.cli.output import progress_bar
        from metatoken.recommend import Recommender, Request
        from metatoken.recommend.columns import Columns
        from metatoken.recommend.streaming import stream

    _check(bool(user or users or all_users), bool(history), out, {"--users": users, "--allow": allow, "--deny": deny})
    items = _ids("--history", history) if history else None
    only, never = _listed(allow), _listed(deny) or ()
    pattern = Request(None, items, k, model.value, not include_seen, where, only, never)
    with starting():
        typed = history or []
        source = _Source(Recommender.load(run), pattern, user or [], users, skip_unknown, typed, everybody=all_users)
    shown = Columns.of(source.recommender.catalogue, _ids("--columns", [columns or ""]))
    with _target(out, to_uri, table, shown) as write, progress_bar("recommending") as source.progress:
        counts = stream(source.recommender, source, write, batch_size=batch_size)
    source.report(counts)
    if place := out or table:
        print(f"{counts.items} recommendations for {counts.users} users written to {place}")


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
    one = ("user", "items") if out is not None and out.suffix.lower() == ".jsonl" else ("user", "rank", "item", "score")
    check_output_file("--out", out, inputs, table("recommendations", one))


class _Source:
    """The requests of one command, prepared one after the other."""

    def __init__(
        self,
        recommender: Recommender,
        pattern: Request,
        ids: list[str],
        path: Path | None,
        skip_unknown: bool,
        typed: list[str],
        *,
        everybody: bool = False,
    ) -> None:
        self.recommender, self.pattern, self.ids, self.path, self.typed = recommender, pattern, ids, path, typed
        self.skip_unknown, self.everybody, self.skipped = skip_unknown, everybody, 0
        self.progress: Callable[[int, int], None] = lambda _done, _total: None
        self.listed: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Prepared]:
        from metatoken.recommend.files import UserLine, read_users

        if self.pattern.history is not None:
            one = self.recommender.prepare(self.pattern)
            if one.unknown_history:  # typed by hand: a slip is an error
                raise _unknown(self.recommender.catalogue.items, one.unknown_history[0], self.typed)
            self.listed = one.unknown_listed
            yield one
            return
        for raw in self.ids:
            yield from self._prepared(UserLine(raw, None, 0, 0.0))
        known = self.recommender.history.users.raw if self.everybody else ()
        for place, raw in enumerate(known):
            self.progress(place, len(known))
            yield from self._prepared(UserLine(raw, None, 0, 0.0))
        for line in read_users(self.path) if self.path is not None else ():
            self.progress(int(1000 * line.done), 1000)
            yield from self._prepared(line)

    def _prepared(self, line: UserLine) -> Iterator[Prepared]:
        from dataclasses import replace

        from metatoken.errors import DataError, UnknownIdError

        try:
            one = self.recommender.prepare(replace(self.pattern, user=line.user, history=line.history))
        except UnknownIdError as error:
            if not self.skip_unknown:
                said = _unknown(self.recommender.history.users, line.user or "")
                raise (DataError(str(said), self.path, line.line) if line.line else said) from error
            self.skipped += 1
            return
        self.listed = one.unknown_listed
        yield one

    def report(self, counts: Counts) -> None:
        """Says on stderr what is not as one might think."""
        from metatoken.cli.output import warn

        if self.listed:
            warn(f"{len(self.listed)} ids of --allow and --deny are no items of the run, e.g. {self.listed[0]}")
        if counts.unknown:
            warn(f"{counts.unknown} ids in histories are no items of the run and were left out, e.g. {counts.example}")
        if self.skipped:
            warn(f"{self.skipped} unknown users without a history were skipped")
        if counts.short:
            got = "1 user" if counts.short == 1 else f"{counts.short:,} users"
            warn(f"{got} got fewer than {self.pattern.k:,} items, since no more are allowed")


def _unknown(known: IdMap, raw: str, typed: Sequence[str] = ()) -> UnknownIdError:
    """What to say of an id that is none of the run: which one may be meant; `typed`, the lines of CSV it came from."""
    from metatoken.errors import UnknownIdError

    said = f"{known.kind} {raw!r} is not among the {len(known):,} known {known.kind}s"
    if whole := next((line for line in typed if line in known), None):
        line = whole.replace('"', '""')
        return UnknownIdError(f"{said}; {whole!r} is one, which a line of CSV has in quotation marks: '\"{line}\"'")
    like = known.like(raw)
    return UnknownIdError(said if like is None else f"{said}; did you mean {like!r}?")


def _print(columns: Columns, answers: Iterable[Answer]) -> None:
    from metatoken.cli.output import printable

    for answer in answers:
        print(f"{printable(answer.user or '(history)')}:")
        for one in answer.items:
            told = zip(columns.names, columns.texts(one.item), strict=True)
            more = ", ".join(f"{name} {value}" for name, value in told if value is not None)
            line = f"  {one.rank:>3}  {one.score:.4f}  {one.item}  {one.title}".rstrip()
            print(printable(f"{line}  ({more})" if more else line))
