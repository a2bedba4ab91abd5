"""The application: `/recommend`, `/items`, `/health`, `/metrics` and a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, get_args

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from metatoken.errors import MetatokenError
from metatoken.recommend.requests import Answer, Model, Prepared
from metatoken.serve.batching import Batcher
from metatoken.serve.guard import Doors, Guard
from metatoken.serve.limits import Limits
from metatoken.serve.messages import ApiError, Ask, Asks, as_api_error, check_json, parse
from metatoken.serve.metrics import TYPE, Metrics

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
    recommender: Recommender, limits: Limits | None = None, *, hosts: Collection[str] = (), token: str | None = None
) -> Guard:
    """The application over a loaded recommender, for any ASGI server.

    Args:
        recommender: Answers.
        limits: What is taken on.
        hosts: Names under which it may be asked; none allows all.
        token: What clients must show as `Authorization: Bearer ...`; only `/health` is open to all.
    """
    limits = limits or Limits()
    service = Service(recommender, limits)
    app = FastAPI(
        title="metatoken", description="Recommendations from a trained run.", docs_url=None, redoc_url=None,
        lifespan=service.lifespan,
    )  # fmt: skip
    body = {"application/json": {"schema": {"oneOf": [Ask.model_json_schema(), Asks.model_json_schema()]}}}
    extra = {"requestBody": {"required": True, "content": body}}
    app.add_api_route("/recommend", service.recommend, methods=["POST"], openapi_extra=extra)
    shown = {"/items": service.items, "/health": service.health, "/metrics": service.show_metrics}
    for path, endpoint in shown.items():
        app.add_api_route(path, endpoint, methods=["GET"])
    for path in PAGE:
        app.add_api_route(path, _page, methods=["GET"], include_in_schema=False)
    for kind in (HTTPException, MetatokenError, ApiError, TimeoutError, Exception):
        app.add_exception_handler(kind, service.error)
    paths = {*PAGE, "/recommend", *shown}
    return Guard(app, limits, service.metrics, paths, Doors(frozenset(host.lower() for host in hosts), token))


class Service:
    """The endpoints and what they share."""

    def __init__(self, recommender: Recommender, limits: Limits) -> None:
        self.recommender, self.limits, self.metrics = recommender, limits, Metrics()
        self.batcher: Batcher[Prepared, Answer] = Batcher(recommender.run, limits, self.metrics.batches.add)

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Runs the batcher as long as the server."""
        async with self.batcher:
            yield

    async def recommend(self, request: Request) -> Response:
        """Items for one request, or for each of `requests`, where each has its own answer or error."""
        check_json(request.headers.get("content-type", ""))
        # Not in the loop, which answers all others.
        asks, several = await run_in_threadpool(parse, await request.body(), self.limits)
        prepared = await run_in_threadpool(lambda: [self._prepare(ask) for ask in asks])
        if not several and isinstance(prepared[0], ApiError):
            raise prepared[0]
        ready = [one for one in prepared if isinstance(one, Prepared)]
        answers = iter(await self.batcher.submit(ready) if ready else [])
        results = []
        for ask, one in zip(asks, prepared, strict=True):
            if isinstance(one, ApiError):
                self.metrics.errors[one.code] += 1
                results.append({"user": ask.user, "error": one.document})
            else:
                results.append(asdict(next(answers)))
        return JSONResponse({"results": results} if several else results[0])

    async def items(self, q: str = "", limit: str = "20") -> Response:
        """Items whose titles or ids contain the words of `q`, best first."""
        if len(q) > LONGEST_SEARCH:
            raise ApiError(422, "invalid_request", f"q: expected at most {LONGEST_SEARCH} characters, got {len(q)}")
        known = limit.isascii() and limit.isdigit() and len(limit) <= LONGEST_NUMBER
        if not known or not 1 <= int(limit) <= MOST_FOUND:
            raise ApiError(422, "invalid_request", f"limit: expected a number from 1 to {MOST_FOUND}, got {limit[:20]}")
        catalogue = self.recommender.catalogue
        rows = await run_in_threadpool(catalogue.search, q, int(limit))
        items = [{"item": catalogue.items.raw[row], "title": catalogue.titles[row]} for row in rows.tolist()]
        return JSONResponse({"items": items})

    async def health(self) -> Response:
        """Whether requests are taken, and what may be asked."""
        catalogue = self.recommender.catalogue
        state = {
            "status": self.batcher.state,
            "users": len(self.recommender.history.users), "items": len(catalogue.items), "columns": catalogue.columns,
            "models": list(get_args(Model)), "limits": self.limits.shown(),
        }  # fmt: skip
        return JSONResponse(state, 200 if state["status"] == "ok" else 503)

    async def show_metrics(self) -> Response:
        """Counters and histograms in the text format of Prometheus."""
        return Response(self.metrics.text(self.batcher.waiting), media_type=TYPE)

    async def error(self, _request: Request, error: Exception) -> Response:
        """The answer to a request that fails, in the one shape; a fault of ours goes on to the server's log."""
        if isinstance(error, HTTPException):  # of the router: no such path, no such method
            code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
            answer = ApiError(error.status_code, code, error.detail.lower(), headers=dict(error.headers or {}))
        else:
            answer = as_api_error(error)
        self.metrics.errors[answer.code] += 1
        return answer.response()

    def _prepare(self, ask: Ask) -> Prepared | ApiError:
        try:
            return self.recommender.prepare(ask.request())
        except MetatokenError as error:
            return as_api_error(error)


async def _page(request: Request) -> Response:
    name, kind = PAGE[request.url.path]
    return Response(files("metatoken.serve").joinpath("page", name).read_bytes(), media_type=kind)
