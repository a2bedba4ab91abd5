"""Whom and what a model finds: hits by the popularity of the item and by the length of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from metatoken.report.drawing import INK, SERIES, Picture, draw
from metatoken.report.subject import labels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metatoken.report.subject import Subject

    Ints = NDArray[np.integer[Any]]
    Floats = NDArray[np.float64]

GROUPS = 5
Z = 1.959964  # of 95 % of a normal distribution


@dataclass(frozen=True)
class Group:
    """Users whose value lies between two bounds, both inside."""

    low: int
    high: int
    members: NDArray[np.bool_]

    @property
    def label(self) -> str:
        """The bounds as text."""
        low, high = short(self.low), short(self.high)
        return low if low == high else f"{low}\N{EN DASH}{high}"


def short(n: int) -> str:
    """A whole number in few letters: `9999`, `12k`."""
    return str(n) if n < 10_000 else f"{n / 1000:.0f}k"


def hit_pictures(subject: Subject, prefix: str) -> list[Picture]:
    """Hits of the run and of the best baseline in groups of users, twice; nothing where nothing ranks.

    Args:
        subject: The run.
        prefix: Of the ids of pictures.
    """
    if subject.main is None:
        return []
    rows = {row["model"]: subject.ranks(labels_of(row)) > 0 for row in (subject.main, subject.rival) if row is not None}
    seen = subject.popularity[subject.targets.items]
    lengths = subject.data.split.history(subject.part).lengths[subject.targets.users]
    popular = _picture(
        f"{prefix}-popular", "Hits by the popularity of the item", "training interactions of the held-out item",
        "Items that were taken more often are easier to find; those never seen in training stand under 0.",
        groups(seen), rows,
    )  # fmt: skip
    long = _picture(
        f"{prefix}-history", "Hits by the length of the history", "items in the history of the user",
        "Whether the model needs long histories, or does well for newcomers, too.", groups(lengths), rows,
    )  # fmt: skip
    return [popular, long]


def groups(values: Ints, n: int = GROUPS) -> list[Group]:
    """Groups of about equal size, of equal values never two; 0 is a group of its own.

    Args:
        values: Whole numbers from 0, `[m]`.
        n: How many groups at most, besides that of 0.
    """
    found = [Group(0, 0, values == 0)] if (values == 0).any() else []
    rest = np.sort(values[values > 0])
    if len(rest) == 0:
        return found
    tops = np.unique(rest[[-(-len(rest) * (place + 1) // n) - 1 for place in range(n)]])
    low = int(rest[0])
    for top in map(int, tops):
        members = (values >= low) & (values <= top)
        within = values[members]
        found.append(Group(int(within.min()), int(within.max()), members))
        low = top + 1
    return found


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's formula, which holds for few users and for none that hits, too."""
    share, spread = hits / n, Z * Z / n
    middle, half = share + spread / 2, Z * np.sqrt(share * (1 - share) / n + spread / (4 * n))
    return float(max(0.0, (middle - half) / (1 + spread))), float(min(1.0, (middle + half) / (1 + spread)))


def _picture(
    name: str, title: str, label: str, said: str, parts: list[Group], rows: dict[str, NDArray[np.bool_]]
) -> Picture:
    def paint(axes: Axes) -> None:
        for number, (model, hit) in enumerate(rows.items()):
            counts = [(int(hit[part.members].sum()), int(part.members.sum())) for part in parts]
            shares = np.array([hits / n for hits, n in counts])
            bounds = np.array([wilson(*count) for count in counts]).T
            x = np.arange(len(parts)) + 0.24 * (number - (len(rows) - 1) / 2)
            color = SERIES[number]
            axes.bar(x, 100 * shares, width=0.22, color=color, alpha=0.55, label=model)
            axes.vlines(x, 100 * bounds[0], 100 * bounds[1], color=color, linewidth=2)
        axes.set_xticks(range(len(parts)), [f"{part.label}\nn = {short(part.members.sum())}" for part in parts])
        axes.set(xlabel=label, ylabel="HR@10, %")
        axes.tick_params(axis="x", length=0, labelsize=9)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, labelcolor=INK, handlelength=1.2)

    return draw(name, title, f"{said} Lines are 95 % intervals, n is the number of users.", paint, height=3.2)
