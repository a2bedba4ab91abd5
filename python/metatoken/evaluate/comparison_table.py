"""A comparison as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from metatoken.errors import ArgumentError, hint
from metatoken.evaluate.comparison import NAMES
from metatoken.evaluate.metrics import as_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

SHOWN = ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "mrr@10")  # of rows that rank; the document has all
MAIN = ("hr@10", "ndcg@10")
TESTED = ("ndcg@10", "rmse")


def comparison_tables(document: Mapping[str, Any], metric: str | None = None, *, narrow: bool = False) -> list[Table]:
    """A table of all rows for each kind of task, and one for each further group against the first.

    Args:
        document: Of `compare_runs`.
        metric: Whose differences are shown; None takes NDCG@10, and RMSE of tasks that rate.
        narrow: Fewer columns.

    Raises:
        ArgumentError: No row was tested for the metric.
    """
    rows, between = document["rows"], document["between"]
    known = sorted({name for row in rows if "against" in row for name in row["against"]["metrics"]})
    known = sorted({*known, *(name for row in between for name in row["metrics"])})
    if metric is not None and metric not in known:
        raise ArgumentError("metric", f"no row was tested for {metric!r}; {hint(metric, known, ', '.join(known))}")
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(next((name for name in TESTED if name in row["metrics"]), ""), []).append(row)
    tables = [_rows(part, _tested(metric, part), len(document["groups"]) > 1, narrow) for part in kinds.values()]
    for group in document["groups"][1:]:
        own = [row for row in between if row["groups"][0] == group["name"]]
        tables += _between(own, rows, metric) if own else []
    return tables


def _tested(metric: str | None, rows: Sequence[Row]) -> str | None:
    wanted = [name for name in (metric, *TESTED) if name is not None]
    return next((name for name in wanted if any(name in row["metrics"] for row in rows)), None)


def _rows(rows: Sequence[Row], metric: str | None, grouped: bool, narrow: bool) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    if any(name in names for name in MAIN):
        names = [name for name in (*(MAIN if narrow else SHOWN), metric) if name in names]
        names = list(dict.fromkeys(names))
    runs = {(row["group"], row["runs"]) for row in rows}
    unequal = len(runs) > len({group for group, _ in runs})
    labels = (*(["group"] if grouped else []), *NAMES, *(["runs"] if unequal else []))
    tests = any("against" in row for row in rows)
    table = _table(labels, names, metric if tests else None)
    references = {
        (row["group"], row["task"], row["against"]["template"], row["against"]["model"])
        for row in rows
        if "against" in row
    }
    for row in rows:
        cells = [escape(str(row[name])) for name in labels] + [_mean(row, name) for name in names]
        if tests:
            found = row.get("against", {}).get("metrics", {}).get(metric)
            reference = (row["group"], *(row[name] for name in NAMES)) in references
            cells += _difference(found) if found else ["reference" if reference else "", "", ""]
        table.add_row(*cells)
    return table


def _between(own: Sequence[Row], rows: Sequence[Row], metric: str | None) -> list[Table]:
    """Rows of two groups side by side, with what the further one has more; a table for each tested metric."""
    group, first = own[0]["groups"]
    known = {(row["group"], *(row[name] for name in NAMES)): row for row in rows}
    tables: dict[str, Table] = {}
    for row in own:
        tested, labels = _tested(metric, [row]), [row[label] for label in NAMES]
        if tested is None:
            continue
        if tested not in tables:
            tables[tested] = _table(NAMES, (first, group), tested, title=f"{group} against {first}")
        cells = [_mean(known[one, *labels], tested) for one in (first, group)]
        tables[tested].add_row(*map(escape, labels), *cells, *_difference(row["metrics"][tested]))
    return list(tables.values())


def _table(labels: Sequence[str], names: Sequence[str], metric: str | None, title: str | None = None) -> Table:
    table = Table(title=title)
    for name in labels:
        table.add_column(name, no_wrap=True)
    for name in (*names, *([f"\N{GREEK CAPITAL LETTER DELTA} {metric}", "95 %", "p"] if metric else [])):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _mean(row: Row, name: str) -> str:
    found = row["metrics"].get(name)
    if found is None:
        return ""
    return f"{found['mean']:.4f}" + ("" if found["sd"] is None else f" ±{found['sd']:.4f}")


def _difference(found: Mapping[str, float]) -> list[str]:
    # "z" writes a rounded -0 as 0.
    interval = f"{found['low']:+z.4f} .. {found['high']:+z.4f}"
    return [f"{found['difference']:+z.4f}", interval, as_p(found["p"]).lstrip("p ")]
