"""From a database and back: the same vocabulary as from files, lists in one transaction, and no password anywhere."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoken.data import Interactions, leave_last_out
from metatoken.data.database import read_query, write_rows
from metatoken.recommend import Recommender
from metatoken.run.config import load_config
from metatoken.run.train import read_log, train_run
from metatoken.tokens.vocabulary import Vocabulary
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.files import write_run_config
from tests.postgresql import PASSWORD

ODD = ["007", "1e5", "NA", "é 1", "a,b", 'x"y', "😀", "12345678901234567890", "O'Neil", "u;v"]
NAMES = {"user": "who", "item": "what", "time": "at"}
QUERY = "SELECT * FROM log"
KINDS = ("sqlite", "duckdb", "postgresql")


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """A log in no order, with odd ids and times to the microsecond."""
    rng = np.random.default_rng(0)
    users, items = (ODD + [f"{kind}{n}" for n in range(30)] for kind in "ui")
    rows = [(user, items[item]) for user in users for item in rng.permutation(40)[:8]]
    at = pl.Series(rng.permutation(len(rows)).astype(np.int64) * 7_200_000_013 + 1_700_000_000_000_000)
    return pl.DataFrame(rows, schema=["who", "what"], orient="row").with_columns(
        at=at.cast(pl.Datetime("us", "UTC")), day=pl.Series(rng.integers(1, 4, len(rows)))
    )


def uri_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    pytest.importorskip(kind if kind == "duckdb" else "sqlite3")
    return f"{kind}:///{folder / kind}.db"


def stored(kind: str, folder: Path, frame: pl.DataFrame, request: pytest.FixtureRequest) -> dict[str, str]:
    """Puts the log into a database, with the types that it has for it; where it is."""
    uri = uri_of(kind, folder, request)
    text = frame.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    write_rows(uri, "log_text", [text])
    table = "log_text"
    if kind == "duckdb":
        table = '(SELECT who, what, "at"::TIMESTAMPTZ AS "at" FROM log_text)'
    elif kind == "postgresql":
        table = "(SELECT who, what, at::timestamptz AS at FROM log_text) AS log"
    return {"uri": uri, "query": f"SELECT * FROM {table}"}  # noqa: S608 (a table of this test)


def saved(log: Interactions, folder: Path) -> dict[str, bytes]:
    """Every file of the vocabulary of a log."""
    options = {"levels": [8, 16], "dim": 8, "walks_per_node": 2, "walk_length": 8, "seed": 0}
    Vocabulary.fit(leave_last_out(log).train, **options).save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["parquet", *KINDS])
def test_the_same_log_gives_the_same_vocabulary(
    kind: str, frame: pl.DataFrame, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    frame.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")).write_csv(tmp_path / "log.csv")
    expected = saved(Interactions.read(tmp_path / "log.csv", **NAMES), tmp_path / "vocabulary")
    if kind == "parquet":
        frame.write_parquet(tmp_path / "log", partition_by="day", mkdir=True)
        log = Interactions.read(tmp_path / "log", **NAMES)
    else:
        log = Interactions.read(**stored(kind, tmp_path, frame, request), **NAMES)
    assert saved(log, tmp_path / kind) == expected
    assert len(expected) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_lists_go_back_in_one_transaction(
    kind: str, run: Run, trained_run: TrainedRun, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder, uri = trained_run.run.folder, uri_of(kind, tmp_path, request)
    names = trained_run.run.split.log.users.raw[:3]
    users = tmp_path / "users.txt"
    users.write_text("\n".join(names))
    target = ("--to-uri", uri, "--table", "lists", "--batch-size", 1, "-k", 2)
    result = run("recommend", folder, "--users", users, *target)
    assert result.code == 0, result.err
    assert "6 recommendations for 3 users written to lists" in result.out
    lists = Recommender.load(folder).recommend_many(names, k=2)
    expected = [(user, e.rank, e.item, e.title) for user, one in lists.items() for e in one]
    query = 'SELECT "user", rank, item, title FROM lists ORDER BY "user", rank'
    assert read_query(uri, query).frame.rows() == sorted(expected)
    users.write_text(f"{names[1]}\nnobody\n")
    failed = run("recommend", folder, "--users", users, *target)
    assert failed.code == 2
    assert "users.txt:2: user 'nobody'" in failed.err
    assert read_query(uri, query).frame.rows() == sorted(expected)
    users.write_text(f"{names[1]}\n")
    assert run("recommend", folder, "--users", users, *target).code == 0
    assert [row[0] for row in read_query(uri, query).frame.rows()] == [names[1]] * 2


def test_where_lists_cannot_go(refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    asked = ("recommend", trained_run.run.folder, "--user", trained_run.run.split.log.users.raw[0])
    assert "--table: goes with --to-uri" in refuse(*asked, "--to-uri", f"sqlite:///{tmp_path}/x.db")
    assert "expected a name such as lists" in refuse(*asked, "--to-uri", "sqlite:///x.db", "--table", "a b")
    assert "got both" in refuse(*asked, "--to-uri", "sqlite:///x.db", "--table", "a", "-o", tmp_path / "o.csv")
    said = refuse(*asked, "--to-uri", "postgresql://me:hidden@host/x", "--table", "a")
    assert "holds a password" in said
    assert "hidden" not in said


def test_a_run_says_what_it_was_made_from(tmp_path: Path) -> None:
    yaml = write_run_config(tmp_path, n_users=40)
    log = pl.read_csv(tmp_path / "world" / "interactions.csv")
    with sqlite3.connect(tmp_path / "log.db") as base:
        base.execute("CREATE TABLE log (user_id, item_id, timestamp, rating)")
        base.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?)", log.select("user_id", "item_id", "timestamp", "rating").rows()
        )
    base.close()
    source = [f"data.uri=sqlite:///{tmp_path / 'log.db'}", f"data.query={QUERY}", "data.where=rating >= 2"]
    config = load_config(yaml, ["data.path=null", *source])
    train_run(config, tmp_path / "run", say=lambda _: None)
    found = json.loads((tmp_path / "run" / "source.json").read_text())
    read = read_log(config)
    assert 0 < len(read) < log.height
    assert (found["rows"], found["interactions"], found["query"]) == (log.height, len(read), QUERY)
    assert found["checksum"] == read.checksum()
    assert found["left_out"] == [f"where rating >= 2: {log.height - len(read):,} of {log.height:,} rows are left out"]
    assert "source.json" in json.loads((tmp_path / "run" / "manifest.json").read_text())["files"]


def test_a_password_is_written_nowhere(
    run: Run, postgresql: str, frame: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(postgresql, "secret_log", [frame.select("who", "what")])
    source = ("--uri", postgresql, "--query", "SELECT * FROM secret_log", "--user", "who", "--item", "what")
    printed = []
    for command in (
        ("inspect", *source, "--write", tmp_path / "c.yaml"),
        ("tokenize", *source, "--levels", "8,16", "--dim", "4", "-o", tmp_path / "vocab"),
    ):
        result = run(*command)
        assert result.code == 0, result.err
        printed += [result.out, result.err]
    assert load_config(tmp_path / "c.yaml").data.uri == postgresql
    monkeypatch.setenv("PGPASSWORD", wrong := f"{PASSWORD} not")
    failed = run("inspect", *source)
    assert failed.code == 2
    assert "password authentication failed" in failed.err
    inside = postgresql.replace("shop@", f"shop:{PASSWORD}@")
    refused = run("inspect", *(inside if one == postgresql else one for one in source))
    assert refused.code == 2
    printed += [failed.out, failed.err, refused.out, refused.err]
    assert not any(PASSWORD in one or wrong in one for one in printed)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)
    assert os.environ["PGPASSWORD"] == wrong
