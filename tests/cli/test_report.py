from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from metatoken.artifacts import OWN_SUM, read_json, write_json
from metatoken.extras import install_extra
from metatoken.report.page import SIGN
from metatoken.run import RunFolder, load_config
from metatoken.run.config import dump_config
from metatoken.run.evaluation import sealed
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.files import reseal


def test_an_older_report_is_replaced(run: Run, trained_run: TrainedRun, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text(f'<!doctype html>\n<meta name="generator" content="{SIGN}">\nolder')
    result = run("report", trained_run.run.folder, "-o", out, "--resamples", 50)
    assert result.code == 0, result.err
    assert result.out == f"written to {out}; open it in a browser\n"
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "older" not in page
    assert f'\n<meta name="generator" content="{SIGN}">\n' in page


def test_several_runs_stand_side_by_side(run: Run, trained_run: TrainedRun, finished: Path, tmp_path: Path) -> None:
    at = RunFolder(finished)
    config = load_config(at.config)
    at.config.write_text(dump_config(replace(config, model=replace(config.model, alpha=0.5))))
    reseal(finished)
    document = {name: value for name, value in read_json(at.metrics).items() if name != OWN_SUM}
    write_json(at.metrics, sealed(document, at, [at.predictions]))
    out = tmp_path / "report.html"
    result = run("report", trained_run.run.folder, finished, "-o", out, "--resamples", 50)
    assert result.code == 0, result.err
    page = out.read_text(encoding="utf-8")
    assert "2 runs side by side" in page
    assert "model.alpha" in page
    assert "B against A" in page
    assert page.count('<details class="run"') == 2
    assert page.count("<svg") == 21


def test_nothing_of_somebody_elses_is_replaced(refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("<!doctype html><title>mine</title>")
    assert "holds something else than a report" in refuse("report", trained_run.run.folder, "-o", out)
    assert out.read_text() == "<!doctype html><title>mine</title>"


def test_a_run_that_was_not_evaluated_is_refused(refuse: Refuse, finished: Path, tmp_path: Path) -> None:
    RunFolder(finished).metrics.unlink()
    said = refuse("report", finished, "-o", tmp_path / "report.html")
    assert f"has no metrics; run `metatoken evaluate {finished}`" in said
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("absent", ["matplotlib", "jinja2"])
def test_the_extra_is_named_where_it_is_missing(
    absent: str, refuse: Refuse, trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("metatoken.extras.find_spec", lambda name: None if name == absent else find(name))
    assert f"a report needs {absent}: {install_extra('report')}" in refuse("report", trained_run.run.folder)
