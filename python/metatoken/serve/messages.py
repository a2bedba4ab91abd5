"""The JSON that goes in and out, and the one shape of errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import from_json
from starlette.responses import JSONResponse

from metatoken.errors import ConditionError, CoreError, MetatokenError, UnknownIdError
from metatoken.recommend.questions import Question
from metatoken.recommend.requests import Request
from metatoken.serve.batching import BusyError, ClosedError
from metatoken.serve.limits import Limits
from metatoken.serve.versions import RefusedError, ReloadingError

VERSION = "Metatoken-Version"  # header of every answer that a version had a part in
LONGEST_ID = 1000  # characters
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
LONGEST_FILTER = 2000  # characters; a command takes longer ones, but works for one person
LONGEST_TEXT = 10_000  # characters of a field; of a longer one the model would not read the end
MOST_NAMED, LONGEST_NAMED = 20, 200  # fields of a body that an error names, and characters of each; it may have 100,000
FAULT = "something went wrong here; the log of the server says what"


class Ask(BaseModel):
    """One request; the fields are those of `metatoken.recommend.Request`."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    user: Id | None = None
    history: list[Id] | None = None
    k: int = Field(default=10, ge=1)
    model: Literal["fused", "item_head", "generation"] = "fused"
    exclude_seen: bool = True
    where: str | None = Field(default=None, max_length=LONGEST_FILTER)
    allow: list[Id] | None = None
    deny: list[Id] = []

    @field_validator("k", "history", "allow", "deny")
    @classmethod
    def _few(cls, value: Any, info: ValidationInfo) -> Any:
        limit = "listed" if info.field_name in ("allow", "deny") else str(info.field_name)
        _at_most(value if isinstance(value, int) else len(value or ()), limit, info)
        return value

    def request(self) -> Request:
        """The same for the recommender; an empty filter lets all pass."""
        where = self.where if self.where and self.where.strip() else None
        return Request(**(self.model_dump() | {"where": where}))


class Asks(BaseModel):
    """Several requests."""

    model_config = ConfigDict(extra="forbid", strict=True)

    requests: list[Ask] = Field(min_length=1)

    @field_validator("requests", mode="before")
    @classmethod
    def _short(cls, value: Any, info: ValidationInfo) -> Any:
        _at_most(len(value) if isinstance(value, list) else 0, "requests", info)
        return value


class OfPair(BaseModel):
    """What is asked of a user and an item."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: Id
    item: Id


class AskWhy(OfPair):
    """Why a user would like an item, perhaps in terms of a feature."""

    feature: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None

    def question(self) -> Question:
        """The same for the recommender."""
        told = {} if self.feature is None else {"feature": self.feature}
        return Question("explanation", self.user, self.item, told)


class AskPair(OfPair):
    """A question about a pair; the fields are those of `metatoken.recommend.Question`."""

    task: Id
    fields: dict[Id, Annotated[str, Field(max_length=LONGEST_TEXT)]] = {}
    template: Id | None = None
    interval: float | None = Field(default=None, gt=0, lt=1)

    def question(self) -> Question:
        """The same for the recommender."""
        return Question(self.task, self.user, self.item, self.fields, self.template, self.interval)


class Reload(BaseModel):
    """Which version to take up."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: Id | None = None


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: Status of HTTP.
        code: Name for programs.
        message: Words for people.
        more: Further members of the error object.
        headers: Headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, more: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers
        self.document: dict[str, Any] = {"code": code, "message": message, **(more or {})}

    def response(self) -> JSONResponse:
        """`{"error": {"code", "message", ...}}`."""
        return JSONResponse({"error": self.document}, self.status, self.headers)


def parse(body: bytes, limits: Limits) -> tuple[list[Ask], bool]:
    """The requests in a body, and whether they came as a batch.

    Raises:
        ApiError: It is not JSON, or not of the form.
    """
    value, context = _json(body), {"limits": limits}
    with _named_fields():
        if isinstance(value, dict) and "requests" in value:
            return Asks.model_validate(value, context=context).requests, True
        return [Ask.model_validate(value, context=context)], False


def parse_question(body: bytes, kind: type[AskWhy | AskPair]) -> Question:
    """The question in a body of that kind; errors as in `parse`."""
    value = _json(body)
    with _named_fields():
        return kind.model_validate(value).question()


def _json(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from error


@contextmanager
def _named_fields() -> Iterator[None]:
    """Turns what a model refuses into an answer that names the fields."""
    try:
        yield
    except ValidationError as error:
        fields = [
            {"field": _cut(".".join(map(str, one["loc"]))), "message": _cut(one["msg"].removeprefix("Value error, "))}
            for one in error.errors(include_url=False, include_context=False, include_input=False)[:MOST_NAMED]
        ]
        first = f"{fields[0]['field'] or 'the body'}: {fields[0]['message']}"
        raise ApiError(422, "invalid_request", first, {"fields": fields}) from error


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_NAMED else f"{text[:LONGEST_NAMED]}..."


def parse_reload(body: bytes) -> Reload:
    """What a body asks for; an empty one asks for the usual run. `ApiError` where it is no JSON of that form."""
    value = _json(body or b"{}")
    try:
        return Reload.model_validate(value)
    except ValidationError as error:
        said = 'expected {"run": NAME}, the name of a folder beside the run that is served, or nothing'
        raise ApiError(422, "invalid_request", said) from error


def of_version(version: str, members: Mapping[str, Any]) -> JSONResponse:
    """An answer that says which version it is of, in its body and its header."""
    return JSONResponse({**members, "version": version}, headers={VERSION: version})


def check_json(content_type: str) -> None:
    """Refuses anything but JSON, so that a page of somebody else cannot send it without being asked: `ApiError`."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        said = f"expected the content type application/json, got {content_type[:100] or 'none'}"
        raise ApiError(415, "unsupported_media_type", said)


def as_api_error(error: BaseException) -> ApiError:
    """What went wrong with one request, as an answer; anything unexpected without its details."""
    if isinstance(error, ApiError):
        return error
    match error:
        case BusyError():
            answer = ApiError(503, "overloaded", f"{error}; try again", headers={"Retry-After": "1"})
        case ClosedError():
            answer = ApiError(503, "stopping", str(error), headers={"Retry-After": "5"})
        case ReloadingError() | RefusedError():
            busy = isinstance(error, ReloadingError)
            answer = ApiError(409 if busy else 422, "reloading" if busy else "reload_refused", str(error))
        case TimeoutError():
            answer = ApiError(504, "timeout", "the answer took too long; ask for less, or try again")
        case CoreError():
            answer = ApiError(500, "internal", FAULT)
        case UnknownIdError():
            answer = ApiError(404, "unknown_user", str(error), {"field": "user"})
        case ConditionError():
            answer = ApiError(422, "invalid_filter", str(error), {"field": "where", "position": error.position})
        case MetatokenError():
            answer = ApiError(422, "invalid_request", str(error))
        case _:
            answer = ApiError(500, "internal", FAULT)
    return answer


def _at_most(size: int, limit: str, info: ValidationInfo) -> None:
    most = getattr((info.context or {}).get("limits", Limits()), limit)
    if size > most:
        raise ValueError(f"expected at most {most}, got {size}")
