"""The document of metrics and its table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from metatoken.errors import ArgumentError
from metatoken.evaluate.metrics import metrics_document, metrics_table
from metatoken.evaluate.ranking import ranking_metrics

COUNTS = {"users": 3, "items": np.int64(4), "interactions": 12}


def row(model, lists, **labels):
    metrics = ranking_metrics(np.array(lists), np.array([0, 1, 2]), 4, (1, 2))
    return {"task": "sequential", "template": "seen-0", "model": model, "users": np.int64(3)} | metrics | labels


ROWS = [row("popularity", [[3, 0]] * 3), row("fused", [[0, 1], [1, 0], [0, 2]])]


def test_document_is_json_with_plain_numbers():
    document = metrics_document("leave-last-out", COUNTS, np.int64(7), 1.5, ROWS, repeated_targets=2)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == ["schema", "split", "dataset", "seed", "seconds", "rows", "repeated_targets"]
    assert document["schema"] == 1
    assert document["dataset"] == {"users": 3, "items": 4, "interactions": 12}
    assert document["rows"][1]["hr@1"] == pytest.approx(2 / 3)
    assert "repeated_targets" not in metrics_document("none", COUNTS, 0, 0.0, [])
    assert metrics_document("time", COUNTS, 0, 0.0, [], new_targets=np.int64(3))["new_targets"] == 3


@pytest.mark.parametrize(
    ("counts", "rows", "message"),
    [
        ({"users": 1}, [], "lacks interactions, items"),
        (COUNTS, [{"task": "direct", "model": "fused"}], "lacks template, users"),
        (COUNTS, [ROWS[0], ROWS[0]], "two rows"),
        (COUNTS, [ROWS[0] | {"hr@1": float("nan")}], "hr@1 is nan"),
    ],
)
def test_document_refuses(counts, rows, message):
    with pytest.raises(ArgumentError, match=message):
        metrics_document("leave-last-out", counts, 0, 1.0, rows)


def rendered(rows):
    console = Console(width=200, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(metrics_table(rows, title="test"))
    return capture.get()


def test_table_shows_every_row_and_marks_the_best():
    text = rendered([*ROWS, {"task": "rating", "template": "seen-0", "model": "[head]", "users": 1200, "rmse": 0.91}])
    lines = text.splitlines()
    best = next(line for line in lines if "fused" in line)
    rest = next(line for line in lines if "popularity" in line)
    alone = next(line for line in lines if "[head]" in line)
    assert "\x1b[1m0.6667\x1b[0m" in best
    assert "\x1b[1m0" not in rest
    assert "0.9100" in alone
    assert "1,200" in alone
    assert "hr@2" in text
    assert "rmse" in text


def test_table_tells_the_difference_to_the_best_baseline():
    versus = {"model": "transition_graph", "difference": 0.1234, "p": 0.0421}
    rows = [
        row("fused", [[0, 1]] * 3, vs_best_baseline=versus),
        row("popularity", [[3, 0]] * 3, template="-", vs_best_baseline=versus | {"difference": -0.5, "p": 0.0002}),
        row("transition_graph", [[0, 1]] * 3, template="-"),
        row("transition_graph", [[0, 1]] * 3, template="-", task="direct"),  # nothing was compared with this one
    ]
    lines = [line for line in rendered(rows).splitlines() if "0.3333" in line or "popularity" in line]
    assert [line.rsplit("│", 2)[1].strip() for line in lines] == ["+12.3% p .042", "-50.0% p<.001", "best", ""]
    assert "baseline" not in rendered(ROWS)


def test_table_without_a_column_of_users():
    assert "users" not in rendered([{name: value for name, value in one.items() if name != "users"} for one in ROWS])


def test_document_refuses_what_is_not_finite_within_a_comparison():
    broken = {"model": "popularity", "difference": float("inf"), "p": 0.5}
    with pytest.raises(ArgumentError, match="difference is inf"):
        metrics_document("leave-last-out", COUNTS, 0, 1.0, [ROWS[0] | {"vs_best_baseline": broken}])


def test_table_of_nothing():
    assert "model" in rendered([])
