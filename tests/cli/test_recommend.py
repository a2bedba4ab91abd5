from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from metatoken.recommend import Recommender
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.files import flip_byte


@pytest.fixture
def folder(trained_run: TrainedRun) -> Path:
    return Path(trained_run.run.folder)


@pytest.fixture
def users(trained_run: TrainedRun) -> tuple[str, ...]:
    raw: tuple[str, ...] = trained_run.run.split.log.users.raw
    return raw


def test_a_user_gets_items_with_titles(run: Run, folder: Path, users: tuple[str, ...]) -> None:
    result = run("recommend", folder, "--user", users[0], "-k", 3)
    assert result.code == 0, result.err
    head, *lines = result.out.splitlines()
    assert head == f"{users[0]}:"
    expected = Recommender.load(folder).recommend(users[0], k=3)
    found = [re.fullmatch(r" +(\d+)  (\S+)  (\S+)  (.+)", line) for line in lines]
    assert [m.groups() for m in found if m] == [
        (str(one.rank), f"{one.score:.4f}", one.item, one.title) for one in expected
    ]
    assert all(one.title for one in expected)


@pytest.mark.parametrize("model", ["fused", "item_head", "generation"])
def test_each_part_of_the_model(model: str, run: Run, folder: Path, users: tuple[str, ...]) -> None:
    result = run("recommend", folder, "--user", users[4], "--model", model)
    assert result.code == 0, result.err
    expected = Recommender.load(folder).recommend(users[4], model=model)  # type: ignore[arg-type]
    assert [line.split()[2] for line in result.out.splitlines()[1:]] == [one.item for one in expected]


