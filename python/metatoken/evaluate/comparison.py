"""Rows of several evaluations side by side: mean and deviation over seeds, and differences with their p.

A group is what differs in the seed alone. A user's metric is averaged over the runs of a group before users are drawn,
so p speaks of users; the deviation over runs speaks of seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from metatoken.errors import ArgumentError, hint
from metatoken.evaluate.metrics import BASELINE
from metatoken.evaluate.ranking import mean_and_std
from metatoken.evaluate.significance import RESAMPLES, Difference, best_baseline, resampled_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

Labels = tuple[str, str, str]
"""Task, template and model of a row."""
NAMES = ("task", "template", "model")
FORM = {"rmse": np.sqrt}  # metrics that are a function of a mean; all others are the mean itself


@dataclass(frozen=True, eq=False)
class Scored:
    """One row: of one evaluation, or the mean of a group's.

    Attributes:
        metrics: Mean and standard deviation over runs of each number of the row.
        runs: How many.
        units: Names what was scored, the users or certain pairs; rows of the same units can be tested. None where the
            runs of a group have scored different ones.
        values: float64 `[n]` for each metric that is a mean over units (`rmse`: its root), mean over runs.
    """

    metrics: dict[str, tuple[float, float]]
    runs: int
    units: str | None
    values: dict[str, Float64]

    @classmethod
    def one(cls, metrics: Mapping[str, float], units: str | None, values: dict[str, Float64]) -> Self:
        """A row of one evaluation."""
        return cls(mean_and_std([metrics]), 1, units, values)

    @classmethod
    def mean(cls, rows: Sequence[Self]) -> Self:
        """The rows of the runs of a group, of metrics that all have."""
        known = [name for name in rows[0].metrics if all(name in row.metrics for row in rows)]
        summary = mean_and_std([{name: row.metrics[name][0] for name in known} for row in rows])
        units = rows[0].units if len({row.units for row in rows}) == 1 else None
        tested = [name for name in rows[0].values if units is not None and all(name in row.values for row in rows)]
        values = {name: np.mean([row.values[name] for row in rows], axis=0) for name in tested}
        return cls(summary, len(rows), units, values)


Group = Mapping[Labels, Scored]


class Comparison:
    """Groups of rows, and the differences between any two of them.

    Args:
        groups: The rows of each group.
        against: Model that rows are set against; None takes the best baseline of their task and group.
        resamples: How often users are drawn.
        seed: Seed of the draws, which are the same for all rows.

    Raises:
        ArgumentError: No row is of the model `against`.
    """

    def __init__(
        self, groups: Sequence[Group], against: str | None = None, *, resamples: int = RESAMPLES, seed: int = 0
    ) -> None:
        self.groups, self.against = groups, against
        models = sorted({model for rows in groups for _, _, model in rows})
        if against is not None and against not in models:
            raise ArgumentError("against", f"no row is of {against!r}; {hint(against, models, ', '.join(models))}")
        columns: dict[str, list[tuple[int, Labels, str]]] = {}
        for number, rows in enumerate(groups):
            for labels, row in rows.items():
                columns.setdefault(row.units or "", []).extend((number, labels, name) for name in row.values)
        self._resampled: dict[tuple[int, Labels, str], tuple[float, Float64]] = {}
        for keys in filter(None, columns.values()):
            values = np.stack([groups[number][labels].values[name] for number, labels, name in keys], axis=1)
            means = resampled_means(values, resamples, seed=seed)
            for column, key in enumerate(keys):
                form = FORM.get(key[2], lambda mean: mean)
                self._resampled[key] = float(form(values[:, column].mean())), form(means[:, column])

    def rows(self) -> list[dict[str, Any]]:
        """A plain row for each group, task, template and model, against its reference where it has one."""
        found = []
        for number, rows in enumerate(self.groups):
            for labels, row in rows.items():
                plain: dict[str, Any] = {"group": name_of(number), **dict(zip(NAMES, labels, strict=True))}
                plain |= {"runs": row.runs, "metrics": _plain(row)}
                reference = self.reference(number, labels)
                if reference is not None and reference != labels:
                    differences = self.differences((number, labels), (number, reference))
                    if differences:
                        about = {"template": reference[1], "model": reference[2]}
                        plain["against"] = about | {"metrics": differences}
                found.append(plain)
        return found

    def between(self) -> list[dict[str, Any]]:
        """What each further group has more than the first, for the rows that both have."""
        return [
            {"groups": [name_of(number), name_of(0)], **dict(zip(NAMES, labels, strict=True)), "metrics": differences}
            for number, rows in enumerate(self.groups)
            for labels in rows
            if number > 0 and labels in self.groups[0]
            if (differences := self.differences((number, labels), (0, labels)))
        ]

    def reference(self, number: int, labels: Labels) -> Labels | None:
        """The row of its group that a row is set against: with its own template, or a baseline, or the first."""
        rows, (task, template, _) = self.groups[number], labels
        if self.against is None:
            known = list(rows)
            means = [{name: mean for name, (mean, _) in rows[one].metrics.items()} for one in known]
            plain = [dict(zip(NAMES, one, strict=True)) | mean for one, mean in zip(known, means, strict=True)]
            best = best_baseline(plain, task)
            return None if best is None else known[best]
        found = [one for one in rows if (one[0], one[2]) == (task, self.against)]
        return min(found, key=lambda one: (one[1] != template, one[1] != BASELINE), default=None)

    def differences(self, ours: tuple[int, Labels], theirs: tuple[int, Labels]) -> dict[str, dict[str, float]]:
        """`difference`, `low`, `high` and `p` of each metric for two rows, each a group and labels.

        Empty where they have not scored the same units.
        """
        (a, mine), (b, other) = ours, theirs
        one, two = self.groups[a][mine], self.groups[b][other]
        if one.units != two.units:
            return {}
        found = {}
        for name in one.values:
            if name in two.values:
                (observed, drawn), (base, base_drawn) = self._resampled[a, mine, name], self._resampled[b, other, name]
                found[name] = asdict(Difference.of(observed - base, drawn - base_drawn))
        return found


def name_of(number: int) -> str:
    """A, B, ..., Z, AA, ... for the groups in their order."""
    letters = ""
    while number >= 0:
        letters, number = chr(ord("A") + number % 26) + letters, number // 26 - 1
    return letters


def _plain(row: Scored) -> dict[str, dict[str, float | None]]:
    """Mean and deviation; one run has no deviation."""
    return {name: {"mean": mean, "sd": sd if row.runs > 1 else None} for name, (mean, sd) in row.metrics.items()}
