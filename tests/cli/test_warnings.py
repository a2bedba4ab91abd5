"""A model that the fusion gives no weight is said to be idle wherever its lists are made, once and on one line."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from metatoken.cli.errors import clean_warnings
from metatoken.errors import MetatokenWarning
from metatoken.predict.fusion import Fusion
from metatoken.recommend import Recommender
from metatoken.run import evaluate_run, load_run
from tests.cli.conftest import Run
from tests.files import reseal, write_run_config

LINE = "warning: the fusion gives the model no weight, so what is served is the transition graph alone; try more epochs"


@pytest.fixture
def idle(finished: Path) -> Path:
    """A run whose fusion gives the model no weight."""
    Fusion(0.0, 0.0, 1.0, users=80).save(finished / "fusion.json")
    reseal(finished)
    return finished


def said(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("warning: the fusion")]


def test_recommend_says_so_where_the_fused_list_is_asked_for(run: Run, idle: Path) -> None:
    users = load_run(idle).split.log.users.raw[:2]
    result = run("recommend", idle, "--user", users[0], "--user", users[1])
    assert result.code == 0
    assert len(said(result.err)) == 1
    assert said(result.err)[0].startswith(LINE)
    assert "warning" not in result.out
    assert not said(run("recommend", idle, "--user", users[0], "--model", "item_head").err)


def test_evaluate_says_so(run: Run, idle: Path) -> None:
    result = run("evaluate", idle, "--no-unseen")
    assert [line[: len(LINE)] for line in said(result.err)] == [LINE]


def test_train_and_quickstart_say_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatoken.predict.fusion.choose_fusion", lambda *_, **__: Fusion(0.0, 0.0, 1.0, users=9))
    result = run("train", write_run_config(tmp_path, n_users=60), "-o", tmp_path / "run")
    assert result.code == 0, result.err
    assert [line[: len(LINE)] for line in said(result.err)] == [LINE]
    result = run("quickstart", "-o", tmp_path / "demo", "--users", 60, "--items", 40, "--epochs", 1)
    assert len(said(result.err)) == 1  # it trains, evaluates and recommends


def test_a_run_whose_model_counts_is_not_warned_of(run: Run, finished: Path) -> None:
    Fusion(0.1, 0.0, 0.9, users=80).save(finished / "fusion.json")
    reseal(finished)
    assert not said(run("recommend", finished, "--user", load_run(finished).split.log.users.raw[0]).err)


def test_python_warns_too(idle: Path) -> None:
    loaded = load_run(idle)
    with pytest.warns(MetatokenWarning, match="no weight"):
        evaluate_run(loaded, unseen=False)
    recommender = Recommender.load(idle)
    with pytest.warns(MetatokenWarning, match="no weight"):
        recommender.recommend(loaded.split.log.users.raw[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recommender.recommend(loaded.split.log.users.raw[0], model="item_head")


@pytest.mark.usefixtures("stop_at_once")
@pytest.mark.parametrize(("weights", "alone"), [((0.0, 0.0, 1.0), True), ((0.5, 0.0, 0.5), False)])
def test_the_line_of_the_server_says_so(
    weights: tuple[float, float, float], alone: bool, run: Run, finished: Path
) -> None:
    Fusion(*weights).save(finished / "fusion.json")
    reseal(finished)
    result = run("serve", finished, "--port", 0)
    assert result.code == 0, result.err
    assert result.out.endswith("(stop with Ctrl-C); fused lists are the transition graph alone\n") is alone
    assert len(said(result.err)) == alone


def test_other_warnings_are_shown_as_python_does(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with clean_warnings():
            for category in (MetatokenWarning, RuntimeWarning) * 2:
                warnings.warn("something", category, stacklevel=1)
    assert [one.category for one in shown] == [RuntimeWarning, RuntimeWarning]
    assert capsys.readouterr().err == "warning: something\n"
