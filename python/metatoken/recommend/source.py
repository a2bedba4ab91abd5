"""Requests made of one pattern and many users, prepared one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.errors import DataError, UnknownIdError
from metatoken.recommend.files import UserLine, read_users

if TYPE_CHECKING:
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
    ) -> None:
        self.recommender, self.pattern, self.lines, self.path = recommender, pattern, lines, path
        self.skip_unknown, self.skipped = skip_unknown, 0
        self.listed: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Prepared]:
        """Prepares each request when it is asked for.

        Raises:
            DataError: A user of the file is unknown and has no history; names the line.
            UnknownIdError: So is another one, or an item of the pattern's history is unknown.
        """
        if self.pattern.history is not None:
            one = self.recommender.prepare(self.pattern)
            for raw in one.unknown_history:
                self.recommender.catalogue.items.row(raw)  # typed by hand: a slip is an error
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
                raise (DataError(str(error), self.path, line.line) if line.line else error) from error
            self.skipped += 1
            return
        self.listed = one.unknown_listed
        yield one
