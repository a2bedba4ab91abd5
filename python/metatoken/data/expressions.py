"""Parsed filters as expressions of polars, checked against the columns of a table."""

from __future__ import annotations

import operator
from typing import Any

import polars as pl

from metatoken.data.columns import closest
from metatoken.data.conditions import Both, Comparison, Node, Not, Value
from metatoken.errors import ConditionError

COMPARE = {"==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
KINDS: dict[pl.DataType, str] = {
    pl.Int64(): "whole number",
    pl.Float64(): "number",
    pl.String(): "text",
    pl.Boolean(): "true or false",
    pl.List(pl.String): "list of texts",
}


def names_in(node: Node) -> list[str]:
    """The columns that a filter names, each once."""
    if isinstance(node, Comparison):
        return [node.column]
    parts = node.parts if isinstance(node, Both) else (node.part,)
    return list(dict.fromkeys(name for part in parts for name in names_in(part)))


def _checked(test: Comparison, columns: dict[str, str]) -> str:
    """The column of a comparison that fits it; the stored `categories` may also be called `category`."""
    name = test.column
    if name == "category" and name not in columns and "categories" in columns:
        name = "categories"
    if name not in columns:
        guess = closest(name, list(columns))
        hint = f"; did you mean {guess}?" if guess else ""
        if list(columns) == ["item"]:
            hint = "; there is no item table (data.items), whose columns a filter could name"
        raise ConditionError(f"no column {name}; the columns are {', '.join(columns)}{hint}", test.at)
    kind = columns[name]
    held = {"true or false": kind, "list of texts": "lists of texts"}.get(kind, f"{kind}s")
    if test.operator == "contains" and "text" not in kind:
        raise ConditionError(f"`contains` looks into text, but {name} holds {held}", test.at)
    if test.operator in ("<", "<=", ">", ">=") and kind not in ("whole number", "number", "text"):
        raise ConditionError(f"{test.operator} does not order {held}, which {name} holds", test.at)
    for value in test.values:
        if not _fits(value, kind):
            raise ConditionError(f"{name} holds {held}, which cannot be compared with {value!r}", test.value_at)
    return name


def _fits(value: Value, kind: str) -> bool:
    """Whether a value may be compared with a column of this kind."""
    if "number" in kind:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "true or false" else str)


def expression(node: Node, columns: dict[str, str]) -> pl.Expr:
    """A condition as an expression that is true or false, never null; `ConditionError` where it does not fit."""
    if isinstance(node, Not):
        return ~expression(node.part, columns)
    if isinstance(node, Both):
        parts = [expression(part, columns) for part in node.parts]
        return pl.any_horizontal(parts) if node.either else pl.all_horizontal(parts)
    name = _checked(node, columns)
    kind, column = columns[name], pl.col(name)
    if kind == "text":
        column = column.replace("", None)  # an empty text is a missing one
    if node.operator == "null":
        return (column.list.len().fill_null(0) == 0) if kind == "list of texts" else column.is_null()
    if kind == "list of texts":
        inner = _compare(pl.element(), node, kind)
        return column.list.eval(inner.fill_null(value=False)).list.any().fill_null(value=False)
    return _compare(column, node, kind).fill_null(value=False)


def _compare(column: pl.Expr, test: Comparison, kind: str) -> pl.Expr:
    value = test.values[0] if test.values else None
    if test.operator == "contains":
        return column.str.to_lowercase().str.contains(str(value).lower(), literal=True)
    if test.operator == "in":
        values: list[Any] = list(test.values)
        if kind == "whole number":
            values = [int(one) for one in values if one == int(one)]
        elif kind == "number":
            values = [float(one) for one in values]
        return column.is_in(values) if values else column.is_null() & pl.lit(value=False)
    found: pl.Expr = COMPARE[test.operator](column, pl.lit(value))
    return found
