"""The endpoints, as a client sees them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from metatoken.recommend import Answer, Recommender
from metatoken.serve.answers import ANSWERS, Failed
from metatoken.serve.app import create_app
from tests.lists import assert_same_list
from tests.serve.conftest import LIMITS

JSON = {"content-type": "application/json"}


def error_of(response: Any, status: int, code: str) -> dict[str, Any]:
    """The error object of an answer that must be one, of the one shape."""
    assert response.status_code == status, response.text
    value = response.json()
    assert list(value) == ["error"]
    error: dict[str, Any] = value["error"]
    assert error["code"] == code
    assert error["message"]
    assert "Traceback" not in response.text
    return error


def same(found: dict[str, Any], expected: Answer) -> None:
    """The same items in the same order, but for rounding."""
    assert [i["rank"] for i in found["items"]] == [one.rank for one in expected.items]
    assert_same_list(
        [(i["item"], i["title"]) for i in found["items"]],
        [i["score"] for i in found["items"]],
        [(one.item, one.title) for one in expected.items],
        [one.score for one in expected.items],
    )


def ask(body: dict[str, Any], recommender: Recommender) -> Answer:
    from metatoken.recommend import Request

    return recommender.answer([Request(**body)])[0]


def bodies(recommender: Recommender) -> list[dict[str, Any]]:
    users, items = recommender.history.users.raw, list(recommender.history.items.raw)
    made: list[dict[str, Any]] = [{"user": user} for user in users[:12]]
    made += [{"history": items[n : n + 1 + n % 5], "k": 1 + n} for n in range(12)]
    made += [{"user": users[n], "where": "title contains 'a'", "model": "generation"} for n in range(4)]
    made += [{"user": users[n], "model": "item_head", "exclude_seen": False, "k": 25} for n in range(4)]
    made += [{"user": "stranger", "history": [items[3], "lost"], "allow": items[:9], "deny": [items[1], "gone"]}]
    return made


def test_a_single_request(client: TestClient, recommender: Recommender) -> None:
    for body in bodies(recommender):
        response = client.post("/recommend", json=body)
        assert response.status_code == 200, response.text
        found, expected = response.json(), ask(body, recommender)
        assert list(found) == ["user", "items", "unknown_history", "unknown_listed", "version"]
        same(found, expected)
        assert found["user"] == body.get("user")
    assert found["unknown_history"] == ["lost"]
    assert found["unknown_listed"] == ["gone"]


def test_a_batch_has_an_answer_or_an_error_for_each(client: TestClient, recommender: Recommender) -> None:
    good = bodies(recommender)[:3]
    mixed = [good[0], {"user": "nobody"}, good[1], {"user": good[2]["user"], "where": "colour == 'red'"}, good[2]]
    response = client.post("/recommend", json={"requests": mixed})
    assert response.status_code == 200
    results = response.json()["results"]
    for place, body in ((0, good[0]), (2, good[1]), (4, good[2])):
        same(results[place], ask(body, recommender))
    assert results[1]["error"]["code"] == "unknown_user"
    assert results[1]["user"] == "nobody"
    assert results[3]["error"] == {
        "code": "invalid_filter", "field": "where", "position": 1,
        "message": results[3]["error"]["message"],
    }  # fmt: skip
    assert "no column colour" in results[3]["error"]["message"]
    assert client.post("/recommend", json={"requests": [{"user": "nobody"}]}).json()["results"][0]["error"]


def test_concurrent_requests_are_answered_as_if_alone(recommender: Recommender) -> None:
    """Batched answers equal single ones: the same items in the same order, scores but for rounding."""
    asked = bodies(recommender) * 2
    limits = replace(LIMITS, wait_ms=50.0, queue=100, batch=16)
    with TestClient(create_app(recommender, limits)) as client, ThreadPoolExecutor(len(asked)) as pool:
        responses = list(pool.map(lambda body: client.post("/recommend", json=body), asked))
        metrics = client.get("/metrics").text
    for body, response in zip(asked, responses, strict=True):
        assert response.status_code == 200, response.text
        same(response.json(), ask(body, recommender))
    sizes = {line.split("}")[0]: float(line.split()[1]) for line in metrics.splitlines() if "batch_size_bucket" in line}
    assert sizes['metatoken_batch_size_bucket{le="2.0"'] < sizes['metatoken_batch_size_bucket{le="+Inf"']


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"", 400, "invalid_json", "not JSON"),
        (b"{", 400, "invalid_json", "not JSON"),
        (b'{"user": "\\ud800"}', 400, "invalid_json", "not JSON"),
        (b"\xff\xfe", 400, "invalid_json", "not JSON"),
        (b"[" * 5000, 400, "invalid_json", "not JSON"),
        (b"[]", 422, "invalid_request", "the body: "),
        (b"{}", 422, "invalid_request", "neither"),
        (b'{"user": 7}', 422, "invalid_request", "user: Input should be a valid string"),
        (b'{"user": ""}', 422, "invalid_request", "user: "),
        (b'{"user": "a", "k": 0}', 422, "invalid_request", "k: "),
        (b'{"user": "a", "k": "3"}', 422, "invalid_request", "k: Input should be a valid integer"),
        (b'{"user": "a", "k": true}', 422, "invalid_request", "k: Input should be a valid integer"),
        (b'{"user": "a", "k": 41}', 422, "invalid_request", "k: expected at most 40, got 41"),
        (b'{"user": "a", "model": "best"}', 422, "invalid_request", "model: "),
        (b'{"user": "a", "histroy": []}', 422, "invalid_request", "histroy: Extra inputs are not permitted"),
        (b'{"history": [1]}', 422, "invalid_request", "history.0: "),
        (b'{"history": "a"}', 422, "invalid_request", "history: "),
        (json.dumps({"history": ["a"] * 31}).encode(), 422, "invalid_request", "history: expected at most 30, got 31"),
        (json.dumps({"user": "a", "deny": ["a"] * 51}).encode(), 422, "invalid_request", "deny: expected at most 50"),
        (b'{"requests": []}', 422, "invalid_request", "requests: "),
        (b'{"requests": {}}', 422, "invalid_request", "requests: "),
        (b'{"requests": [{"user": "a", "k": 0}]}', 422, "invalid_request", "requests.0.k: "),
        (b'{"requests": [{"user": "a"}], "k": 3}', 422, "invalid_request", "k: "),
        (
            json.dumps({"requests": [{"user": "a"}] * 9}).encode(),
            422,
            "invalid_request",
            "requests: expected at most 8",
        ),
        (b'{"user": "nobody"}', 404, "unknown_user", "known users; give a history to ask for a stranger"),
        (b'{"history": [], "where": "title ="}', 422, "invalid_filter", "character 7"),
        (b'{"history": [], "where": "price < 3"}', 422, "invalid_filter", "no column price"),
    ],
)
def test_bodies_that_cannot_be_used(body: bytes, status: int, code: str, message: str, client: TestClient) -> None:
    error = error_of(client.post("/recommend", content=body, headers=JSON), status, code)
    assert message in error["message"]
    assert client.post("/recommend", json={"history": []}).status_code == 200


def test_every_fault_of_a_body_is_named(client: TestClient) -> None:
    error = error_of(client.post("/recommend", json={"user": 1, "k": 0, "x": 1}), 422, "invalid_request")
    assert {one["field"] for one in error["fields"]} == {"user", "k", "x"}


def test_a_filter_that_lets_nothing_pass_or_is_blank(client: TestClient) -> None:
    assert client.post("/recommend", json={"history": [], "where": "title is null"}).json()["items"] == []
    blank = client.post("/recommend", json={"history": [], "where": "  "}).json()
    assert blank == client.post("/recommend", json={"history": []}).json()


def test_the_body_has_a_limit_said_or_not(client: TestClient) -> None:
    large = b" " * (LIMITS.body + 1)
    response = client.post("/recommend", content=large)
    assert "20000 bytes" in error_of(response, 413, "body_too_large")["message"]
    assert response.headers["connection"] == "close"
    error_of(client.post("/recommend", content=iter([large[:15_000], large[15_000:]])), 413, "body_too_large")
    error_of(client.post("/recommend", content=b"{}", headers={"content-length": "x"}), 413, "body_too_large")
    body = json.dumps({"history": []}).encode()
    assert client.post("/recommend", content=body + b" " * (LIMITS.body - len(body)), headers=JSON).status_code == 200


def test_paths_and_methods(client: TestClient) -> None:
    error_of(client.get("/nothing"), 404, "not_found")
    response = client.get("/recommend")
    error_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    error_of(client.post("/items"), 405, "method_not_allowed")
    assert client.get("/docs").status_code == 404  # it would load scripts from elsewhere
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/recommend", "/answer", "/explain", "/items", "/item", "/health", "/metrics"}


def test_answers_are_as_they_are_described(client: TestClient, recommender: Recommender) -> None:
    """`/openapi.json` promises members; each answer has all of them and no others."""
    user, item = recommender.history.users.raw[0], recommender.catalogue.items.raw[0]
    several = {"requests": [{"user": user}, {"user": "nobody"}, {"history": [item], "where": "colour = 1"}]}
    given = {
        "/recommend": [client.post("/recommend", json={"user": user, "k": 2}), client.post("/recommend", json=several)],
        "/items": [client.get("/items", params={"limit": 2})],
        "/health": [client.get("/health")],
        "/item": [client.get("/item", params={"id": item})],
    }
    for path, responses in given.items():
        for response in responses:
            assert response.status_code == 200, response.text
            told = TypeAdapter(ANSWERS[path]).validate_python(response.json(), strict=True)
            assert told.model_dump(exclude_unset=True) == response.json()
    wrong = [client.get("/nothing"), client.post("/recommend", json={"user": 1}), client.get("/item?id=nothing")]
    for response in (*wrong, client.post("/recommend", json={"user": user, "where": "colour = 1"})):
        assert Failed.model_validate(response.json()).model_dump(exclude_unset=True) == response.json()
    schema = client.get("/openapi.json").json()
    answered = schema["paths"]["/recommend"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    names = {one["$ref"].rpartition("/")[2] for one in answered["anyOf"]}
    assert names == {"ListedNow", "Several"} <= set(schema["components"]["schemas"])
    assert "#/$defs/" not in json.dumps(schema)  # which would be sought in the whole document


def test_items_by_title(client: TestClient, recommender: Recommender) -> None:
    catalogue = recommender.catalogue
    title = catalogue.titles[7]
    found = client.get("/items", params={"q": title.upper(), "limit": 3}).json()["items"]
    assert found[0] == {"item": catalogue.items.raw[7], "title": title}
    assert (
        client.get("/items", params={"q": catalogue.items.raw[9]}).json()["items"][0]["item"] == catalogue.items.raw[9]
    )
    assert client.get("/items", params={"q": "no such words"}).json() == {"version": "unsaved", "items": []}
    assert len(client.get("/items").json()["items"]) == 20
    for query in ({"limit": 0}, {"limit": 51}, {"limit": "x"}, {"limit": -1}, {"q": "a" * 201}):
        error_of(client.get("/items", params=query), 422, "invalid_request")  # type: ignore[arg-type]


def test_health(client: TestClient, recommender: Recommender) -> None:
    state = client.get("/health").json()
    assert state["status"] == "ok"
    assert (state["users"], state["items"]) == (80, 60)
    assert state["columns"] == recommender.catalogue.columns
    assert state["limits"]["k"] == 40


def test_metrics_count(client: TestClient) -> None:
    client.post("/recommend", json={"history": []})
    client.post("/recommend", json={"user": "nobody"})
    client.post("/recommend", json={"requests": [{"user": "nobody"}, {"history": []}]})
    for n in range(3):
        client.get(f"/nothing/{n}")
    client.post("/recommend", content=b" " * 20_001)
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    for expected in (
        'metatoken_requests_total{method="POST",path="/recommend",status="200"} 2.0',
        'metatoken_requests_total{method="POST",path="/recommend",status="404"} 1.0',
        'metatoken_requests_total{method="POST",path="/recommend",status="413"} 1.0',
        'metatoken_requests_total{method="GET",path="other",status="404"} 3.0',
        'metatoken_errors_total{code="unknown_user"} 2.0',
        'metatoken_errors_total{code="not_found"} 3.0',
        'metatoken_errors_total{code="body_too_large"} 1.0',
        'metatoken_request_seconds_bucket{le="+Inf",path="/recommend"} 4.0',
        'metatoken_request_seconds_count{path="/recommend"} 4.0',
        'metatoken_batch_size_bucket{le="1.0"} 2.0',
        "metatoken_queue_length 0.0",
        "metatoken_requests_running 1.0",
    ):
        assert expected in lines, response.text
    buckets = [
        float(line.split()[-1])
        for line in lines
        if line.startswith("metatoken_request_seconds_bucket") and 'path="/recommend"' in line
    ]
    assert buckets == sorted(buckets)
    assert "# TYPE metatoken_request_seconds histogram" in lines


def test_every_answer_forbids_content_from_elsewhere(client: TestClient) -> None:
    paths = ("/", "/page/app.js", "/page/style.css", "/health", "/nothing")
    for response in (
        *map(client.get, paths),
        client.post("/recommend", content=b"x", headers=JSON),
        client.post("/recommend", content=b" " * 20_001),
    ):
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert response.headers["x-content-type-options"] == "nosniff"
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"


class Held:
    """A recommender whose model waits until it is let go."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender, self.free, self.begun = recommender, threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recommender, name)

    def run(self, prepared: list[Any]) -> list[Answer]:
        self.begun.set()
        assert self.free.wait(20)
        return self._recommender.run(prepared)


