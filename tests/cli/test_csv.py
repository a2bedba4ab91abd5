"""Tables of commands as CSV: what is printed as JSON, in columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from metatoken.cli.csv_files import flat
from tests.cli.conftest import COLUMNS, Refuse, Run
from tests.conftest import TrainedRun


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_of_an_evaluation(run: Run, finished: Path, tmp_path: Path) -> None:
    result = run("evaluate", finished, "--no-unseen", "--json", "--csv", tmp_path / "rows.csv")
    assert result.code == 0, result.err
    expected = json.loads(result.out)["rows"]
    found = rows(tmp_path / "rows.csv")
    assert [row["model"] for row in found] == [row["model"] for row in expected]
    for one, row in zip(found, expected, strict=True):
        assert float(one["ndcg@10"]) == row["ndcg@10"]
        assert one["vs_best_baseline.model"] == row.get("vs_best_baseline", {}).get("model", "")


def test_rows_of_a_comparison(run: Run, trained_run: TrainedRun, tmp_path: Path) -> None:
    document, table = tmp_path / "all.json", tmp_path / "rows.csv"
    for _ in range(2):  # an older table is replaced
        result = run("compare", trained_run.run.folder, "--resamples", 50, "--json", document, "--csv", table)
        assert result.code == 0, result.err
    for one, row in zip(rows(table), json.loads(document.read_text())["rows"], strict=True):
        assert float(one["hr@10"]) == row["metrics"]["hr@10"]["mean"]
        low = row.get("against", {}).get("metrics", {}).get("ndcg@10", {}).get("low")
        assert one["ndcg@10.low"] == ("" if low is None else str(low))
        assert one["group"] == "A"


def test_scores_neighbors_and_facts(run: Run, vocabulary: Path, ratings: Path, tmp_path: Path) -> None:
    result = run("inspect", vocabulary, "--json", "--csv", tmp_path / "scores.csv")
    assert result.code == 0, result.err
    found = {row["name"]: row["value"] for row in rows(tmp_path / "scores.csv")}
    scores = json.loads(result.out)
    assert float(found["levels.1.entropy"]) == scores["levels"][1]["entropy"]
    assert float(found["items.diversity.effective_rank"]) == scores["items"]["diversity"]["effective_rank"]
    result = run("inspect", vocabulary, "--id", "7", "-k", 3, "--json", "--csv", tmp_path / "near.csv")
    assert [row["id"] for row in rows(tmp_path / "near.csv")] == [n["id"] for n in json.loads(result.out)["neighbours"]]
    result = run("inspect", ratings, *COLUMNS, "--json", "--csv", tmp_path / "facts.csv")
    assert result.code == 0, result.err
    found = {row["name"]: row["value"] for row in rows(tmp_path / "facts.csv")}
    assert found["users"] == str(json.loads(result.out)["facts"]["users"])


def test_what_is_read_stays(refuse: Refuse, ratings: Path, vocabulary: Path) -> None:
    before = ratings.read_bytes()
    assert "is the file that WHAT reads" in refuse("inspect", ratings, *COLUMNS, "--csv", ratings)
    assert "holds something else than such a table" in refuse("inspect", vocabulary, "--csv", ratings)
    assert ratings.read_bytes() == before


def test_documents_are_flat_by_name() -> None:
    found = list(flat({"a": {"b": [1, {"c": None}], "d": "x"}, "e": []}))
    assert found == [
        {"name": "a.b.0", "value": 1}, {"name": "a.b.1.c", "value": None}, {"name": "a.d", "value": "x"},
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_a_table_never_lands_in_a_run(command: str, refuse: Refuse, finished: Path) -> None:
    said = refuse(command, finished, "--csv", finished / "history.parquet")
    assert "is a part of" in said
