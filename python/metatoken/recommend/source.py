"""Requests made of one pattern and many users, prepared one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.errors import DataError, UnknownIdError
from metatoken.recommend.files import UserLine, read_users
from metatoken.recommend.requests import STRANGER

if TYPE_CHECKING:
    from metatoken.data import IdMap
    from metatoken.recommend.recommender import Recommender
    from metatoken.recommend.requests import Prepared, Request


def user_lines(ids: Iterable[str], path: Path | None) -> Iterator[UserLine]:
    """Users by their ids, then those of a file; `DataError` as `read_users` has it."""
    named = (UserLine(raw, None, 0, 0.0) for raw in ids)
    return chain(named, read_users(path) if path is not None else ())


class Source:
    """The requests of one command or shard.

    Args:
        recommender: Prepares them.
        pattern: What all of them ask; one with a history is the only request.
        lines: Who asks.
        path: The file that lines with a number come from, for messages.
        skip_unknown: Leave out unknown users without a history.
        typed: Lines of CSV that the pattern's history came from, for messages.

    Attributes:
        skipped: How many were left out.
        listed: Ids of `allow` and `deny` that are no items of the run.
    """

    def __init__(
        self,
        recommender: Recommender,
        pattern: Request,
        lines: Iterable[UserLine] = (),
        path: Path | None = None,
        *,
        skip_unknown: bool = False,
        typed: Sequence[str] = (),
    ) -> None:
        self.recommender, self.pattern, self.lines, self.path = recommender, pattern, lines, path
        self.skip_unknown, self.typed, self.skipped = skip_unknown, typed, 0
        self.listed: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Prepared]:
        """Prepares each request when it is asked for.

        Raises:
            DataError: A user of the file is unknown and has no history; names the line.
            UnknownIdError: So is another one, or an item of the pattern's history is unknown.
        """
        if self.pattern.history is not None:
            one = self.recommender.prepare(self.pattern)
            if one.unknown_history:  # typed by hand: a slip is an error
                raise unknown_id(self.recommender.catalogue.items, one.unknown_history[0], self.typed)
            self.listed = one.unknown_listed
            yield one
            return
        for line in self.lines:
            yield from self._prepared(line)

    def _prepared(self, line: UserLine) -> Iterator[Prepared]:
        try:
            one = self.recommender.prepare(replace(self.pattern, user=line.user, history=line.history))
        except UnknownIdError as error:
            if not self.skip_unknown:
                said = unknown_id(self.recommender.history.users, line.user or "")
                raise (DataError(str(said), self.path, line.line) if line.line else said) from error
            self.skipped += 1
            return
        self.listed = one.unknown_listed
        yield one


def unknown_id(known: IdMap, raw: str, typed: Sequence[str] = ()) -> UnknownIdError:
    """What to say of an id that is none of the run: which one may be meant; `typed`, the lines of CSV it came from."""
    said = f"{known.kind} {raw!r} is not among the {len(known):,} known {known.kind}s"
    if whole := next((line for line in typed if line in known), None):
        line = whole.replace('"', '""')
        return UnknownIdError(f"{said}; {whole!r} is one, which a line of CSV has in quotation marks: '\"{line}\"'")
    like = known.like(raw)
    if like is not None:
        return UnknownIdError(f"{said}; did you mean {like!r}?")
    return UnknownIdError(f"{said}; {STRANGER}" if known.kind == "user" else said)
