from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from metatoken.recommend import Recommender
from tests.cli.conftest import Run
from tests.conftest import TrainedRun

ALONE = """
import runpy, sys
sys.modules["metatoken"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], {}, "__main__")
"""


def test_a_run_becomes_a_folder_that_recommends_alone(run: Run, trained_run: TrainedRun, tmp_path: Path) -> None:
    folder = trained_run.run.folder
    result = run("export", folder, tmp_path / "hf")
    assert result.code == 0, result.err
    assert "recommend.py --history" in result.out
    history = list(trained_run.run.split.log.items.raw[3:8])
    expected = Recommender.load(folder).recommend(history=history, k=5, model="generation")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "hf" / "recommend.py", "--json", "-k", "5", "--history", *history],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["rank"], one["item"], one["title"]) for one in found] == [(e.rank, e.item, e.title) for e in expected]


def test_nothing_is_overwritten_unasked(
    run: Run, refuse: Callable[..., str], trained_run: TrainedRun, tmp_path: Path
) -> None:
    assert run("export", trained_run.run.folder, tmp_path / "hf").code == 0
    assert "hf exists" in refuse("export", trained_run.run.folder, tmp_path / "hf")
    assert run("export", trained_run.run.folder, tmp_path / "hf", "--overwrite").code == 0


def test_a_folder_that_is_no_run(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "is not a run folder" in refuse("export", tmp_path / "nothing", tmp_path / "hf")
