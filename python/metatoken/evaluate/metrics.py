"""The document of metrics (`metrics.json`) and its table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SCHEMA = 1
LABELS = ("task", "template", "model", "users")
BASELINE = "-"  # template of a row that no template was asked for
VERSUS = "vs_best_baseline"


def metrics_document(
    split_name: str,
    dataset_counts: Mapping[str, int],
    seed: int,
    seconds: float,
    rows: Sequence[Mapping[str, Any]],
    *,
    repeated_targets: int | None = None,
    new_targets: int | None = None,
) -> dict[str, Any]:
    """The content of `metrics.json`: plain Python values only, ready for `json.dump`.

    Args:
        split_name: How targets were held out, e.g. "leave-last-out".
        dataset_counts: `{"users", "items", "interactions"}` of the log.
        seed: Seed of the run.
        seconds: Wall-clock time of the evaluation.
        rows: One for each scored model, task and template: `task`, `template`, `model`, `users` (evaluated) and the
            metrics, e.g. of `ranking_metrics`; and `vs_best_baseline`, see `significance.set_against_best_baseline`.
        repeated_targets: How many targets were already in their user's history, which no list without seen items can
            hit; left out if None.
        new_targets: How many targets are items that no training row has; left out if None.

    Raises:
        ArgumentError: A count or label is missing, a model is listed twice, or a number is not finite.
    """
    if missing := {"users", "items", "interactions"} - set(dataset_counts):
        raise ArgumentError("dataset_counts", f"lacks {', '.join(sorted(missing))}")
    plain, known = [_plain(row) for row in rows], set()
    for row in plain:
        if missing := set(LABELS) - set(row):
            raise ArgumentError("rows", f"a row lacks {', '.join(sorted(missing))}: {row}")
        key = (row["task"], row["template"], row["model"])
        if key in known:
            raise ArgumentError("rows", f"two rows for task, template and model {key}")
        known.add(key)
    document = {
        "schema": SCHEMA,
        "split": split_name,
        "dataset": _plain(dataset_counts),
        "seed": int(seed),
        **_plain({"seconds": seconds}),
        "rows": plain,
    }
    counts = {"repeated_targets": repeated_targets, "new_targets": new_targets}
    return document | {name: int(count) for name, count in counts.items() if count is not None}


def metrics_table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """A table for the terminal: one line per row, metrics to four digits, the best of each task and template in bold.

    A last column has the relative difference in NDCG@10 to the best baseline of the task, and p, where rows have it.

    Args:
        rows: As in `metrics_document`; a metric that a row lacks stays blank.
        title: Heading.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name not in (*LABELS, VERSUS)))
    labels = [name for name in LABELS if not rows or any(name in row for row in rows)]
    beaten = {(row["task"], row[VERSUS]["model"]) for row in rows if VERSUS in row}
    table = Table(title=title)
    for name in (*labels, *names, *(["vs. best\nbaseline"] if beaten else [])):
        table.add_column(name, justify="left" if name in LABELS[:-1] else "right", no_wrap=True)
    for row in rows:
        peers = [other for other in rows if all(other.get(name) == row.get(name) for name in ("task", "template"))]
        known = [f"{row[name]:,}" if name == "users" else escape(str(row[name])) for name in labels]
        table.add_row(*known, *(_cell(name, row, peers) for name in names), *([_versus(row, beaten)] if beaten else []))
    return table


def _versus(row: Mapping[str, Any], beaten: Collection[tuple[str, str]]) -> str:
    """`+8.1% p .012`, or for the baseline that is the measure `best`."""
    found = row.get(VERSUS)
    if found is None:
        return "best" if row["template"] == BASELINE and (row["task"], row["model"]) in beaten else ""
    return f"{found['difference']:+.1%} {as_p(found['p'])}"


def as_p(p: float) -> str:
    """A probability as tables print it: `p .012`, `p<.001`."""
    return "p<.001" if p < 0.001 else f"p {p:.3f}".replace("0.", ".")


def _cell(name: str, row: Mapping[str, Any], peers: Sequence[Mapping[str, Any]]) -> str:
    value = row.get(name)
    if value is None:
        return ""
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    # Only these are better when larger and about quality; coverage and invalid ids describe the lists.
    ranked = name.partition("@")[0] in ("hr", "ndcg", "mrr")
    best = ranked and len(peers) > 1 and value == max(peer.get(name, -math.inf) for peer in peers)
    return f"[bold]{text}[/bold]" if best else text


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    plain |= {name: _plain(value) for name, value in plain.items() if isinstance(value, Mapping)}
    for name, value in plain.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ArgumentError("rows", f"{name} is {value}; a metric must be a finite number")
    return plain
