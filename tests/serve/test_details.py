"""What is known about single items and users, and what is not shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from metatoken.recommend import Recommender
from metatoken.serve.answers import ANSWERS
from metatoken.serve.app import create_app
from tests.serve.conftest import LIMITS


@pytest.fixture
def people(recommender: Recommender) -> Iterator[TestClient]:
    with TestClient(create_app(recommender, LIMITS, people=True)) as client:
        yield client


def test_all_columns_and_tokens_of_an_item(client: TestClient, recommender: Recommender) -> None:
    raw = recommender.catalogue.items.raw[7]
    found = client.get("/item", params={"id": raw})
    assert found.status_code == 200
    frame = recommender.catalogue.frame
    assert found.json() == {
        "item": raw,
        "title": recommender.catalogue.titles[7],
        "tokens": recommender.module.vocabulary.tokens_of(item=raw),
        "columns": {"categories": frame["categories"][7].to_list()},
        "version": recommender.version,
    }
    assert found.headers["Metatoken-Version"] == recommender.version


@pytest.mark.parametrize("raw", ["", "nothing", "x" * 5000])
def test_an_item_that_is_not_there(raw: str, client: TestClient) -> None:
    found = client.get("/item", params={"id": raw})
    assert found.status_code == 404
    error = found.json()["error"]
    assert (error["code"], error["field"]) == ("unknown_item", "item")
    assert len(error["message"]) < 1200


def test_users_are_not_shown_unless_that_is_switched_on(client: TestClient, people: TestClient) -> None:
    for path in ("/users?q=u", "/history?user=u0001"):
        assert client.get(path).status_code == 404
        assert client.get(path).json()["error"]["code"] == "not_found"
        assert people.get(path).status_code == 200
    assert client.get("/health").json()["shows_users"] is False
    assert people.get("/health").json()["shows_users"] is True


def test_user_ids_are_completed(people: TestClient, recommender: Recommender) -> None:
    raw = recommender.history.users.raw
    begin = raw[0][:-1]
    found = people.get("/users", params={"q": begin}).json()["users"]
    assert found == [one for one in raw if one.startswith(begin)][:12]
    assert people.get("/users", params={"q": "zzz"}).json()["users"] == []
    assert people.get("/users", params={"q": ""}).json()["error"]["code"] == "invalid_request"


def test_a_known_history(people: TestClient, recommender: Recommender) -> None:
    raw = recommender.history.users.raw[3]
    rows = recommender.history.sequences()[3]
    found = people.get("/history", params={"user": raw}).json()
    names = recommender.catalogue.items.raw
    assert [one["item"] for one in found["items"]] == [names[row] for row in rows[-LIMITS.history :]]
    assert found["total"] == len(rows)
    assert ANSWERS["/history"].model_validate(found, strict=True).model_dump() == found
    users = people.get("/users", params={"q": raw[:2]}).json()
    assert ANSWERS["/users"].model_validate(users, strict=True).model_dump() == users
    assert people.get("/history", params={"user": "nobody"}).json()["error"]["code"] == "unknown_user"
