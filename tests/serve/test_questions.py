"""Questions about pairs, as a client asks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from metatoken.errors import ArgumentError, UnknownIdError
from metatoken.recommend import Answered, Question, Recommender
from metatoken.serve.answers import ANSWERS
from metatoken.serve.app import create_app
from metatoken.serve.messages import LONGEST_TEXT
from tests.conftest import TrainedRun
from tests.serve.conftest import LIMITS
from tests.serve.test_api import error_of


@pytest.fixture(scope="module")
def answering(answering_run: TrainedRun) -> Recommender:
    return Recommender.load(answering_run.run.folder)


@pytest.fixture
def client(answering: Recommender) -> Iterator[TestClient]:
    with TestClient(create_app(answering, LIMITS), raise_server_exceptions=False) as client:
        yield client


def pair(answering: Recommender) -> tuple[str, str]:
    return answering.history.users.raw[3], answering.catalogue.items.raw[5]


def test_answers_are_those_of_python(client: TestClient, answering: Recommender) -> None:
    user, item = pair(answering)
    body: dict[str, Any] = {"task": "rating", "user": user, "item": item}
    found = client.post("/answer", json=body).json()
    assert found["answer"] == pytest.approx(answering.rate(user, [item])[0], abs=1e-5)
    assert found["version"] == answering.version
    why = client.post("/explain", json={"user": user, "item": item}).json()
    assert (
        why["answer"]
        == answering.explain(user, [item])[0]
        == answering.answerer.answer("explanation", [user], [item])[0]
    )
    for one in (found, why):
        assert ANSWERS["/answer"].model_validate(one, strict=True).model_dump() == one
    body = {"task": "review_summary", "user": user, "item": item, "fields": {"review": "warm sound"}}
    assert client.post("/answer", json=body).json()["answer"] == answering.summarize(user, item, "warm sound")


def test_intervals_of_ratings(client: TestClient, answering: Recommender) -> None:
    user, item = pair(answering)
    found = client.post("/answer", json={"task": "rating", "user": user, "item": item, "interval": 0.8}).json()
    assert found["low"] <= found["answer"] <= found["high"]
    for level, code in ((80, "invalid_request"), ("0.8", "invalid_request")):
        body = {"task": "rating", "user": user, "item": item, "interval": level}
        assert "interval" in error_of(client.post("/answer", json=body), 422, code)["message"]
    body = {"task": "explanation", "user": user, "item": item, "interval": 0.8}
    assert "writes" in error_of(client.post("/answer", json=body), 422, "invalid_request")["message"]


def test_a_mixture_comes_back_in_its_order(answering: Recommender) -> None:
    users, items = answering.history.users.raw[:4], answering.catalogue.items.raw[:4]
    asked = [Question(("rating", "explanation")[at % 2], users[at], items[at]) for at in range(4)]
    found = answering.ask(asked)
    assert [(one.task, one.user, one.item) for one in found] == [(one.task, one.user, one.item) for one in asked]
    assert [type(one.answer) for one in found] == [float, str, float, str]
    alone = answering.ask([asked[2]])[0]
    assert isinstance(alone, Answered)
    assert float(alone.answer) == pytest.approx(float(found[2].answer), abs=1e-5)


def test_health_says_what_may_be_asked(client: TestClient, answering: Recommender) -> None:
    assert client.get("/health").json()["tasks"] == list(answering.answerer.tasks)
    assert "explanation" in answering.answerer.tasks


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        ({"user": "nobody"}, 404, "unknown_user", "nobody"),
        ({"item": "nothing"}, 404, "unknown_item", "nothing"),
        ({"task": "ratings"}, 422, "invalid_request", "did you mean 'rating'"),
        ({"task": "review_summary"}, 422, "invalid_request", "needs a review"),
        ({"fields": {"review": "good"}}, 422, "invalid_request", "does not use 'review'"),
        ({"template": "seq-1"}, 422, "invalid_request", "seq-1"),
        ({"fields": {"review": "x" * (LONGEST_TEXT + 1)}}, 422, "invalid_request", str(LONGEST_TEXT)),
        ({"user": 7}, 422, "invalid_request", "user: "),
        ({"more": 1}, 422, "invalid_request", "more: "),
    ],
)
def test_what_cannot_be_answered_is_refused(
    client: TestClient, answering: Recommender, change: dict[str, Any], status: int, code: str, said: str
) -> None:
    user, item = pair(answering)
    body = {"task": "rating", "user": user, "item": item, **change}
    assert said in error_of(client.post("/answer", json=body), status, code)["message"]


def test_no_json_is_refused(client: TestClient) -> None:
    for path in ("/answer", "/explain"):
        error_of(client.post(path, content=b"{", headers={"content-type": "application/json"}), 400, "invalid_json")
        error_of(
            client.post(path, content=b"{}", headers={"content-type": "text/plain"}), 415, "unsupported_media_type"
        )


def test_a_run_that_only_ranks_says_so(recommender: Recommender) -> None:
    user, item = recommender.history.users.raw[0], recommender.catalogue.items.raw[0]
    with pytest.raises(ArgumentError, match="it has none"):
        recommender.explain(user, [item])
    with pytest.raises(ArgumentError, match="items: expected a list of ids of items"):
        recommender.rate(user, item)
    with TestClient(create_app(recommender, LIMITS), raise_server_exceptions=False) as client:
        error_of(client.post("/explain", json={"user": user, "item": item}), 422, "invalid_request")


def test_strangers_are_named(answering: Recommender) -> None:
    with pytest.raises(UnknownIdError, match="nobody"):
        answering.rate("nobody", list(answering.catalogue.items.raw[:1]))


def test_an_explanation_may_be_about_something(client: TestClient, answering: Recommender) -> None:
    user, item = pair(answering)
    told = client.post("/explain", json={"user": user, "item": item, "feature": "warm sound"}).json()["answer"]
    assert told == answering.explain(user, [item], ["warm sound"])[0]
    assert told == answering.ask([Question("explanation", user, item, {"feature": "warm sound"})])[0].answer
    assert answering.explain(user, [item], [""]) == answering.explain(user, [item])
    body = {"task": "explanation", "user": user, "item": item, "feature": "warm sound"}
    assert "feature" in error_of(client.post("/answer", json=body), 422, "invalid_request")["message"]
    with pytest.raises(ArgumentError, match="one for each of 1 items, got 2"):
        answering.explain(user, [item], ["warm", "sound"])


@pytest.mark.parametrize("path", ["/answer", "/explain", "/recommend"])
def test_what_is_wrong_with_many_fields_is_said_of_the_first(client: TestClient, path: str) -> None:
    many = {f"f{number}": number for number in range(1000)}
    error = error_of(client.post(path, json=many), 422, "invalid_request")
    assert len(error["fields"]) == 20
    long = error_of(client.post(path, json={"user": "u", "item": "i", "z" * 10_000: 1}), 422, "invalid_request")
    (named,) = [one["field"] for one in long["fields"] if one["field"].startswith("z")]
    assert named == "z" * 200 + "..."
    assert len(long["message"]) < 500
