"""What the page says, against metrics.json and slow twins."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.baselines import BASELINES
from metatoken.evaluate.legend import MEANING
from metatoken.report import costs, hits, page, results, space, words
from metatoken.report.examples import list_examples
from metatoken.report.log import log_section
from metatoken.report.subject import Subject, labels_of
from metatoken.report.tokens import TokenFindings
from metatoken.report.training import training_section
from metatoken.run import compare_runs
from tests.conftest import TrainedRun


@pytest.fixture(scope="module")
def subject(trained_run: TrainedRun) -> Subject:
    rows = compare_runs([trained_run.run.folder], resamples=200)["rows"]
    return Subject.read(trained_run.run.folder, rows)


def test_lists_give_the_metrics_of_every_row(subject: Subject, trained_run: TrainedRun) -> None:
    for row in trained_run.metrics["rows"]:
        places = subject.ranks((row["task"], row["template"], row["model"]))
        assert np.mean(places > 0) == pytest.approx(row["hr@10"])
        assert np.mean([1 / math.log2(p + 1) if p else 0 for p in places]) == pytest.approx(row["ndcg@10"])


def test_it_is_judged_by_what_is_served(subject: Subject) -> None:
    assert subject.main is not None
    assert subject.rival is not None
    assert labels_of(subject.main) == ("sequential", "seq-1", "fused")
    baselines = [row for row in subject.rows if row["task"] == "sequential" and row["template"] == "-"]
    assert subject.rival is max(baselines, key=lambda row: row["metrics"]["ndcg@10"]["mean"])


def test_the_table_is_in_order_and_marks_what_is_served(subject: Subject, trained_run: TrainedRun) -> None:
    table = results.result_tables(subject.rows, subject.main)[0]
    known = {
        (r["model"], r["template"].strip("-")): r for r in trained_run.metrics["rows"] if r["task"] == "sequential"
    }
    values = [float(line["values"][-1]) for line in table["lines"]]
    assert values == sorted(values, reverse=True)
    for line in table["lines"]:
        row = known.pop((line["model"], line["template"]))
        assert line["values"] == [f"{row['hr@10']:.4f}", f"{row['ndcg@10']:.4f}"]
    assert not known
    assert [line["model"] for line in table["lines"] if line["main"]] == ["fused"]
    assert sum(line["reference"] for line in table["lines"]) == 1


def test_every_row_is_explained(trained_run: TrainedRun, answering_run: TrainedRun) -> None:
    rows = [*trained_run.metrics["rows"], *answering_run.metrics["rows"]]
    assert {row["model"] for row in rows} | set(BASELINES) <= set(MEANING)


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0.01, 0.02, "ndcg@10", "better"), (-0.02, -0.01, "ndcg@10", "worse"), (-0.01, 0.01, "ndcg@10", "even"),
        (-0.02, -0.01, "rmse", "better"), (0.01, 0.02, "rmse", "worse"), (0.0, 0.02, "ndcg@10", "even"),
    ],
)  # fmt: skip
def test_a_verdict_follows_the_interval(low: float, high: float, kind: str, expected: str) -> None:
    assert results.verdict({"low": low, "high": high}, kind) == expected


def test_groups_hold_everybody_once_and_equal_values_together() -> None:
    values = np.array([0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 9, 12, 12])
    found = hits.groups(values, 3)
    assert [part.label for part in found] == ["0", "1", "2–5", "9–12"]  # noqa: RUF001
    assert (np.sum([part.members for part in found], axis=0) == 1).all()
    assert [part.label for part in hits.groups(np.array([7]))] == ["7"]
    assert [part.label for part in hits.groups(np.array([0, 0]))] == ["0"]


def test_shares_have_intervals_of_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert hits.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert hits.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_the_plane_is_that_of_the_largest_singular_values() -> None:
    x = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    points, kept = space.plane(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    left, sigma, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(left[:, :2] * sigma[:2]), atol=1e-5)
    assert kept == pytest.approx((sigma[:2] ** 2).sum() / (sigma**2).sum())
    assert all(column[np.abs(column).argmax()] > 0 for column in points.T)
    assert space.plane(x[:, :1])[0].shape == (30, 2)


def test_a_map_is_colored_by_the_column_that_tells_most_items_apart() -> None:
    table = pl.DataFrame(
        {
            "item": list("abcdef"), "title": ["x"] * 6, "maker": ["p", "p", None, None, None, None],
            "same": ["q"] * 6, "categories": [["all", "u"], ["all", "u"], ["all", "v"], ["v"], ["w"], None],
            "price": [1, 2, 3, 4, 5, 6],
        }
    )  # fmt: skip
    name, places, names = space.coloring(table)
    assert name == "categories"
    assert names == ["all", "u", "v"]
    assert places.tolist() == [0, 0, 0, 2, -1, -1]
    assert space.coloring(table.select("item", "same"))[2] == []


def test_examples_are_good_and_bad_lists_with_titles(subject: Subject) -> None:
    found = list_examples(subject)
    assert all(any(item["hit"] for item in one["items"][:3]) for one in found["good"])
    assert all(not any(item["hit"] for item in one["items"]) for one in found["bad"])
    assert found["bad"]
    titles = set(subject.data.catalogue.titles)
    assert all(item["title"] in titles for kind in found.values() for one in kind for item in one["items"])
    assert all(one["target"] not in [item["title"] for item in one["items"]] for one in found["bad"])


def test_what_was_scored_otherwise_is_told(subject: Subject) -> None:
    other = replace(subject, metrics={**subject.metrics, "settings": {"width": 7}})
    own, told = (dict(log_section(one, "r0")["facts"]) for one in (subject, other))
    assert told == own | {"scored with evaluate.width": "7, other than the configuration says"}


def test_costs_are_those_of_the_files(subject: Subject) -> None:
    found = costs.cost_section(subject)
    model = sum(path.stat().st_size for path in subject.folder.model.rglob("*") if path.is_file())
    assert found["disk"][0] == {"name": "model", "size": costs.readable(model), "share": found["disk"][0]["share"]}
    assert max(part["share"] for part in found["disk"]) == 100
    assert {"training, processor time", "most memory while training"} <= {name for name, _ in found["facts"]}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (119.7, "2 min 0 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_are_readable(seconds: float, expected: str) -> None:
    assert costs.duration(seconds) == expected


def test_sizes_are_readable() -> None:
    assert [costs.readable(n) for n in (0, 999, 1000, 12_345, 999_600, 3_400_000, 5_000_000_000_000)] == [
        "0 B", "999 B", "1 kB", "12.3 kB", "1 MB", "3.4 MB", "5000 GB",
    ]  # fmt: skip


def test_a_run_without_a_table_of_its_epochs_still_has_a_report(subject: Subject) -> None:
    bare = Subject(subject.folder, subject.data, subject.metrics, subject.rows)
    bare.__dict__["epochs"] = {}
    assert training_section(bare, "x")["pictures"] == []
    assert "training, by the clock" not in dict(costs.cost_section(bare)["facts"])


@pytest.mark.parametrize(
    ("low", "high", "headline"),
    [(0.01, 0.03, "Better than"), (-0.03, -0.01, "Worse than"), (-0.01, 0.03, "Not told apart from")],
)
def test_the_summary_says_what_the_interval_says(subject: Subject, low: float, high: float, headline: str) -> None:
    rows: list[dict[str, Any]] = [dict(row) for row in subject.rows]
    for row in rows:
        if "against" in row:
            found = {"difference": (low + high) / 2, "low": low, "high": high, "p": 0.04}
            row["against"] = row["against"] | {"metrics": {"ndcg@10": found}}
    told = words.summary(Subject(subject.folder, subject.data, subject.metrics, rows))
    assert told["headline"].startswith(headline)
    assert any(results.signed(low) in sentence and "p .040" in sentence for sentence in told["sentences"])


def test_next_steps_name_what_is_missing(subject: Subject) -> None:
    found = TokenFindings.of(subject)
    commands = [step.command for step in words.next_steps(subject, found, [])]
    assert any(command.startswith("metatoken baseline ") for command in commands)
    assert any("--seeds" in command for command in commands)
    assert words.next_steps(subject, found, ["odd"])[0].what.startswith("Look at the warnings")


def test_seeds_of_one_group_have_their_own_rows(trained_run: TrainedRun) -> None:
    document = compare_runs([trained_run.run.folder], resamples=10)
    rows = page._rows_of(trained_run.run.folder, document, 10, 0)
    assert rows == document["rows"]
