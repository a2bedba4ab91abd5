"""A map of the items: their vectors in the plane, colored by an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from metatoken.report.drawing import INK, SERIES, SOFT, Picture, draw, printable
from metatoken.tokens.vectors.matrix import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metatoken.report.subject import Subject

MOST = 1200  # items on the map
COLORS = 7  # values with a color of their own
COMMON = 0.6  # share of items from which on a value tells nothing
LONG = 22  # letters of a value


def item_map(subject: Subject, prefix: str, seed: int = 0) -> Picture | None:
    """The map; None where fewer than three items have a vector.

    Args:
        subject: The run.
        prefix: Of the ids of the picture.
        seed: Of the draw, where there are more items than a map can show.
    """
    vocabulary = subject.data.vocabulary
    own = np.flatnonzero(vocabulary.trained[vocabulary.nodes("item")])
    if len(own) < 3:
        return None
    shown = own if len(own) <= MOST else np.sort(np.random.default_rng(seed).choice(own, MOST, replace=False))
    points, kept = plane(vocabulary.item_vectors[shown])
    column, values, names = coloring(subject.data.catalogue.frame)

    def paint(axes: Axes) -> None:
        groups = [(-1, SOFT, "other"), *((n, SERIES[n], name) for n, name in enumerate(names))]
        for number, color, name in groups if names else [(-1, SERIES[0], "")]:
            inside = values[shown] == number
            if inside.any():
                label = _label(name)
                axes.plot(
                    *points[inside].T, "o", color=color, markersize=3.4, alpha=0.8, markeredgewidth=0, label=label
                )
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        axes.spines[:].set_visible(False)
        if names:
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, labelcolor=INK, handletextpad=0.2,
                columnspacing=0.8, fontsize=9,
            )  # fmt: skip

    said = f"Item vectors seen from the side that shows most of them ({kept:.0%} of the spread)."
    said += f" Colors are values of {column}: like with like means that vectors know it." if names else ""
    said += f" {MOST:,} of {len(own):,} items, drawn at random." if len(own) > MOST else ""
    return draw(f"{prefix}-map", "A map of the items", said, paint, height=3.9)


def _label(value: str) -> str:
    """A value in the legend, which would pass over one that begins with an underscore."""
    short = printable(" ".join(value.split()))
    short = short if len(short) <= LONG else f"{short[:LONG]}…"
    return f"\N{ZERO WIDTH SPACE}{short}" if short.startswith("_") else short


def plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """The first two principal components of unit vectors, and their share of the variance.

    Args:
        vectors: float32 `[n, dim]`.

    Returns:
        float64 `[n, 2]`; signs are such that the farthest point of each axis is positive.
    """
    unit = unit_rows(vectors)
    unit -= unit.mean(axis=0)
    power, axes = np.linalg.eigh(unit.T @ unit)
    points = unit @ axes[:, ::-1][:, :2]
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
    points *= np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])
    return points, float(power[-2:].sum() / max(power.sum(), 1e-12))


def coloring(items: pl.DataFrame) -> tuple[str, NDArray[np.int64], list[str]]:
    """The column that tells most items apart by few values.

    Args:
        items: A row for each item; `item` and `title` are passed over.

    Returns:
        Its name, for each item the place of its value among the named ones or -1, and their names. No names where no
        column will do.
    """
    best, most = ("", np.full(items.height, -1), list[str]()), 0
    for name, dtype in items.schema.items():
        if name in ("item", "title") or dtype not in (pl.String, pl.List(pl.String)):
            continue
        pairs = items.select(pl.col(name).alias("value")).with_row_index("row")
        pairs = (pairs.explode("value") if dtype == pl.List(pl.String) else pairs).drop_nulls().unique()
        counts = pairs.group_by("value").len().filter(pl.col("len").is_between(2, COMMON * items.height))
        top = counts.sort("len", "value", descending=[True, False]).head(COLORS).drop("len").with_row_index("place")
        found = pairs.join(top, on="value").group_by("row").agg(pl.col("place").min())
        if found.height > most:
            places = np.full(items.height, -1)
            places[found["row"].to_numpy()] = found["place"].to_numpy()
            best, most = (name, places, top["value"].to_list()), found.height
    return best
