"""Every row against the best baseline of its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from metatoken.evaluate.legend import MEANING
from metatoken.evaluate.metrics import BASELINE, LABELS, as_p
from metatoken.evaluate.significance import JUDGED
from metatoken.report.drawing import INK, SERIES, SOFT, Picture, draw
from metatoken.report.subject import K, labels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.report.subject import Subject

    Row = Mapping[str, Any]

RATED = "rmse"
FAR = 0.25  # share of the best baseline that a row may lose and still be drawn
SHOWN = {JUDGED: ("hr@10", JUDGED), RATED: ("mae", RATED)}  # columns, the tested one last


def result_tables(rows: Sequence[Row], main: Row | None = None) -> list[dict[str, Any]]:
    """A table for each task, the best row first.

    Args:
        rows: Of `compare_runs`, of one group.
        main: The one of them that is marked as what is served.
    """
    tasks = dict.fromkeys(row["task"] for row in rows)
    return [_table(task, [row for row in rows if row["task"] == task], main) for task in tasks]


def _table(task: str, rows: Sequence[Row], main: Row | None) -> dict[str, Any]:
    kind = next((name for name in SHOWN if any(name in row["metrics"] for row in rows)), None)
    if kind is None:  # texts, which no test is made for
        names = [name for name in rows[0]["metrics"] if name not in LABELS][:5]
    else:
        names = list(SHOWN[kind])
        sign = 1 if kind == RATED else -1
        rows = sorted(rows, key=lambda row: sign * row["metrics"].get(kind, {"mean": -sign * np.inf})["mean"])
    references = {(row["against"]["template"], row["against"]["model"]) for row in rows if "against" in row}
    lines = [
        _line(row, names, kind) | {"main": row is main, "reference": (row["template"], row["model"]) in references}
        for row in rows
    ]
    return {"task": task, "names": [name.upper() for name in names], "kind": kind, "lines": lines}


def _line(row: Row, names: Sequence[str], kind: str | None) -> dict[str, Any]:
    found = row.get("against", {}).get("metrics", {}).get(kind)
    return {
        "model": row["model"],
        "template": "" if row["template"] == BASELINE else row["template"],
        "baseline": row["template"] == BASELINE,
        "meaning": MEANING.get(row["model"], ""),
        "values": [_value(row["metrics"].get(name)) for name in names],
    } | (dict.fromkeys(("difference", "interval", "p", "verdict"), "") if found is None else told(found, kind))


def told(found: Mapping[str, float], kind: str | None = JUDGED) -> dict[str, str]:
    """A difference as text: `difference`, `interval`, `p` and `verdict`."""
    interval = f"{signed(found['low'])} to {signed(found['high'])}"
    return {
        "difference": signed(found["difference"]), "interval": interval, "p": as_p(found["p"]),
        "verdict": verdict(found, kind),
    }  # fmt: skip


def signed(value: float, form: str = "+z.4f") -> str:
    """A difference with its sign, as print has it."""
    return format(value, form).replace("-", "\N{MINUS SIGN}")


def _value(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.4f}" + ("" if found["sd"] is None else f" ±{found['sd']:.4f}")


def verdict(found: Mapping[str, float], kind: str | None = JUDGED) -> str:
    """`better`, `worse`, or `even` where the interval holds 0."""
    if found["low"] <= 0 <= found["high"]:
        return "even"
    return "better" if (found["low"] > 0) == (kind != RATED) else "worse"


def forest(rows: Sequence[Row], prefix: str, names: Mapping[str, str] | None = None) -> Picture | None:
    """Differences in NDCG@10 with their intervals, a line for each row of the first task that was tested.

    Args:
        rows: Of `compare_runs`.
        prefix: Of the ids of the picture.
        names: What to call groups, where there are several.
    """
    tested = [row for row in rows if JUDGED in row.get("against", {}).get("metrics", {})]
    tested = [row for row in tested if row["task"] == tested[0]["task"]]
    if not tested:
        return None
    tested.sort(key=lambda row: row["against"]["metrics"][JUDGED]["difference"])
    shown = [row for row in tested if not _far(row)] or tested
    far = dict.fromkeys(_label(row, names) for row in tested if row not in shown)

    def paint(axes: Axes) -> None:
        for place, row in enumerate(shown):
            found = row["against"]["metrics"][JUDGED]
            color = {"better": SERIES[2], "worse": SERIES[1], "even": SOFT}[verdict(found)]
            axes.plot([found["low"], found["high"]], [place, place], color=color, linewidth=3, solid_capstyle="round")
            axes.plot([found["difference"]], [place], "o", color=color, markersize=6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(shown)), [_label(row, names) for row in shown])
        axes.set(xlabel="difference in NDCG@10", ylim=(-0.6, len(shown) - 0.4))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)

    best = tested[0]["against"]["model"]
    said = (
        f"Each line is a 95 % interval (paired bootstrap over users), the dot what was found; 0 is "
        f"{'the best baseline of each group' if names else best}. An interval that holds 0 may be chance."
    )
    said += f" Left out, since they lose more than a quarter: {'; '.join(far)}." if far else ""
    title = f"Task {tested[0]['task']}: rows against the best baseline"
    return draw(f"{prefix}-forest", title, said, paint, height=1.0 + 0.27 * len(shown))


def _far(row: Row) -> bool:
    """Whether a row is so much worse that it would squeeze the others."""
    found, own = row["against"]["metrics"][JUDGED]["difference"], row["metrics"][JUDGED]["mean"]
    return bool(found < -FAR * (own - found))


def _label(row: Row, names: Mapping[str, str] | None) -> str:
    label = row["model"] if row["template"] == BASELINE else f"{row['model']}, {row['template']}"
    return f"{names[row['group']]}: {label}" if names else str(label)


def by_length_of_list(subject: Subject, prefix: str) -> Picture | None:
    """Share of users whose item is among the first k, for k up to 10."""
    if subject.main is None:
        return None
    task = subject.main["task"]
    popular = [row for row in subject.ranked if (row["task"], row["model"]) == (task, "popularity")]
    lines = {row["model"]: labels_of(row) for row in (subject.main, subject.rival, *popular) if row is not None}

    def paint(axes: Axes) -> None:
        ks = np.arange(1, K + 1)
        for (model, labels), color in zip(lines.items(), SERIES, strict=False):
            places = subject.ranks(labels)
            shares = [100 * np.mean((places > 0) & (places <= k)) for k in ks]
            axes.plot(ks, shares, color=color, marker="o", markersize=3.5, label=model)
        axes.set(xlabel="items in the list", ylabel="% of users it holds the item for", xticks=ks)
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, labelcolor=INK, handlelength=1.2)

    said = "How often the held-out item is in the list, by the length of the list."
    return draw(f"{prefix}-lists", "Hits by the length of the list", said, paint, height=3.2)