def test_many_users(run: Run, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_text(f"{users[2]}\n\n {users[0]} \n")
    result = run("recommend", folder, "--user", users[9], "--users", file, "-k", 2, "-o", tmp_path / "out.parquet")
    assert result.code == 0, result.err
    assert "6 recommendations for 3 users" in result.out
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame.columns == ["user", "rank", "item", "title", "score"]
    assert frame["user"].to_list() == [users[n] for n in (9, 9, 2, 2, 0, 0)]
    assert frame["rank"].to_list() == [1, 2] * 3


def test_anybody_with_a_history(run: Run, folder: Path, trained_run: TrainedRun) -> None:
    items = trained_run.run.split.log.items.raw
    result = run("recommend", folder, "--history", f"{items[0]}, {items[5]},", "-k", 4)
    assert result.code == 0, result.err
    head, *lines = result.out.splitlines()
    assert head == "(history):"
    assert len(lines) == 4
    assert not {items[0], items[5]} & {line.split()[2] for line in lines}


def test_unknown_ids(refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    assert "nobody" in refuse("recommend", folder, "--user", "nobody")
    assert "nobody" in refuse("recommend", folder, "--user", users[0], "--user", "nobody", "-o", tmp_path / "o.parquet")
    assert "nothing" in refuse("recommend", folder, "--history", "nothing")
    (tmp_path / "users.txt").write_text("nobody\n")
    assert "nobody" in refuse("recommend", folder, "--users", tmp_path / "users.txt")


def test_who_is_asked_for_must_be_clear(refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    assert "--user" in refuse("recommend", folder)
    assert "--user" in refuse("recommend", folder, "--user", users[0], "--history", "a")
    assert "absent.txt" in refuse("recommend", folder, "--users", tmp_path / "absent.txt")
    for content, hint in ((b"", "empty"), (b"\xff\xfe\x00", "UTF-16")):
        (tmp_path / "users.txt").write_bytes(content)
        assert hint in refuse("recommend", folder, "--users", tmp_path / "users.txt")


@pytest.mark.parametrize("option", [("-k", "0"), ("-k", "many"), ("--model", "best")])
def test_options_that_cannot_be_used(option: tuple[str, str], run: Run, folder: Path, users: tuple[str, ...]) -> None:
    result = run("recommend", folder, "--user", users[0], *option)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize("file", ["model/weights.safetensors", "vocabulary/vectors.safetensors"])
def test_an_altered_file(file: str, refuse: Refuse, finished: Path, users: tuple[str, ...]) -> None:
    flip_byte(finished / file)
    assert "altered" in refuse("recommend", finished, "--user", users[0])


def test_no_run(refuse: Refuse, tmp_path: Path) -> None:
    assert "is not a run folder" in refuse("recommend", tmp_path, "--user", "a")


def test_a_file_with_histories_and_filters(
    run: Run, folder: Path, users: tuple[str, ...], trained_run: TrainedRun, tmp_path: Path
) -> None:
    items = trained_run.run.split.log.items.raw
    file = tmp_path / "users.csv"
    file.write_text(f"user,history\n{users[0]},\nstranger,{items[0]} lost {items[1]}\n,{items[2]}\n")
    (tmp_path / "allow.txt").write_text("".join(f"{item}\n" for item in (*items[:30], "lost-too")))
    (tmp_path / "deny.txt").write_text(f"{items[5]}\n")
    arguments = ("--allow", tmp_path / "allow.txt", "--deny", tmp_path / "deny.txt", "--where", "title is not null")
    result = run("recommend", folder, "--users", file, "-k", 28, *arguments, "-o", tmp_path / "out.jsonl")
    assert result.code == 0, result.err
    assert "1 ids in histories are no items of the run and were left out, e.g. lost" in result.err
    assert "1 ids of --allow and --deny are no items of the run, e.g. lost-too" in result.err
    assert "users got fewer than 28 items" in result.err
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["user"] for one in answers] == [users[0], "stranger", None]
    assert {i["item"] for i in answers[1]["items"]} == set(items[2:30]) - {items[5]}
    seen = run("recommend", folder, "--history", items[0], "-k", 30, *arguments, "--include-seen").out
    assert items[0] in {line.split()[2] for line in seen.splitlines()[1:]}


def test_columns_of_the_item_table_go_with_each_item(
    run: Run, refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path
) -> None:
    catalogue = Recommender.load(folder).catalogue
    known = dict(zip(catalogue.items.raw, catalogue.frame["categories"].to_list(), strict=True))
    asked = ("recommend", folder, "--user", users[0], "-k", 2, "--columns", "categories")
    lines = run(*asked).out.splitlines()[1:]
    for line in lines:
        assert line.endswith(f"  (categories {json.dumps(known[line.split()[2]])})")
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        assert run(*asked, "-o", tmp_path / name).code == 0
    assert run(*asked, "--to-uri", f"sqlite:///{tmp_path / 'out.db'}", "--table", "t").code == 0
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["user", "rank", "item", "title", "score", "categories"]
    assert found["categories"].to_list() == [known[item] for item in found["item"].to_list()]
    plain = pl.read_csv(tmp_path / "out.csv")
    assert [json.loads(text) for text in plain["categories"]] == found["categories"].to_list()
    document = json.loads((tmp_path / "out.jsonl").read_text())
    assert [one["categories"] for one in document["items"]] == found["categories"].to_list()
    with sqlite3.connect(tmp_path / "out.db") as database:
        assert [json.loads(row[0]) for row in database.execute("select categories from t")] == [
            known[item] for item in found["item"].to_list()
        ]
    said = refuse("recommend", folder, "--user", users[0], "--columns", "categoris")
    assert "no column 'categoris'" in said
    assert "categories" in said
    assert "every result has 'title' already" in refuse("recommend", folder, "--user", users[0], "--columns", "title")


def test_unknown_users_of_a_file(
    run: Run, refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "users.txt"
    file.write_text(f"{users[0]}\nnobody\n{users[1]}\n")
    assert refuse("recommend", folder, "--users", file, "-o", tmp_path / "o.csv").startswith(f"{file}:2: user 'nobody'")
    result = run("recommend", folder, "--users", file, "--skip-unknown", "-k", 1)
    assert result.code == 0, result.err
    assert [line for line in result.out.splitlines() if line.endswith(":")] == [f"{users[0]}:", f"{users[1]}:"]
    assert "1 unknown users without a history were skipped" in result.err


def test_a_filter_that_cannot_be_used(refuse: Refuse, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    message = refuse("recommend", folder, "--user", users[0], "--where", "title = 'x'", "-o", tmp_path / "o.parquet")
    assert message == "where: character 7: unexpected '='; equality is written =="
    assert "no column colour" in refuse("recommend", folder, "--user", users[0], "--where", "colour == 'red'")
    assert ".parquet" in refuse("recommend", folder, "--user", users[0], "-o", tmp_path / "o.xlsx")


def test_an_output_that_is_an_input(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "users.csv").write_text("user\nu\n")
    said = refuse("recommend", tmp_path / "run", "--users", tmp_path / "users.csv", "-o", tmp_path / "users.csv")
    assert "--users reads" in said


@pytest.mark.parametrize("command", [["recommend", "--user", "USER"], ["doctor"], ["evaluate"]], ids=" ".join)
def test_what_only_asks_a_model_does_not_import_lightning(
    command: list[str], folder: Path, users: tuple[str, ...], tmp_path: Path
) -> None:
    name, *options = [users[0] if word == "USER" else word for word in command]
    shutil.copytree(folder, tmp_path / "run")
    code = f"""
import sys
from metatoken.cli.app import main
try:
    main({[name, str(tmp_path / "run"), *options]!r})
except SystemExit as stop:
    assert not stop.code
print(sorted({{"lightning", "peft"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("[]")


def test_all_users_are_those_of_the_log(run: Run, folder: Path, users: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("\n".join(users), encoding="utf-8")
    whole, listed = tmp_path / "whole.parquet", tmp_path / "listed.parquet"
    result = run("recommend", folder, "--all-users", "-k", 2, "-o", whole)
    assert result.code == 0, result.err
    assert f"for {len(users)} users" in result.out
    assert run("recommend", folder, "--users", tmp_path / "users.txt", "-k", 2, "-o", listed).code == 0
    assert whole.read_bytes() == listed.read_bytes()
    assert run("recommend", folder, "--all-users", "--history", "1").code == 2
