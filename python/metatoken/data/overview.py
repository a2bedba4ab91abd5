"""A log in numbers, before anything is learned from it, and the configuration that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import polars as pl
import yaml

from metatoken.data.auditing import AuditReport
from metatoken.data.interactions import Interactions
from metatoken.data.selection import core
from metatoken.data.times import A_SECOND, unit_of
from metatoken.data.understood import Guess

CORE = 5  # of published logs, most of which keep users and items with five rows
DAY = 86_400
WIDTH = 118  # of a comment


def overview(log: Interactions, report: AuditReport, events: pl.Series | None = None) -> list[tuple[str, object]]:
    """Facts about a log as names and values: sizes, period, repeats, ratings, events, and what a k-core would leave.

    Args:
        log: The log.
        report: Its audit.
        events: What kind of event each of its rows was.
    """
    frame = log.frame
    facts: list[tuple[str, object]] = [("rows", len(log)), ("users", report.users), ("items", report.items)]
    facts.append(("rows of a user", _spread(log.sequences().lengths)))
    facts.append(("rows of an item", _spread(np.bincount(frame["item"].to_numpy()))))
    if "timestamp" in frame.columns:
        facts.extend(_period(frame["timestamp"]))
    else:
        facts.append(("times", "none; the rows of a user follow each other as they stand"))
    facts.append(("repeats of a pair", f"{report.repeated_pairs:,} rows, {report.repeated_pairs / len(log):.1%}"))
    if "rating" in frame.columns and frame["rating"].count():
        given = frame["rating"].drop_nulls().to_numpy()
        scale = f"{given.min():g} to {given.max():g}, {len(np.unique(given)):,} values, mean {given.mean():.2f}"
        facts.append(("ratings", f"{len(given):,} rows, {len(given) / len(log):.1%}; {scale}"))
    if events is not None:
        counts = events.cast(pl.String).fill_null("(none)").value_counts(sort=True).head(8)
        facts.append(("events", ", ".join(f"{name} {count:,}" for name, count in counts.iter_rows())))
    mask, _ = core(frame["user"], frame["item"], CORE, CORE)
    kept = frame.filter(pl.Series(mask))
    left = f"{kept.height:,} rows, {kept['user'].n_unique():,} users, {kept['item'].n_unique():,} items"
    return [*facts, (f"left by min_user {CORE}, min_item {CORE}", left)]


def _spread(counts: np.ndarray[Any, Any]) -> str:
    counts = counts[counts > 0]
    return f"{counts.min():,} to {counts.max():,}, half of them at most {int(np.median(counts)):,}"


def _period(times: pl.Series) -> list[tuple[str, object]]:
    unit = unit_of(times)
    seconds = times.cast(pl.Float64) / A_SECOND[unit]
    first, last = float(seconds.min()), float(seconds.max())  # type: ignore[arg-type]
    if not 0 < first <= last < 253402300800:
        return [("times", f"{times.to_numpy().min()} to {times.to_numpy().max()}")]
    begin, end = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") for at in (first, last))
    facts: list[tuple[str, object]] = [("period", f"{begin} to {end} (kept as {unit} since 1970)")]
    days = np.unique(np.floor(seconds.to_numpy() / DAY))
    gaps = np.diff(days)
    if gaps.max(initial=0) > 1:
        after = datetime.fromtimestamp(days[gaps.argmax()] * DAY, UTC)
        facts.append(("longest gap", f"{int(gaps.max()):,} days after {after:%Y-%m-%d}"))
    return facts


def configuration(guess: Guess, log: Interactions, warnings: Sequence[str] = ()) -> str:
    """A configuration in YAML that reads the log as it was understood, with reasons and warnings as comments."""
    head = f"{len(log):,} rows of {log.n_users:,} users and {log.n_items:,} items, as `metatoken inspect` read them."
    lines = [f"# {head}"]
    for warning in warnings:
        lines.extend(f"# {line}" for line in wrap(f"- {warning}", WIDTH, subsequent_indent="  "))
    lines.append("data:")
    for name, value in guess.settings.items():
        plain = str(value) if isinstance(value, Path) else value
        written = yaml.safe_dump({name: plain}, allow_unicode=True).strip()
        reason = f"  # {guess.reasons[name]}" if name in guess.reasons and "\n" not in written else ""
        lines.extend(f"  {line}" for line in f"{written}{reason}".split("\n"))
    for role, column in guess.others.items():
        if role == "event":
            lines.append(f"  # where: {column} == '...'  # only rows of one kind of event")
        else:
            lines.append(f"  # {role}: {column}  # for tasks that read or write texts (model.tasks)")
    if "time" not in guess.settings and guess.settings.get("format", "table") == "table":
        lines.append("  # time: COLUMN  # which came first; without it, rows follow each other as they stand")
    if "items" not in guess.settings:
        lines.append(
            "  # items: FILE  # a table about items: titles, and columns that recommendations can be filtered by"
        )
    lines.append(f"  # min_user: {CORE}  # leave out users, and with min_item items, of fewer rows")
    return "\n".join([*lines, "# `metatoken config` shows every other key with its default.", ""])
