"""The grammar of filters, against an oracle in plain Python that shares no code with it."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.data.catalogue import Catalogue
from metatoken.data.conditions import DEEPEST, LONGEST, parse_condition
from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError, ConditionError

TEXTS = ["", "A", "a", "b", "ab", "Ab c", "q\"'\\", "é\n", "Ä", "10"]
NUMBERS = [-3, 0, 1, 2, 2.5, 1e3]
text, number = st.sampled_from(TEXTS), st.sampled_from(NUMBERS)
ROW = st.fixed_dictionaries(
    {
        "title": st.none() | text,
        "price": st.none() | st.sampled_from([-3.0, 0.0, 1.0, 2.5, 1e3, math.nan]),
        "n": st.none() | st.sampled_from([-3, 0, 1, 2]),
        "new": st.none() | st.booleans(),
        "categories": st.none() | st.lists(text.filter(bool), max_size=3),
    }
)
SCHEMA = {"title": pl.String, "price": pl.Float64, "n": pl.Int64, "new": pl.Boolean, "categories": pl.List(pl.String)}
Case = tuple[str, Any]  # text of a condition, and the oracle: row -> bool


def quote(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return repr(value)


def missing(value: object) -> bool:
    return value is None or value in ("", []) or (isinstance(value, float) and math.isnan(value))


COMPARE = {
    "==": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "contains": lambda a, b: b.lower() in a.lower(),
    "in": lambda a, b: any(a == one for one in b),
}


def holds(value: Any, operator: str, other: Any) -> bool:
    """One test on one value of a row."""
    if missing(value):
        return False
    test = COMPARE[operator]
    return any(test(one, other) for one in value) if isinstance(value, list) else bool(test(value, other))


@st.composite
def comparisons(draw: st.DrawFn) -> Case:
    column = draw(st.sampled_from(list(SCHEMA)))
    values, operators = {
        "title": (text, ["==", "<", "<=", ">", ">=", "contains", "in"]),
        "price": (number, ["==", "<", "<=", ">", ">=", "in"]),
        "n": (number, ["==", "<", "<=", ">", ">=", "in"]),
        "new": (st.booleans(), ["==", "in"]),
        "categories": (text, ["==", "contains", "in"]),
    }[column]
    operator = draw(st.sampled_from([*operators, "null"]))
    negated = draw(st.booleans())
    if operator == "null":
        return f"{column} is {'not ' * negated}null", lambda row: missing(row[column]) != negated
    other = draw(st.lists(values, max_size=3) if operator == "in" else values)
    right = f"[{', '.join(map(quote, other))}]" if operator == "in" else quote(other)
    word = operator
    if negated and operator == "==":
        word = "!="
    elif negated and operator in ("in", "contains"):
        word = f"not {operator}"
    else:
        negated = False
    return f"{column} {word} {right}", lambda row: holds(row[column], operator, other) != negated


def combine(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        inner.map(lambda a: (f"not ({a[0]})", lambda row: not a[1](row))),
        inner.map(lambda a: (f"({a[0]})", a[1])),
        pair.map(lambda p: (f"({p[0][0]}) and ({p[1][0]})", lambda row: p[0][1](row) and p[1][1](row))),
        pair.map(lambda p: (f"({p[0][0]}) OR ({p[1][0]})", lambda row: p[0][1](row) or p[1][1](row))),
    )


CASES = st.recursive(comparisons(), combine, max_leaves=6)


def catalogue(rows: list[dict[str, Any]]) -> Catalogue:
    names = IdMap((f"i{n}" for n in range(len(rows))), "item")
    return Catalogue(names, pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col("price").fill_nan(None)))


@settings(max_examples=300, deadline=None)
@given(CASES, st.lists(ROW, min_size=1, max_size=8))
def test_a_mask_is_what_plain_python_says(case: Case, rows: list[dict[str, Any]]) -> None:
    where, oracle = case
    assert catalogue(rows).mask(where).tolist() == [oracle(row) for row in rows], where


@settings(max_examples=300, deadline=None)
@given(st.lists(comparisons(), min_size=2, max_size=5), st.data())
def test_precedence_without_parentheses(cases: list[Case], data: st.DataObject) -> None:
    """`not` binds closer than `and`, `and` closer than `or`; Python has the same order, so Python is asked."""
    words = [data.draw(st.sampled_from(["and", "or"])) for _ in cases[1:]]
    nots = [data.draw(st.sampled_from(["", "not ", "not not "])) for _ in cases]
    where = f"{nots[0]}{cases[0][0]}" + "".join(
        f" {word} {flip}{one[0]}" for word, flip, one in zip(words, nots[1:], cases[1:], strict=True)
    )
    row = data.draw(ROW)
    values = [one[1](row) for one in cases]
    python = f"{nots[0]}{values[0]}" + "".join(
        f" {word} {flip}{one}" for word, flip, one in zip(words, nots[1:], values[1:], strict=True)
    )
    assert catalogue([row]).mask(where).tolist() == [eval(python)], where  # noqa: S307 (True, False and words only)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*"n <>=!()[],\"'`\\.0e-é\n", "and ", "not ", "in ", "is null"]), max_size=30))
def test_any_text_is_parsed_or_refused_with_a_place(parts: list[str]) -> None:
    where = "".join(parts)
    try:
        parse_condition(where)
    except ConditionError as error:
        assert 1 <= error.position <= len(where) + 1  # noqa: PT017
        assert str(error).startswith(f"where: character {error.position}: ")  # noqa: PT017


SHOP = Catalogue(
    IdMap(["a", "b", "c"], "item"),
    pl.DataFrame(
        {
            "title": ["Red lipstick", "Blue soap", None],
            "price": [12.5, 30.0, None],
            "brand": ["A", "B", "C"],
            "categories": [["Makeup", "Lips"], ["Bath"], []],
            "list price": [1, 2, 3],
        }
    ),
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('price < 20 and category == "Makeup" and not brand in ["A","B"]', ""),
        ('price < 20 and category == "Makeup" and not brand in ["B"]', "a"),
        ("price < 20 or price is null", "ac"),
        ("not price < 20", "bc"),
        ("price >= 20", "b"),
        ("price != 30", "ac"),
        ("title contains 'SOAP'", "b"),
        ("title not contains 'soap'", "ac"),
        ("categories contains 'lip'", "a"),
        ('category in ["Bath", "Lips"]', "ab"),
        ("categories is null", "c"),
        ('item in ["c", "nothing"]', "c"),
        ("brand in []", ""),
        ("`list price` > 1 AND NOT `list price` > 2", "b"),
        ('brand == "A" or brand == "B" and price < 0', "a"),
        ("price<-1e0", ""),
        ("price == 12.50", "a"),
        ('brand < "B"', "a"),
    ],
)
def test_filters_of_a_shop(where: str, expected: str) -> None:
    assert "".join(raw for raw, ok in zip("abc", SHOP.mask(where), strict=True) if ok) == expected


@pytest.mark.parametrize(
    ("where", "position", "message"),
    [
        ("", 1, "is empty"),
        ("  ", 1, "is empty"),
        ("price", 6, "expected ==, !=, .* after price, got the end"),
        ("price <", 8, "expected a value after <, got the end"),
        ("price = 3", 7, "equality is written =="),
        ("price < 3 && brand == 'A'", 11, "write `and`"),
        ("price < 3 || brand == 'A'", 11, "write `or`"),
        ("!(price < 3)", 1, "write `not` or !="),
        ("price < 3 brand == 'A'", 11, "expected `and`, `or` or the end, got 'brand'"),
        ("(price < 3", 11, r"expected `and`, `or` or '\)', got the end"),
        ("price < 3)", 10, "or the end"),
        ("brand == Makeup", 10, "put text in quotation marks"),
        ("brand == 'A", 10, "quotation mark ' is not closed"),
        ("brand == 'A\\q'", 12, "unknown escape"),
        ("brand == null", 10, "is null"),
        ("brand is 3", 10, "expected `null` or `not null`"),
        ("brand in 'A'", 10, "expected a list"),
        ("brand in ['A' 'B']", 15, "',' or ']'"),
        ("brand in ['A',", 15, "a value or ']'"),
        ("brand not == 'A'", 11, "`in` or `contains`"),
        ("20 > price", 1, "expected the name of a column, got 20"),
        ("price < 1e999", 9, "too large"),
        ("price < 99999999999999999999", 9, "too large"),
        ("price < 12abc", 9, "'12abc' is not a number"),
        ("price < 3 < 4", 11, "or the end, got '<'"),
        ("colour == 'red'", 1, "no column colour; the columns are item, title, price"),
        ("brands == 'A'", 1, "did you mean brand"),
        ("price == 'cheap'", 10, "price holds numbers, which cannot be compared with 'cheap'"),
        ("price in [1, 'x']", 10, "cannot be compared with 'x'"),
        ("brand == 3", 10, "brand holds texts"),
        ("price contains 'x'", 1, "`contains` looks into text, but price holds numbers"),
        ("categories < 'x'", 1, "does not order lists of texts"),
        ("price == true", 10, "cannot be compared with True"),
    ],
)
def test_errors_say_where(where: str, position: int, message: str) -> None:
    with pytest.raises(ConditionError, match=message) as error:
        SHOP.mask(where)
    assert error.value.position == position
    assert isinstance(error.value, ArgumentError)


def test_limits() -> None:
    with pytest.raises(ConditionError, match="nested more than"):
        parse_condition("(" * (DEEPEST + 1) + "n == 1" + ")" * (DEEPEST + 1))
    parse_condition("(" * DEEPEST + "n == 1" + ")" * DEEPEST)
    with pytest.raises(ConditionError, match="nested more than"):
        parse_condition("not " * (DEEPEST + 1) + "n == 1")
    with pytest.raises(ConditionError, match="at most"):
        parse_condition("n == 1" + " " * LONGEST)
    wide = " or ".join(["n == 1"] * (LONGEST // 10))
    parse_condition(wide)
