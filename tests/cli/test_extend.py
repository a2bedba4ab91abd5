"""`metatoken extend`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metatoken.run import load_config, train_run
from tests.cli.conftest import Refuse, Run
from tests.growing import write_growing


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a later log and a table of items; to be read only."""
    folder = tmp_path_factory.mktemp("extend")
    config, _, _ = write_growing(folder)
    train_run(load_config(config), folder / "run", say=lambda _: None)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_log_and_a_table(place: Path, run: Run) -> None:
    done = run("extend", "run", "new.csv", "--items", next(Path("world").glob("items.*")), "-o", "grown")
    assert done.code == 0, done
    assert "new users: " in done.out
    assert "new items: " in done.out
    assert "run saved to grown" in done.out
    last = json.loads((place / "grown" / "lineage.json").read_text())["versions"][-1]
    assert last["log"]["source"] == "new.csv"
    shown = run("recommend", "grown", "--user", "u0004", "-k", "3")
    assert (shown.code, len(shown.out.splitlines())) == (0, 4)
    assert run("doctor", "grown").code == 0
    again = run("extend", "grown", "-o", "grown-again")
    assert "0 new users" in again.out


def test_a_table_alone_brings_items_that_nobody_has_taken(place: Path, run: Run) -> None:
    Path("more.csv").write_text(
        'item_id,title,categories\nnew1,A New Kettle,"Coffee|Drip Kettle"\nnew2,Nothing known,\n'
    )
    done = run("extend", "run", "--items", "more.csv", "-o", "grown")
    assert done.code == 0, done
    assert "2 new items: 1 at the centre, 1 from their features" in done.out
    assert "1 items at the centre have no row, and nothing else that says" in done.out
    asked = run("recommend", "grown", "--user", "u0004", "--where", "title == 'A New Kettle'")
    assert "A New Kettle" in asked.out


def test_a_log_in_another_form(place: Path, run: Run) -> None:
    text = Path("new.csv").read_text()
    Path("other.csv").write_text(text.replace("user_id", "uid", 1))
    done = run("extend", "run", "other.csv", "--set", "user=uid", "-o", "grown")
    assert done.code == 0, done


def test_mistakes_are_one_line(place: Path, refuse: Refuse) -> None:
    assert "time does not run backwards" in refuse("extend", "run", "old.csv", "-o", "grown")
    assert "which this training reads" in refuse("extend", "run", "new.csv", "-o", "run", "--overwrite")
    assert "run: exists already" in refuse("extend", "run", "new.csv", "-o", "run")
    assert "is not a run folder" in refuse("extend", "world", "new.csv", "-o", "grown")
    assert "new2.csv" in refuse("extend", "run", "new2.csv", "-o", "grown")
    assert "epochs: expected an integer of at least 0" in refuse("extend", "run", "-o", "grown", "--epochs", "-1")
    assert "replay: expected" in refuse("extend", "run", "-o", "grown", "--replay", "2")
    assert "since: is about what is trained on again" in refuse("extend", "run", "-o", "grown", "--since", "2020-01-01")
    assert "replay: is about what is trained on again" in refuse("extend", "run", "-o", "grown", "--replay", ".5")
    assert "--set split: what is added is held out as" in refuse("extend", "run", "-o", "grown", "--set", "split=none")
    for since in ("2021", "20210201", "1600000000000", "nan", "1e999"):
        said = refuse("extend", "run", "new.csv", "-o", "grown", "--epochs", "1", "--since", since)
        assert "since: expected a date such as 2024-05-31, or a time such as" in said
    assert "--set: unknown setting 'usr'" in refuse("extend", "run", "new.csv", "-o", "grown", "--set", "usr=a")
