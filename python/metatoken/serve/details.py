"""What is known about one item, and, where that is switched on, who the users are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from metatoken.errors import UnknownIdError
from metatoken.serve.messages import LONGEST_ID, ApiError, of_version

if TYPE_CHECKING:
    from metatoken.data.ids import IdMap
    from metatoken.recommend.recommender import Recommender
    from metatoken.serve.limits import Limits

MOST_COMPLETED = 12


class Details:
    """Endpoints beside recommending.

    Args:
        limits: What is taken on.
        taken: The version that a request is answered by.
        people: Whether clients may see ids of users and their histories.
    """

    def __init__(self, limits: Limits, taken: Callable[[Request], Recommender], people: bool) -> None:
        self.limits, self.taken, self.people = limits, taken, people

    def endpoints(self) -> dict[str, Callable[..., Any]]:
        """Function of each path that there is, all asked by GET."""
        people = {"/users": self.users, "/history": self.history} if self.people else {}
        return {"/item": self.item, **people}

    async def item(self, request: Request, id: str = "") -> Response:  # noqa: A002 (its name in the address)
        """Title, tokens and all columns of an item."""
        recommender = self.taken(request)
        row = row_of(recommender.catalogue.items, id)
        frame = recommender.catalogue.frame.drop("title", strict=False)
        columns = {name: value for name, value in frame.row(row, named=True).items() if name != "item"}
        title, tokens = recommender.catalogue.titles[row], recommender.module.vocabulary.tokens_of(item=id)
        members = {"item": id, "title": title, "tokens": tokens, "columns": columns}
        return of_version(recommender.version, members)

    async def users(self, request: Request, q: str = "") -> Response:
        """Ids of users that begin with `q`."""
        recommender = self.taken(request)
        raw = recommender.history.users.raw
        if not 1 <= len(q) <= LONGEST_ID:
            raise ApiError(
                422, "invalid_request", f"q: expected the beginning of a user id, at most {LONGEST_ID} letters"
            )
        found = await asyncio.to_thread(lambda: list(islice((one for one in raw if one.startswith(q)), MOST_COMPLETED)))
        return of_version(recommender.version, {"users": found})

    async def history(self, request: Request, user: str = "") -> Response:
        """The latest items of a known user, oldest first, and how many there are in all."""
        recommender = self.taken(request)
        row, catalogue = row_of(recommender.history.users, user), recommender.catalogue
        rows = recommender.history_of(row)
        items = [{"item": catalogue.items.raw[n], "title": catalogue.titles[n]} for n in rows[-self.limits.history :]]
        return of_version(recommender.version, {"user": user, "items": items, "total": len(rows)})


def row_of(ids: IdMap, raw: str) -> int:
    """Row of an id of a request; `ApiError` where there is none."""
    try:
        return ids.row(raw[: LONGEST_ID + 1])
    except UnknownIdError as error:
        raise ApiError(404, f"unknown_{ids.kind}", str(error), {"field": ids.kind}) from error
