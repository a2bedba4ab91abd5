"""What is known about one item, why it suits a user, and, where that is switched on, who the users are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from metatoken.errors import UnknownIdError
from metatoken.recommend.questions import Question
from metatoken.serve.messages import LONGEST_ID, ApiError, check_json, parse_question, parse_why
from metatoken.serve.versions import EXPLANATION, Job

if TYPE_CHECKING:
    from metatoken.data.ids import IdMap
    from metatoken.recommend.recommender import Recommender
    from metatoken.serve.batching import Batcher
    from metatoken.serve.limits import Limits

MOST_COMPLETED = 12


class Details:
    """Endpoints beside recommending.

    Args:
        batcher: Passes questions to the model.
        limits: What is taken on.
        taken: The version that a request is answered by.
        people: Whether clients may see ids of users and their histories.
    """

    def __init__(
        self,
        batcher: Batcher[Job, Any],
        limits: Limits,
        taken: Callable[[Request], Recommender],
        people: bool,
    ) -> None:
        self.batcher, self.limits, self.taken, self.people = batcher, limits, taken, people

    def endpoints(self) -> dict[str, tuple[str, Callable[..., Any]]]:
        """Method and function of each path that there is."""
        found: dict[str, tuple[str, Callable[..., Any]]] = {"/item": ("GET", self.item), "/why": ("POST", self.why)}
        found["/answer"] = "POST", self.answer
        if self.people:
            found |= {"/users": ("GET", self.users), "/history": ("GET", self.history)}
        return found

    async def item(self, request: Request, id: str = "") -> Response:  # noqa: A002 (its name in the address)
        """Title, tokens and all columns of an item."""
        recommender = self.taken(request)
        row = row_of(recommender.catalogue.items, id)
        frame = recommender.catalogue.frame.drop("title", strict=False)
        columns = {name: value for name, value in frame.row(row, named=True).items() if name != "item"}
        return _answer(
            recommender, item=id, title=recommender.catalogue.titles[row],
            tokens=recommender.module.vocabulary.tokens_of(item=id), columns=columns,
        )  # fmt: skip

    async def why(self, request: Request) -> Response:
        """A sentence on why an item suits a known user, where the run has learned to explain."""
        recommender = self.taken(request)
        check_json(request.headers.get("content-type", ""))
        if not explains(recommender):
            said = f"the run has no explanations; train one with {EXPLANATION} among model.tasks"
            raise ApiError(422, "no_explanations", said)
        asked = parse_why(await request.body())
        row_of(recommender.history.users, asked.user)
        row_of(recommender.catalogue.items, asked.item)
        (found,) = await self.batcher.submit([Job(recommender, Question(EXPLANATION, asked.user, asked.item))])
        return _answer(recommender, user=asked.user, item=asked.item, text=found.answer)

    async def answer(self, request: Request) -> Response:
        """A rating or a text about a pair, by one of the run's tasks."""
        recommender = self.taken(request)
        check_json(request.headers.get("content-type", ""))
        question = parse_question(await request.body())
        recommender.answerer.check(question.task, question.fields, template=question.template)
        row_of(recommender.history.users, question.user)
        row_of(recommender.catalogue.items, question.item)
        (found,) = await self.batcher.submit([Job(recommender, question)])
        return _answer(recommender, **asdict(found))

    async def users(self, request: Request, q: str = "") -> Response:
        """Ids of users that begin with `q`."""
        recommender = self.taken(request)
        raw = recommender.history.users.raw
        if not 1 <= len(q) <= LONGEST_ID:
            raise ApiError(
                422, "invalid_request", f"q: expected the beginning of a user id, at most {LONGEST_ID} letters"
            )
        found = await asyncio.to_thread(lambda: list(islice((one for one in raw if one.startswith(q)), MOST_COMPLETED)))
        return _answer(recommender, users=found)

    async def history(self, request: Request, user: str = "") -> Response:
        """The latest items of a known user, oldest first, and how many there are in all."""
        recommender = self.taken(request)
        row, catalogue = row_of(recommender.history.users, user), recommender.catalogue
        rows = recommender.history_of(row)
        items = [{"item": catalogue.items.raw[n], "title": catalogue.titles[n]} for n in rows[-self.limits.history :]]
        return _answer(recommender, user=user, items=items, total=len(rows))


def explains(recommender: Recommender) -> bool:
    """Whether a run has learned to explain."""
    return EXPLANATION in recommender.module.tasks


def row_of(ids: IdMap, raw: str) -> int:
    """Row of an id of a request; `ApiError` where there is none."""
    try:
        return ids.row(raw[: LONGEST_ID + 1])
    except UnknownIdError as error:
        raise ApiError(404, f"unknown_{ids.kind}", str(error), {"field": ids.kind}) from error


def _answer(recommender: Recommender, **members: Any) -> Response:
    return JSONResponse(members | {"version": recommender.version}, headers={"Metatoken-Version": recommender.version})
