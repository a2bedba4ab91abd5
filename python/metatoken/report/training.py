"""How training went: what was logged after each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from metatoken.report.drawing import INK, SERIES, SOFT, Picture, draw

if TYPE_CHECKING:
    from metatoken.report.subject import Subject

MOST = 6  # lines of a picture
VALUES = ("ndcg@10", "rmse", "bleu4", "rouge1", "accuracy")  # of validation, in the order in which they are shown


def training_section(subject: Subject, prefix: str) -> dict[str, Any]:
    """A sentence about the epoch that was kept, and pictures of losses and of what validation found.

    Args:
        subject: The run.
        prefix: Of the ids of pictures.
    """
    epochs, record = subject.epochs, subject.record
    sentence = "" if record is None else f"Training {record.sentence()}."
    kept = None if record is None else record.kept_epoch
    losses = [name for name in epochs if name.startswith("train/")][:MOST]
    found = _validated(epochs)
    pictures = []
    if "epoch" in epochs and losses:
        said = "Means over the training batches; the loss is a weighted sum of its parts."
        pictures.append(_curves(f"{prefix}-loss", "Loss by epoch", said, epochs, losses, "loss", kept))
    if "epoch" in epochs and found:
        said = "Found on the validation items after each epoch."
        label = found[0].rpartition("/")[2].upper()
        pictures.append(_curves(f"{prefix}-validation", "Validation by epoch", said, epochs, found, label, kept))
    return {"sentence": sentence, "pictures": pictures}


def _validated(epochs: dict[str, list[float]]) -> list[str]:
    """Columns of one metric: several on one axis would be of different scales."""
    for metric in VALUES:
        if found := [name for name in epochs if name.startswith("val/") and name.endswith(f"/{metric}")]:
            return found[:MOST]
    return [name for name in epochs if name.startswith("val/")][:1]


def _curves(
    name: str, title: str, said: str, epochs: dict[str, list[float]], columns: list[str], label: str, kept: int | None
) -> Picture:
    x = np.array(epochs["epoch"])

    def paint(axes: Axes) -> None:
        if kept is not None:
            axes.axvline(kept, color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        for column, color in zip(columns, SERIES, strict=False):
            y = np.array(epochs[column])
            known = np.isfinite(y)
            marker = "o" if known.sum() < 3 else ""
            axes.plot(x[known], y[known], color=color, marker=marker, markersize=4, label=_short(column))
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=min(4, len(columns)), labelcolor=INK, handlelength=1.2
        )

    said += "" if kept is None else f" The dashed line is epoch {kept}, whose weights were kept."
    return draw(name, title, said, paint, height=3.3)


def _short(column: str) -> str:
    parts = column.split("/")
    return parts[1] if parts[0] == "val" and len(parts) > 2 else parts[-1]