def test_a_full_queue_says_when_to_come_back(recommender: Recommender) -> None:
    held, body = Held(recommender), {"requests": [{"history": []}] * 4}
    limits = replace(LIMITS, requests=4, queue=8, batch=4)
    with TestClient(create_app(held, limits)) as client, ThreadPoolExecutor(8) as pool:  # type: ignore[arg-type]
        first = pool.submit(client.post, "/recommend", json=body)
        assert held.begun.wait(20)
        waiting = [pool.submit(client.post, "/recommend", json=body) for _ in range(2)]
        while "metatoken_queue_length 8.0" not in client.get("/metrics").text:
            pass
        refused = client.post("/recommend", json={"history": []})
        assert "8 requests are waiting" in error_of(refused, 503, "overloaded")["message"]
        assert refused.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200  # the event loop is free while the model works
        held.free.set()
        assert [one.result().status_code for one in (first, *waiting)] == [200, 200, 200]
        assert client.post("/recommend", json={"history": []}).status_code == 200


def test_an_answer_that_takes_too_long(recommender: Recommender) -> None:
    held = Held(recommender)
    with TestClient(create_app(held, replace(LIMITS, timeout_s=0.2, grace_s=0.2))) as client:  # type: ignore[arg-type]
        error_of(client.post("/recommend", json={"history": []}), 504, "timeout")
        held.free.set()
        assert client.post("/recommend", json={"history": []}).status_code == 200


def test_a_fault_of_ours_shows_nothing(recommender: Recommender) -> None:
    class Broken(Held):
        def run(self, prepared: list[Any]) -> list[Answer]:
            raise RuntimeError(f"secret detail of {len(prepared)}")

    app = create_app(Broken(recommender), LIMITS)  # type: ignore[arg-type]
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.post("/recommend", json={"history": []})
        error_of(response, 500, "internal")
        assert "secret" not in response.text
        assert 'metatoken_errors_total{code="internal"} 1.0' in client.get("/metrics").text
    with TestClient(app) as client, pytest.raises(RuntimeError, match="secret detail of 1"):
        client.post("/recommend", json={"history": []})  # it is raised again, for the log
