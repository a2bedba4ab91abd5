"""The JSON that goes out, as `/openapi.json` describes it; tests hold every answer against these models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from metatoken.recommend.requests import Model
from metatoken.serve.messages import Ask, AskPair, Asks, AskWhy, Reload


class Said(BaseModel):
    """Base of all answers: they have these members and no others."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ErrorField(Said):
    """A member of a request that cannot be used."""

    field: str
    message: str


class ErrorObject(Said):
    """What went wrong."""

    code: str = Field(description="A name for programs.")
    message: str = Field(description="Words for people.")
    field: str | None = Field(default=None, description="The member of the request that it is about.")
    position: int | None = Field(default=None, description="Where in a filter, from 0.")
    fields: list[ErrorField] | None = Field(default=None, description="The first members that cannot be used.")


class Failed(Said):
    """The one shape of errors."""

    error: ErrorObject


class Item(Said):
    """An item of a list."""

    rank: int = Field(description="From 1.")
    item: str
    title: str = Field(description="Empty where unknown.")
    score: float = Field(description="Probability under the model that was asked.")


class Listed(Said):
    """What came of one request."""

    user: str | None
    items: list[Item] = Field(description="Best first.")
    unknown_history: list[str] = Field(description="Ids of the given history that are no items of the run.")
    unknown_listed: list[str] = Field(description="Ids of `allow` and `deny` that are no items of the run.")


class ListedNow(Listed):
    """A list, and the version that made it."""

    version: str


class FailedOne(Failed):
    """A request of several that failed."""

    user: str | None


class Several(Said):
    """Answers in the order of the requests."""

    results: list[Listed | FailedOne]
    version: str


class NamedItem(Said):
    """An item by its id and title."""

    item: str
    title: str


class Found(Said):
    """Items that a search found, best first."""

    items: list[NamedItem]
    version: str


class Health(Said):
    """Whether requests are taken, and what may be asked."""

    status: Literal["ok", "stuck", "stopping", "broken"]
    version: str
    users: int
    items: int
    columns: dict[str, str] = Field(description="Columns of the item table that a filter may name.")
    models: list[Model]
    tasks: list[str] = Field(description="What may be asked about a pair.")
    limits: dict[str, Any]
    shows_users: bool


class Reloaded(Said):
    """The version that is served now, and the one before."""

    version: str
    was: str


class ItemDetails(Said):
    """What is known about an item."""

    item: str
    title: str
    tokens: str
    columns: dict[str, Any]
    version: str


class PairAnswer(Said):
    """A rating or a text about a pair."""

    task: str
    user: str
    item: str
    answer: float | str
    low: float | None = Field(description="Least value of the interval that was asked for.")
    high: float | None = Field(description="Its greatest value.")
    version: str


class Users(Said):
    """Ids of users."""

    users: list[str]
    version: str


class History(Said):
    """The latest items of a user, oldest first, and how many there are."""

    user: str
    items: list[NamedItem]
    total: int
    version: str


ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": Failed, "description": "What went wrong."}}
ANSWERS: dict[str, Any] = {
    "/recommend": ListedNow | Several, "/items": Found, "/health": Health, "/reload": Reloaded,
    "/item": ItemDetails, "/answer": PairAnswer, "/explain": PairAnswer, "/users": Users, "/history": History,
}  # fmt: skip


def described(path: str) -> dict[str, Any]:
    """How a route is described: its answer, errors, and body; arguments of `FastAPI.add_api_route`."""
    found: dict[str, Any] = {"responses": ERRORS, "response_model": ANSWERS.get(path)}
    if path in BODIES:
        required = path != "/reload"
        content = {"application/json": {"schema": BODIES[path]}}
        found["openapi_extra"] = {"requestBody": {"required": required, "content": content}}
    return found


def _asked() -> dict[str, Any]:
    """One request or several; written out, since a reference would be sought in the whole document."""
    one, several = Ask.model_json_schema(), Asks.model_json_schema()
    del several["$defs"]
    several["properties"]["requests"]["items"] = one
    return {"oneOf": [one, several]}


BODIES: dict[str, dict[str, Any]] = {
    "/recommend": _asked(), "/answer": AskPair.model_json_schema(), "/explain": AskWhy.model_json_schema(),
    "/reload": Reload.model_json_schema(),
}  # fmt: skip
