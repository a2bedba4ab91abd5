"""Every row of a table of metrics says what it is, in the output and on the page of the rows."""

from __future__ import annotations

import re

from metatoken.baselines import BASELINES
from metatoken.evaluate.legend import MEANING, legend
from tests.files import ROOT


def test_a_legend_names_each_model_once() -> None:
    rows = [{"model": name} for name in ("popularity", "fused", "fused", "mine")]
    assert [name for name, _ in legend(rows)] == ["fused", "popularity"]


def test_tasks_and_templates_are_told_where_there_are_several() -> None:
    rows = [{"model": "fused", "task": "sequential", "template": "seq-1"}]
    assert [name for name, _ in legend(rows)] == ["fused"]
    rows.append({"model": "fused", "task": "direct", "template": "direct-unseen"})
    assert [name for name, _ in legend(rows)] == ["fused", "sequential", "direct", "...-unseen"]


def test_every_row_of_the_page_has_a_meaning_and_the_other_way_round() -> None:
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| row \|.*?\n\n", page, flags=re.MULTILINE | re.DOTALL)
    first = [line.split("|")[1] for table in tables for line in table.strip().splitlines()[2:]]
    names = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(names) == sorted(MEANING)
    assert set(BASELINES) <= set(MEANING)
