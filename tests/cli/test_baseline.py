from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metatoken.baselines import EASE, SASRec
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.files import flip_byte

QUICK = ("--set", "sasrec.epochs=2", "--set", "sasrec.dim=8", "--set", "item_knn={neighbors: [5], shrinkage: [1]}")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_all_of_them_stand_in_the_table_of_the_run(run: Run, finished: Path, trained_run: TrainedRun) -> None:
    result = run("baseline", finished, *QUICK)
    assert result.code == 0, result.err
    for line in ("sasrec: epoch 2", "item_knn: neighbors 5, shrinkage 1, decay", "ease: regularization"):
        assert line in result.out
    assert f"next: metatoken evaluate {finished}" in result.out
    result = run("evaluate", finished, "--no-unseen")
    assert result.code == 0, result.err
    rows = json.loads((finished / "metrics.json").read_text())["rows"]
    tasks = {(row["task"], row["template"]) for row in rows if row["model"] in ("sasrec", "item_knn", "ease")}
    assert tasks == {("sequential", "-")}  # the direct task shows no history
    lists = pl.read_parquet(finished / "predictions.parquet")
    for name in ("sasrec", "item_knn", "ease"):
        assert name in result.out
        assert lists.filter(pl.col("model") == name)["user"].n_unique() == trained_run.run.split.log.n_users
    known = [row for row in trained_run.metrics["rows"] if "unseen" not in row["template"]]
    assert [row for row in rows if row["model"] not in ("sasrec", "item_knn", "ease")] == known


def test_the_command_line_and_python_fit_the_same(run: Run, finished: Path, trained_run: TrainedRun) -> None:
    assert run("baseline", finished, "sasrec", *QUICK).code == 0
    assert [path.name for path in (finished / "baselines").iterdir()] == ["sasrec"]
    settings = SASRec.options.of(None, {"epochs": 2, "dim": 8})
    SASRec.fit(trained_run.run.split, settings, seed=trained_run.run.config.seed).save(finished / "ours")
    assert files(finished / "baselines" / "sasrec") == files(finished / "ours")


def test_ctrl_c_leaves_what_was_there(run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("baseline", finished, "item_knn", "ease", *QUICK).code == 0
    before = files(finished / "baselines" / "ease")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("metatoken.baselines.ease.weights", interrupted)
        patch.setattr("metatoken.baselines.sasrec.summed_loss", interrupted)
        assert run("baseline", finished, "ease").code == 130
        assert run("baseline", finished, "sasrec").code == 130
    assert {path.name for path in (finished / "baselines").iterdir()} == {"item_knn", "ease"}
    assert files(finished / "baselines" / "ease") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("easy",), "unknown baseline 'easy'; did you mean 'ease'?"),
        (("popularity",), "expected some of sasrec, item_knn, ease"),
        (("--set", "sasrec.epoch=3"), "unknown setting 'sasrec.epoch'; did you mean 'epochs'?"),
        (("--set", "sasrec.epochs=0"), "sasrec.epochs: expected an integer of at least 1, got 0"),
        (("--set", "sasrec"), "expected key=value"),
        (("ease", "--set", "ease.max_items=10"), "max_items allows 10"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], said: str, refuse: Refuse, finished: Path) -> None:
    assert said in refuse("baseline", finished, *arguments)


def test_a_run_that_does_not_rank_has_nothing_to_compare_with(
    refuse: Refuse, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metatoken.run.baselines.tasks_of", lambda *_: ())
    assert "no task of this run ranks" in refuse("baseline", finished)


def test_an_altered_baseline_and_one_of_another_log_are_refused(
    run: Run, refuse: Refuse, finished: Path, split: Any
) -> None:
    assert run("baseline", finished, "ease").code == 0
    flip_byte(finished / "baselines" / "ease" / "weights.safetensors")
    assert "weights.safetensors: altered or damaged" in refuse("evaluate", finished)
    EASE.fit(split).save(finished / "baselines" / "ease")
    assert f"fit it again: metatoken baseline {finished} ease" in refuse("evaluate", finished)
    assert run("baseline", finished, "ease").code == 0
    assert run("evaluate", finished, "--no-unseen").code == 0
