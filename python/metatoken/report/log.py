"""What was read: the audit of the log, and how unevenly it speaks of items and users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metatoken.artifacts import read_json
from metatoken.data.auditing import audit
from metatoken.data.overview import overview
from metatoken.report.drawing import INK, SERIES, Picture, draw
from metatoken.run.evaluation import as_scored, scored_otherwise

if TYPE_CHECKING:
    from metatoken.report.subject import Subject

MOST_LENGTHS = 40  # bars of the picture of histories


def log_section(subject: Subject, prefix: str) -> dict[str, Any]:
    """Facts, notes, warnings and two pictures of the log.

    Args:
        subject: The run.
        prefix: Of the ids of pictures.
    """
    log = subject.data.split.log
    report = audit(log)
    facts = [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in overview(log, report)]
    notes: list[str] = []
    if subject.folder.source.is_file():
        source = read_json(subject.folder.source)
        facts.insert(0, ("read from", str(source.get("source", ""))))
        notes = [str(note) for note in source.get("left_out", ())]
    facts.append(("held out", f"{subject.metrics['split']}, {len(subject.targets):,} users are judged"))
    own = subject.data.config
    otherwise = scored_otherwise(own, as_scored(own, subject.metrics.get("settings", {}), subject.folder))
    facts += [(f"scored with {key}", f"{value}, other than the configuration says") for key, value in otherwise.items()]
    pictures = [_items(subject, prefix), _lengths(subject, prefix)]
    return {"facts": facts, "notes": notes, "warnings": report.warnings, "pictures": pictures}


def _items(subject: Subject, prefix: str) -> Picture:
    counts = np.sort(subject.popularity)[::-1]
    total, tenth = max(1, int(counts.sum())), max(1, round(len(counts) / 10))
    share = counts[:tenth].sum() / total

    def paint(axes: Axes) -> None:
        axes.plot(
            100 * np.arange(len(counts) + 1) / len(counts), 100 * np.cumsum([0, *counts]) / total, color=SERIES[0]
        )
        axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle=(0, (3, 3)))
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="% of items, most popular first", ylabel="% of interactions")

    said = (
        f"The most popular tenth of the items has {share:.0%} of the training interactions. The dashed line is a log "
        "in which all items are equally popular."
    )
    return draw(f"{prefix}-items", "How popularity is shared among items", said, paint)


def _lengths(subject: Subject, prefix: str) -> Picture:
    lengths = subject.data.split.log.sequences().lengths
    lengths = lengths[lengths > 0]
    top = int(min(lengths.max(), max(10, np.quantile(lengths, 0.99))))
    width = -(-top // MOST_LENGTHS)
    shown = np.minimum(lengths, top)
    edges = np.arange(shown.min(), top + width + 1, width)

    def paint(axes: Axes) -> None:
        counts, _ = np.histogram(shown, edges)
        axes.bar(edges[:-1] + (width - 1) / 2, counts, width=0.8 * width, color=SERIES[0])
        axes.set(xlabel="interactions of a user", ylabel="users")
        axes.grid(visible=False, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))

    said = f"Half of the users have at most {int(np.median(lengths)):,} interactions."
    if top < lengths.max():
        said += f" Users with more than {top:,} are in the last bar."
    return draw(f"{prefix}-lengths", "How long histories are", said, paint)
