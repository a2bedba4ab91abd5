"""Filters over what is known about items, such as `price < 20 and not brand in ["A", "B"]`.

A language of its own, parsed here and never handed to `eval`:

    or      := and ("or" and)*
    and     := not ("and" not)*
    not     := "not" not | "(" or ")" | test
    test    := column ("==" | "!=" | "<" | "<=" | ">" | ">=") value
             | column ["not"] "in" "[" [value ("," value)*] "]"
             | column ["not"] "contains" text
             | column "is" ["not"] "null"
    column  := a name, or any characters between backquotes, of which one inside is written twice
    value   := number | "text" | 'text' | true | false

Logic has two values. A missing value (null, NaN, an empty text or list) equals nothing, is less than nothing and
contains nothing, so `price < 20` and `price >= 20` both leave it out; `!=`, `not in` and `not contains` are the exact
negations of `==`, `in` and `contains` and so let it pass. In a column of lists a test holds when it holds for one
element. `contains` looks for a part of the text, upper and lower case alike; `==` and `in` compare exactly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from metatoken.config import expect
from metatoken.errors import ConditionError

LONGEST, DEEPEST, MOST = 10_000, 50, 10_000  # characters, nested parentheses and `not`s, values of a list
DIGITS = 300  # of an integer; a longer one is none that a column holds
KEYWORDS = ("and", "or", "not", "in", "is", "null", "contains", "true", "false")
ESCAPES = {"n": "\n", "t": "\t"} | {mark: mark for mark in "\\\"'"}
HINTS = {"=": "; equality is written ==", "&": "; write `and`", "|": "; write `or`", "!": "; write `not` or !="}
# Numbers are matched without going back, so that the time is linear in the length of the text.
TOKEN = re.compile(
    r"""(?P<number>-?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+)(?![\w.])
    |(?P<name>[^\W\d]\w*)
    |`(?P<column>(?:[^`]|``)++)`
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<mark>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)""",
    re.VERBOSE | re.DOTALL,
)

Value = bool | int | float | str


@dataclass(frozen=True)
class Comparison:
    """A column against one value, those of a list, or none for the operator `null`.

    `at` and `value_at` are the places of the column and of the first value (or the operator) in the text, from 1.
    """

    column: str
    operator: str
    values: tuple[Value, ...]
    at: int
    value_at: int


@dataclass(frozen=True)
class Not:
    """True where its part is not."""

    part: Node


@dataclass(frozen=True)
class Both:
    """`and` of all parts, or with `either` their `or`."""

    parts: tuple[Node, ...]
    either: bool


Node = Comparison | Not | Both


def parse_condition(text: str) -> Node:
    """Parses a filter, or says where it is not of the grammar (`ConditionError`); columns are checked later."""
    expect("where", text, str)
    return _Parser(text).condition()


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, keyword, column, text, mark, end
    value: Value
    at: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end"
        return f"the text {self.value!r}" if self.kind == "text" else f"{self.value!r}"

    def is_(self, *words: str) -> bool:
        return self.kind in ("keyword", "mark") and self.value in words


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ConditionError(f"expected at most {LONGEST:,} characters, got {len(text):,}", LONGEST + 1)
        self.tokens = _tokens(text)
        self.place = 0
        self.depth = 0

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.now
        self.place += 1
        return token

    def accept(self, word: str) -> bool:
        """Takes the next token if it is this word."""
        found = self.now.is_(word)
        self.place += found
        return found

    def need(self, word: str, what: str) -> None:
        if not self.accept(word):
            self.expected(what)

    def expected(self, what: str, token: _Token | None = None) -> NoReturn:
        token = token or self.now
        raise ConditionError(f"expected {what}, got {token}", token.at)

    def condition(self) -> Node:
        if self.now.kind == "end":
            raise ConditionError("is empty; expected a condition such as price < 20", 1)
        node = self.either()
        if self.now.kind != "end":
            self.expected("`and`, `or` or the end")
        return node

    def either(self) -> Node:
        return self.joined("or", lambda: self.joined("and", self.one))

    def joined(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self.accept(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Both(tuple(parts), either=word == "or")

    def one(self) -> Node:
        if not self.now.is_("not", "("):
            return self.test()
        self.depth += 1
        if self.depth > DEEPEST:
            raise ConditionError(f"nested more than {DEEPEST} deep", self.now.at)
        if self.take().value == "not":
            node: Node = Not(self.one())
        else:
            node = self.either()
            self.need(")", "`and`, `or` or ')'")
        self.depth -= 1
        return node

    def test(self) -> Node:
        column = self.take()
        if column.kind not in ("name", "column"):
            self.expected("the name of a column", column)
        negated = self.accept("not")
        if negated and not self.now.is_("in", "contains"):
            self.expected("`in` or `contains` after `not`")
        operator = self.take()
        name, word = str(column.value), str(operator.value)
        if operator.is_("is"):
            negated = self.accept("not")
            self.need("null", "`null` or `not null` after `is`")
            node: Node = Comparison(name, "null", (), column.at, operator.at)
        elif operator.is_("in"):
            value_at, values = self.now.at, self.list_()
            node = Comparison(name, "in", values, column.at, value_at)
        elif operator.is_("contains", "==", "!=", "<", "<=", ">", ">="):
            value_at, value = self.now.at, self.value(f"a value after {word}")
            negated = negated or word == "!="
            node = Comparison(name, "==" if word == "!=" else word, (value,), column.at, value_at)
        else:
            alone = operator.kind == "end" or operator.is_("and", "or", ")")
            hint = f"; whether it is true is asked by {quoted(name)} == true" if alone else ""
            said = f"expected ==, !=, <, <=, >, >=, in, contains or is after {name}, got {operator}{hint}"
            raise ConditionError(said, operator.at)
        return Not(node) if negated else node

    def list_(self) -> tuple[Value, ...]:
        self.need("[", 'a list such as ["A", "B"] after `in`')
        values: list[Value] = []
        while not self.accept("]"):
            values.append(self.value("a value or ']'"))
            if len(values) > MOST:
                self.expected(f"at most {MOST:,} values in a list")
            if not self.accept(",") and not self.now.is_("]"):
                self.expected("',' or ']'")
        return tuple(values)

    def value(self, what: str) -> Value:
        token = self.take()
        if token.kind in ("number", "text"):
            return token.value
        if token.is_("true", "false"):
            return token.value == "true"
        if token.is_("null"):
            raise ConditionError("nothing equals null; write `is null` or `is not null`", token.at)
        hint = "; put text in quotation marks" if token.kind == "name" else ""
        raise ConditionError(f"expected {what}, got {token}{hint}", token.at)


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = TOKEN.match(text, place)
        if match is None:
            _refuse(text, place)
        kind = match.lastgroup or ""
        found.append(_token(kind, match[kind], place + 1))
        place = match.end()
    return [*found, _Token("end", "", len(text) + 1)]


def _token(kind: str, word: str, at: int) -> _Token:
    if kind == "name" and word.lower() in KEYWORDS:
        return _Token("keyword", word.lower(), at)
    if kind == "text":
        return _Token(kind, _unescape(word[1:-1], at + 1), at)
    if kind == "number":
        whole = len(word) <= DIGITS and word.lstrip("-").isdigit()
        number = int(word) if whole else float(word)
        if abs(number) >= 2**63 or not math.isfinite(number):
            raise ConditionError(f"the number {word[:20]} is too large", at)
        return _Token(kind, number, at)
    return _Token(kind, word.replace("``", "`") if kind == "column" else word, at)


def quoted(column: str) -> str:
    """A column as a filter names it."""
    bare = re.fullmatch(r"[^\W\d]\w*", column) and column.lower() not in KEYWORDS
    return column if bare else f"`{column.replace('`', '``')}`"


def _unescape(body: str, at: int) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in ESCAPES:
            raise ConditionError(f"unknown escape {match[0]!r}; write \\\\ for a backslash", at + match.start())
        return ESCAPES[match[1]]

    return re.sub(r"\\(.)", one, body, flags=re.DOTALL)


def _refuse(text: str, place: int) -> NoReturn:
    mark = text[place]
    if mark in "\"'`":
        raise ConditionError(f"the quotation mark {mark} is not closed", place + 1)
    word = re.match(r"[\w.-]+", text[place:])
    what = f"{word[0][:20]!r} is not a number" if word and mark in "0123456789.-" else f"unexpected {mark!r}"
    raise ConditionError(f"{what}{HINTS.get(mark, '')}", place + 1)
