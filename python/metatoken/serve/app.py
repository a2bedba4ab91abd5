"""The application: items, answers and explanations, what is known of the server, perhaps `/reload`, and a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from metatoken.errors import MetatokenError
from metatoken.recommend.questions import Answered
from metatoken.recommend.requests import Answer, Model, Prepared
from metatoken.serve.answers import described
from metatoken.serve.batching import Batcher
from metatoken.serve.details import Details, row_of
from metatoken.serve.guard import RELOAD, Doors, Guard
from metatoken.serve.limits import Limits
from metatoken.serve.messages import (
    VERSION,
    ApiError,
    Ask,
    AskPair,
    AskWhy,
    as_api_error,
    check_json,
    of_version,
    parse,
    parse_question,
    parse_reload,
)
from metatoken.serve.metrics import TYPE, Metrics
from metatoken.serve.versions import Job, Versions, answer

if TYPE_CHECKING:
    from metatoken.recommend.recommender import Recommender

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
}
LONGEST_SEARCH, MOST_FOUND = 200, 50
LONGEST_NUMBER = 9  # digits


def create_app(
    served: Recommender | Versions,
    limits: Limits | None = None,
    *,
    hosts: Collection[str] = (),
    token: str | None = None,
    reload_token: str | None = None,
    people: bool = False,
) -> Guard:
    """The application over a loaded recommender, for any ASGI server.

    Args:
        served: Answers; `Versions` where it is to be exchanged for others.
        limits: What is taken on.
        hosts: Names under which it may be asked; none allows all.
        token: What clients must show as `Authorization: Bearer ...`; only `/health` is open to all.
        reload_token: What must be shown instead to have another version served; None allows it to nobody.
        people: Whether clients may complete ids of users and see their histories, which are personal.
    """
    limits = limits or Limits()
    service = Service(served if isinstance(served, Versions) else Versions(served), limits, people=people)
    app = FastAPI(
        title="metatoken", description="Recommendations from a trained run.", docs_url=None, redoc_url=None,
        lifespan=service.lifespan,
    )  # fmt: skip
    asked: dict[str, Callable[..., Any]] = {
        "/recommend": service.recommend,
        "/answer": service.answer,
        "/explain": service.explain,
    }
    for path, endpoint in asked.items():
        app.add_api_route(path, endpoint, methods=["POST"], **described(path))
    shown: dict[str, Callable[..., Any]] = {
        "/items": service.items, "/health": service.health, "/metrics": service.show_metrics,
        **service.details.endpoints(),
    }  # fmt: skip
    for path, endpoint in shown.items():
        app.add_api_route(path, endpoint, methods=["GET"], **described(path))
    if reload_token is not None:
        app.add_api_route(RELOAD, service.reload, methods=["POST"], **described(RELOAD))
    for path in PAGE:
        app.add_api_route(path, _page, methods=["GET"], include_in_schema=False)
    for kind in (HTTPException, MetatokenError, ApiError, TimeoutError, Exception):
        app.add_exception_handler(kind, service.error)
    paths = {*PAGE, *asked, *shown, RELOAD}
    doors = Doors(frozenset(host.lower() for host in hosts), token, reload_token)
    return Guard(app, limits, service.metrics, paths, doors)


class Service:
    """The endpoints and what they share."""

    def __init__(self, versions: Versions, limits: Limits, *, people: bool = False) -> None:
        self.versions, self.limits, self.metrics = versions, limits, Metrics()
        self.batcher: Batcher[Job, Answer | Answered] = Batcher(answer, limits, self.metrics.batches.observe)
        self.metrics.watch(lambda: self.batcher.waiting, versions)
        self.details = Details(limits, self._taken, people)

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Runs the batcher as long as the server."""
        async with self.batcher:
            yield

    async def recommend(self, request: Request) -> Response:
        """Items for one request, or for each of `requests`, where each has its own answer or error.

        All of them by one version, whatever comes in the meantime.
        """
        recommender = self._taken(request)
        check_json(request.headers.get("content-type", ""))
        # Not in the loop, which answers all others; nor in Starlette's threads, which hold what they were last given.
        asks, several = await asyncio.to_thread(parse, await request.body(), self.limits)
        prepared = await asyncio.to_thread(lambda: [_prepare(recommender, ask) for ask in asks])
        if not several and isinstance(prepared[0], ApiError):
            raise prepared[0]
        ready = [Job(recommender, one) for one in prepared if isinstance(one, Prepared)]
        answers = iter(await self.batcher.submit(ready) if ready else [])
        results = []
        for ask, one in zip(asks, prepared, strict=True):
            if isinstance(one, ApiError):
                self.metrics.error(one.code)
                results.append({"user": ask.user, "error": one.document})
            else:
                results.append(asdict(next(answers)))
        found = {"results": results} if several else results[0]
        return of_version(recommender.version, found)

    async def answer(self, request: Request) -> Response:
        """A rating or a text about a pair, by one of the run's tasks."""
        return await self._asked(request, AskPair)

    async def explain(self, request: Request) -> Response:
        """Why a user would like an item."""
        return await self._asked(request, AskWhy)

    async def _asked(self, request: Request, kind: type[AskWhy | AskPair]) -> Response:
        recommender = self._taken(request)
        check_json(request.headers.get("content-type", ""))
        question = await asyncio.to_thread(parse_question, await request.body(), kind)  # not in the loop
        recommender.answerer.check(question.task, question.fields, template=question.template)
        vocabulary = recommender.module.vocabulary
        row_of(vocabulary.users, question.user)
        row_of(vocabulary.items, question.item)
        (found,) = await self.batcher.submit([Job(recommender, question)])
        return of_version(recommender.version, asdict(found))

    async def items(self, request: Request, q: str = "", limit: str = "20") -> Response:
        """Items whose titles or ids contain the words of `q`, best first."""
        if len(q) > LONGEST_SEARCH:
            raise ApiError(422, "invalid_request", f"q: expected at most {LONGEST_SEARCH} characters, got {len(q)}")
        known = limit.isascii() and limit.isdigit() and len(limit) <= LONGEST_NUMBER
        if not known or not 1 <= int(limit) <= MOST_FOUND:
            raise ApiError(422, "invalid_request", f"limit: expected a number from 1 to {MOST_FOUND}, got {limit[:20]}")
        recommender = self._taken(request)
        catalogue = recommender.catalogue
        rows = await asyncio.to_thread(catalogue.search, q, int(limit))
        items = [{"item": catalogue.items.raw[row], "title": catalogue.titles[row]} for row in rows.tolist()]
        return of_version(recommender.version, {"items": items})

    async def health(self) -> Response:
        """Whether requests are taken, and what may be asked."""
        recommender = self.versions.current
        catalogue = recommender.catalogue
        state = {
            "status": self.batcher.state, "version": recommender.version,
            "users": len(recommender.history.users), "items": len(catalogue.items), "columns": catalogue.columns,
            "models": list(get_args(Model)), "tasks": list(recommender.answerer.tasks), "limits": self.limits.shown(),
            "shows_users": self.details.people,
        }  # fmt: skip
        return JSONResponse(state, 200 if state["status"] == "ok" else 503)

    async def reload(self, request: Request) -> Response:
        """Takes up another version, without a gap, and says which one it was and is."""
        body = await request.body()
        if body:
            check_json(request.headers.get("content-type", ""))
        was = await self.versions.reload(parse_reload(body).run)
        return JSONResponse({"version": self.versions.current.version, "was": was})

    async def show_metrics(self) -> Response:
        """Counters and histograms in the text format of Prometheus."""
        return Response(self.metrics.text(), media_type=TYPE)

    async def error(self, request: Request, error: Exception) -> Response:
        """The answer to a request that fails, in the one shape; a fault of ours goes on to the server's log."""
        if isinstance(error, HTTPException):  # of the router: no such path, no such method
            code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
            said = ApiError(error.status_code, code, error.detail.lower(), headers=dict(error.headers or {}))
        else:
            said = as_api_error(error)
        self.metrics.error(said.code)
        response, version = said.response(), getattr(request.state, "version", None)
        if version is not None:
            response.headers[VERSION] = version
        return response

    def _taken(self, request: Request) -> Recommender:
        """The version that a request is answered by."""
        recommender = self.versions.current
        request.state.version = recommender.version  # its name alone, which holds no memory
        return recommender


def _prepare(recommender: Recommender, ask: Ask) -> Prepared | ApiError:
    try:
        return recommender.prepare(ask.request())
    except MetatokenError as error:
        return as_api_error(error)


async def _page(request: Request) -> Response:
    name, kind = PAGE[request.url.path]
    return Response(files("metatoken.serve").joinpath("page", name).read_bytes(), media_type=kind)
