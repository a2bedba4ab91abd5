"""Names of users and items: raw ids, rows, code tuples and token strings `<a_17><b_3><c_201>`, every way round."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metatoken.data.ids import IdMap
from metatoken.data.ragged import offsets_of
from metatoken.errors import ArgumentError, UnknownIdError

Kind = Literal["user", "item"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, eq=False)
class Names:
    """Codes of users and items. A token is a code of a level; its local id counts the tokens of all levels.

    Attributes:
        users: Raw ids of the users, in the order of their rows.
        items: Raw ids of the items, in the order of their rows.
        user_codes: int32 `[n_users, depth]`, padded with -1.
        item_codes: int32 `[n_items, depth]`, padded with -1.
        levels: Tokens of each level.
    """

    users: IdMap
    items: IdMap
    user_codes: NDArray[np.int32]
    item_codes: NDArray[np.int32]
    levels: tuple[int, ...]

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)

    def ids(self, kind: Kind) -> IdMap:
        """Raw ids of a kind, "user" or "item"; else `ArgumentError`."""
        if kind not in ("user", "item"):
            raise ArgumentError("kind", f"expected 'user' or 'item', got {kind!r}")
        return self.users if kind == "user" else self.items

    def nodes(self, kind: Kind) -> slice:
        """Rows of a kind where users and items stand in one array, users first."""
        return slice(0, self.n_users) if kind == "user" else slice(self.n_users, None)

    @property
    def depth(self) -> int:
        """Most tokens of an id."""
        return len(self.levels)

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all levels."""
        return sum(self.levels)

    @cached_property
    def level_offsets(self) -> NDArray[np.int64]:
        """Local id of the first token of each level, and the number of tokens, int64 `[depth + 1]`."""
        return offsets_of(np.array(self.levels))

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens by local id: `<a_0>`, `<a_1>`, ... `<b_0>`, ..."""
        return [f"<{LETTERS[level]}_{code}>" for level, size in enumerate(self.levels) for code in range(size)]

    @cached_property
    def user_tokens(self) -> NDArray[np.int64]:
        """Local token ids of each user, int64 `[n_users, depth]`, padded with -1."""
        return self.tokens_of_codes(self.user_codes)

    @cached_property
    def item_tokens(self) -> NDArray[np.int64]:
        """Local token ids of each item, int64 `[n_items, depth]`, padded with -1."""
        return self.tokens_of_codes(self.item_codes)

    def tokens_of_codes(self, codes: NDArray[np.int32]) -> NDArray[np.int64]:
        """Local token ids of codes: `level_offsets[level] + code`, -1 stays -1; int64, same shape."""
        return np.where(codes >= 0, codes + self.level_offsets[:-1], -1)

    def tokens_of(self, *, user: str | None = None, item: str | None = None) -> str:
        """Tokens of a raw id as text, `"<a_17><b_3>"`.

        Raises:
            UnknownIdError: No such user or item.
            ArgumentError: Not exactly one of them was given.
        """
        if user is not None and item is None:
            return self._text(self.user_tokens[self.users.row(user)])
        if item is not None and user is None:
            return self._text(self.item_tokens[self.items.row(item)])
        raise ArgumentError("user, item", "expected exactly one of them")

    def lookup(self, tokens: str, kind: Kind = "item") -> str:
        """Raw id of a kind by all of its tokens as text, such as `"<a_17><b_3>"`.

        Raises:
            ArgumentError: The text is not a row of tokens, or the kind is neither `"item"` nor `"user"`.
            UnknownIdError: No id of this kind has these tokens.
        """
        ids = self.ids(kind)
        if not re.fullmatch(r"(<[a-z]_(0|[1-9]\d*)>)+", tokens, re.ASCII):
            raise ArgumentError("tokens", f"expected tokens such as <a_17><b_3>, got {tokens!r}")
        row = (self._user_rows if kind == "user" else self._item_rows).get(tokens)
        if row is None:
            raise UnknownIdError(f"no {kind} has the tokens {tokens}")
        return ids.raw[row]

    @cached_property
    def _user_rows(self) -> dict[str, int]:
        return self._rows_of(self.user_tokens)

    @cached_property
    def _item_rows(self) -> dict[str, int]:
        return self._rows_of(self.item_tokens)

    def _rows_of(self, tokens: NDArray[np.int64]) -> dict[str, int]:
        # In reverse, so that with `unique="none"` the first row of a tuple stands.
        return {self._text(tokens[row]): row for row in range(len(tokens) - 1, -1, -1)}

    def _text(self, tokens: NDArray[np.int64]) -> str:
        return "".join(self.tokens[token] for token in tokens.tolist() if token >= 0)
