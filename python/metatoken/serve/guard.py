"""Around the application: limits of the body, security headers, and the measuring of every request."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from metatoken.serve.messages import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from metatoken.serve.limits import Limits
    from metatoken.serve.metrics import Metrics

LONGEST_NUMBER = 18  # digits
RELOAD = "/reload"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Nothing comes from elsewhere and nothing runs inline, so a title that holds HTML stays a title.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Doors:
    """Who may ask.

    Attributes:
        hosts: Names, in lower case and without a port, under which a client may know the server; none allows all. A
            page of somebody else can have a browser ask a server on its machine, but only under the page's own name.
        token: What a client must show; only `/health` is open to all. None asks for nothing.
        reload_token: What must be shown at `RELOAD` in its place.
    """

    hosts: frozenset[str] = frozenset()
    token: str | None = None
    reload_token: str | None = None

    def check(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Refuses a request by its headers, before its body is read: `ApiError`."""
        host = _name(headers.get(b"host", b"").decode("latin-1"))
        if self.hosts and host not in self.hosts:
            said = f"this server does not answer as {host[:100]!r}; start it with --allow-host to let that name in"
            raise ApiError(403, "host_not_allowed", said)
        origin = headers.get(b"origin")
        if origin is not None and _name(origin.decode("latin-1").partition("//")[2]) != host:
            raise ApiError(403, "origin_not_allowed", "this server does not answer to pages of other origins")
        scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
        token = self.reload_token if path == RELOAD and self.reload_token is not None else self.token
        closed = token is not None and path != "/health"
        known = hmac.compare_digest(shown.strip(b" "), str(token).encode())
        if closed and not (known and scheme.lower() == b"bearer"):  # a scheme in any case: RFC 9110, 11.1
            said = "expected the header Authorization: Bearer and the token of the server"
            raise ApiError(401, "unauthorized", said, headers={"WWW-Authenticate": "Bearer"})


class Guard:
    """An ASGI application around another; paths that are not known are counted together, so that memory is bounded."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, paths: Collection[str], doors: Doors | None = None
    ) -> None:
        self.app, self.limits, self.metrics, self.paths = app, limits, metrics, paths
        self.doors = doors or Doors()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection; only requests of HTTP are looked at."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        self.metrics.running.inc()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        try:
            await self._handle(scope, receive, answer)
        finally:
            self.metrics.running.dec()
            path = scope["path"] if scope["path"] in self.paths else "other"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.request(method, path, status, time.perf_counter() - started)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.doors.check(scope["path"], dict(scope["headers"]))
            body = await self._body(scope, receive)
        except ApiError as error:
            self.metrics.error(error.code)
            response = error.response()
            response.headers["Connection"] = "close"  # the rest of the body is not read
            await response(scope, receive, send)
            return
        read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return read.pop() if read else await receive()

        await self.app(scope, replay, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, within the limits."""
        most = self.limits.body
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or len(said) > LONGEST_NUMBER or int(said) > most:
            raise _too_large(most)
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                async for part in Request(scope, receive).stream():
                    body += part
                    if len(body) > most:
                        raise _too_large(most)
        except TimeoutError as error:
            raise ApiError(408, "timeout", "the body did not arrive in time") from error
        except ClientDisconnect as error:
            raise ApiError(400, "disconnected", "the client went away") from error
        return bytes(body)


def _name(host: str) -> str:
    """A host without its port, in lower case."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return name.strip("[]").lower()


def _too_large(most: int) -> ApiError:
    return ApiError(413, "body_too_large", f"expected a body of at most {most} bytes; send fewer requests at once")
