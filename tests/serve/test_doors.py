"""Who may ask, for what, and what a request can do to the requests of others."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from metatoken.errors import CoreError
from metatoken.recommend import Recommender
from metatoken.serve.app import create_app
from metatoken.serve.batching import Batcher, ClosedError
from metatoken.serve.guard import Doors
from metatoken.serve.limits import Limits
from metatoken.serve.messages import ApiError, as_api_error
from tests.serve.conftest import LIMITS

BODY = json.dumps({"history": []})


def status(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("error", {}).get("code", "")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
def test_only_json_is_read(client: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert status(client.post("/recommend", content=BODY, headers=headers)) == (415, "unsupported_media_type")
    for sound in ("application/json", "Application/JSON; charset=utf-8"):
        assert client.post("/recommend", content=BODY, headers={"content-type": sound}).status_code == 200


def test_a_page_of_somebody_else_is_not_answered(client: TestClient) -> None:
    for origin in ("http:" + "//evil.example", "null"):
        refused = client.post("/recommend", json={"history": []}, headers={"origin": origin})
        assert status(refused) == (403, "origin_not_allowed")
    own = client.post("/recommend", json={"history": []}, headers={"origin": "http:" + "//testserver:8000"})
    assert own.status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]:8000", "[::1]"])
def test_a_name_that_the_server_has(host: str) -> None:
    Doors(frozenset({"localhost", "127.0.0.1", "::1"})).check("/items", {b"host": host.encode()})


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ":80"])
def test_a_name_that_the_server_has_not(host: str) -> None:
    with pytest.raises(ApiError, match="allow-host") as refused:
        Doors(frozenset({"localhost", "127.0.0.1", "::1"})).check("/items", {b"host": host.encode()})
    assert refused.value.status == 403


def test_a_token(recommender: Recommender) -> None:
    with TestClient(create_app(recommender, LIMITS, token="open sesame".replace(" ", "-"))) as client:
        assert client.get("/health").status_code == 200
        for shown in (None, "Bearer", "Bearer open", "open-sesame", "Bearer open-sesame2", "Basic open-sesame"):
            headers = {} if shown is None else {"authorization": shown}
            assert status(client.get("/items", headers=headers)) == (401, "unauthorized")
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert client.get("/items", headers={"authorization": f"{scheme} open-sesame"}).status_code == 200


@pytest.mark.parametrize("limit", ["0000000010000", "51", "0", "-1", "1e1", "9" * 5000, "٣", " 5"])
def test_a_limit_that_is_none(client: TestClient, limit: str) -> None:
    assert status(client.get("/items", params={"limit": limit})) == (422, "invalid_request")


def test_a_long_filter_is_refused_and_a_short_one_costs_little(client: TestClient) -> None:
    long = client.post("/recommend", json={"history": [], "where": "price < " + "1" * 2500})
    assert status(long) == (422, "invalid_request")
    began = time.monotonic()
    body = {"requests": [{"history": [], "where": f"price < {'1' * 1900}x"}] * 8}
    assert all("error" in one for one in client.post("/recommend", json=body).json()["results"])
    assert time.monotonic() - began < 20


class PanicException(BaseException):
    """As a panic of native code reaches Python."""


def test_a_panic_costs_its_request_only() -> None:
    def work(asks: list[int]) -> list[int]:
        if -1 in asks:
            raise PanicException("index out of bounds")
        return asks

    async def main() -> None:
        async with Batcher(work, Limits(requests=1, batch=4, wait_ms=50, queue=10, timeout_s=10)) as batcher:
            found = await asyncio.gather(*(batcher.submit([n]) for n in (1, -1, 2)), return_exceptions=True)
            assert found[0] == [1]
            assert found[2] == [2]
            assert isinstance(found[1], CoreError)
            assert as_api_error(found[1]).status == 500
            assert batcher.state == "ok"
            assert await batcher.submit([3]) == [3]

    asyncio.run(main())


def test_a_dead_worker_is_seen() -> None:
    async def main() -> None:
        async with Batcher(list, Limits(requests=1, grace_s=0.1)) as batcher:
            batcher._task.cancel()
            await asyncio.sleep(0.01)
            assert batcher.state == "broken"
            with pytest.raises(ClosedError, match="broken"):
                await batcher.submit([1])

    asyncio.run(main())


def _until_ok(batcher: Batcher[int, int]) -> bool:
    end = time.monotonic() + 20
    while batcher.state != "ok" and time.monotonic() < end:
        time.sleep(0.01)
    return batcher.state == "ok"


def test_a_worker_that_does_not_come_back_is_seen() -> None:
    go_on = threading.Event()

    def work(asks: list[int]) -> list[int]:
        go_on.wait(30)
        return asks

    async def main() -> None:
        async with Batcher(work, Limits(requests=1, batch=1, wait_ms=0, timeout_s=0.05)) as batcher:
            with pytest.raises(TimeoutError):
                await batcher.submit([1])
            await asyncio.sleep(0.05)
            assert batcher.state == "stuck"
            go_on.set()
            assert await asyncio.to_thread(_until_ok, batcher)
            assert await batcher.submit([2]) == [2]

    asyncio.run(main())


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "\u00b2"])
def test_a_length_that_is_none(client: TestClient, length: str) -> None:
    refused = client.post("/recommend", content=b"{}", headers={"content-length": length.encode("latin-1")})  # type: ignore[dict-item]
    assert status(refused) == (413, "body_too_large")


def test_half_a_request_does_not_hold_its_connection() -> None:
    import uvicorn

    from metatoken.serve.deadline import with_deadline

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(0.6)  # longer than the deadline, which is one for headers alone
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, port=0, log_level="critical", http=with_deadline(0.3), lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        place, whole = listener.getsockname(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection(place, timeout=30) as half:
                half.sendall(sent)
                assert half.recv(100) == b""  # closed by the server
        with socket.create_connection(place, timeout=30) as sound:
            for _ in range(2):
                sound.sendall(whole)
                got = b""
                while not got.endswith(b"ok") and (part := sound.recv(1000)):  # in as many pieces as it comes
                    got += part
                assert b"200 OK" in got
    finally:
        server.should_exit = True
        thread.join(30)
