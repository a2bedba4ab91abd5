"""What is asked and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metatoken.config import expect_list, shown
from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError, UnknownIdError

STRANGER = "give a history to ask for a stranger"
Model = Literal["fused", "item_head", "generation"]


def check_ids(argument: str, ids: object) -> None:
    """Refuses what is no collection of raw ids, such as a single text: `ArgumentError`."""
    expect_list(argument, ids, f"ids of {'items' if argument in ('history', 'items', 'allow', 'deny') else 'users'}")


def user_row(users: IdMap, user: str) -> int:
    """Row of a user; `UnknownIdError` says how to ask for one who has none."""
    try:
        return users.row(user)
    except UnknownIdError as error:
        raise UnknownIdError(f"{error}; {STRANGER}") from None


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        rank: From 1.
        item: Raw id.
        title: Title in the item table; empty where unknown.
        score: Probability under the model that was asked.
    """

    rank: int
    item: str
    title: str
    score: float


@dataclass(frozen=True)
class Request:
    """Who asks for what.

    Attributes:
        user: Raw id. With `history`, only a name and may be unknown; without, the known history is used.
        history: Raw item ids, oldest first.
        k: How many items.
        model: `fused`, `item_head`, or `generation` (beam search over the trie).
        exclude_seen: Leave out items of the history.
        where: Filter over the item table such as `price < 20 and brand != "A"`, see `metatoken.data.conditions`.
        allow: Raw ids of the only eligible items; None allows all.
        deny: Raw ids of excluded items.
    """

    user: str | None = None
    history: Sequence[str] | None = None
    k: int = 10
    model: Model = "fused"
    exclude_seen: bool = True
    where: str | None = None
    allow: Sequence[str] | None = None
    deny: Sequence[str] = ()

    def check(self) -> None:
        """Refuses what can be refused without the run that is asked.

        Raises:
            ArgumentError: k is no integer of at least 1, the model is unknown, there is neither a user nor a history,
                or something else than a list of ids stands for one.
        """
        k: Any = self.k
        if isinstance(k, bool) or not isinstance(k, Integral) or int(k) < 1:
            raise ArgumentError("k", f"expected an integer of at least 1, got {shown(k)}")
        if self.model not in get_args(Model):
            raise ArgumentError("model", f"expected {', '.join(get_args(Model))}; got {shown(self.model)}")
        for name, ids in (("history", self.history), ("allow", self.allow), ("deny", self.deny)):
            if ids is not None:
                check_ids(name, ids)
        if self.history is None and self.user is None:
            raise ArgumentError("user", "expected a user id or a history, got neither")


@dataclass(frozen=True)
class Answer:
    """What came of one request.

    Attributes:
        user: User of the request.
        items: Best first; fewer than k only where no more are allowed.
        unknown_history: Ids of the given history that are no items of the run, in its order; the rest of it counted.
        unknown_listed: Ids of `allow` and `deny` that are no items of the run.
    """

    user: str | None
    items: list[Recommendation]
    unknown_history: tuple[str, ...] = ()
    unknown_listed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A request that has been checked, its ids as rows.

    Attributes:
        request: The request.
        user: User row, or None where the prompt is made of the history alone.
        history: int32 `[any]` item rows, oldest first.
        allow: int32 `[any]` item rows, or None.
        deny: int32 `[any]` item rows.
        unknown_history: See `Answer`.
        unknown_listed: See `Answer`.
    """

    request: Request
    user: int | None
    history: NDArray[np.int32]
    allow: NDArray[np.int32] | None
    deny: NDArray[np.int32]
    unknown_history: tuple[str, ...]
    unknown_listed: tuple[str, ...]
