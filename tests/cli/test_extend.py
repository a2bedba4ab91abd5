"""`metatoken extend`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from metatoken.run import load_config, train_run
from tests.cli.conftest import Refuse, Run
from tests.files import reseal
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
    older = refuse("extend", "run", "old.csv", "-o", "grown")
    assert older.startswith("old.csv: ")
    assert "time does not run backwards; leave out the rows that are known already: --set since=" in older
    assert "run, which is a run; choose a place outside" in refuse("extend", "run", "new.csv", "-o", "run/child")
    assert "new.csv: " not in refuse("extend", "run", "new.csv", "-o", "n" * 250)
    assert "which this training reads" in refuse("extend", "run", "new.csv", "-o", "run", "--overwrite")
    assert "run: exists already; give another folder, or --overwrite" in refuse("extend", "run", "new.csv", "-o", "run")
    assert "nothing to add: give a log" in refuse("extend", "run", "-o", "grown")
    Path("head.csv").write_text(Path("new.csv").read_text().splitlines()[0] + "\n")
    assert "head.csv: the file has columns but no rows" in refuse("extend", "run", "head.csv", "-o", "grown")
    Path("semicolons.csv").write_text(Path("new.csv").read_text().replace(",", ";"))
    assert "add --set 'separator=;'" in refuse("extend", "run", "semicolons.csv", "-o", "grown")
    assert "is not a run folder" in refuse("extend", "world", "new.csv", "-o", "grown")
    assert "new2.csv" in refuse("extend", "run", "new2.csv", "-o", "grown")
    command = ("extend", "run", "new.csv", "-o", "grown")
    assert "epochs: expected an integer of at least 0" in refuse(*command, "--epochs", "-1")
    assert "replay: expected" in refuse(*command, "--replay", "2")
    assert "since: is about what is trained on again" in refuse(*command, "--since", "2020-01-01")
    assert "replay: is about what is trained on again" in refuse(*command, "--replay", ".5")
    assert "--set split: what is added is held out as" in refuse(*command, "--set", "split=none")
    for since in ("2021", "20210201", "1600000000000", "nan", "1e999"):
        said = refuse("extend", "run", "new.csv", "-o", "grown", "--epochs", "1", "--since", since)
        assert "since: expected a date such as 2024-05-31, or a time such as" in said
    assert "--set: unknown setting 'usr'" in refuse("extend", "run", "new.csv", "-o", "grown", "--set", "usr=a")


def test_what_has_no_effect_is_told(place: Path, run: Run, refuse: Refuse) -> None:
    """Filters of rows of the parent, `--epochs` without rows to train on, and `--hold-out` where nothing is."""
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    Path("run/config.yaml").write_text(yaml.safe_dump(config | {"data": config["data"] | {"min_user": 2}}))
    reseal(Path("run"))
    last = pl.read_csv("new.csv")["timestamp"].max()
    columns = Path("new.csv").read_text().splitlines()[0].split(",")
    row = {"user_id": "fresh", "item_id": "p0001", "timestamp": str(last)}
    Path("one.csv").write_text(f"{','.join(columns)}\n{','.join(row.get(name, '5') for name in columns)}\n")
    done = run("extend", "run", "one.csv", "-o", "all", "--no-hold-out")
    assert done.code == 0, done
    assert "min_user of the run: about its own log, not used for the new one; --set NAME=VALUE" in done.out
    Path("more.csv").write_text("item_id,title,categories\nnew1,A New Kettle,Kettle\n")
    done = run("extend", "all", "--items", "more.csv", "--epochs", "1", "-o", "more")
    assert "there is nothing to train further on: --epochs changes nothing" in done.out
    said = refuse("extend", "all", "--items", "more.csv", "--hold-out", "-o", "no")
    assert "--hold-out: this run does not hold the last items of users out" in said
