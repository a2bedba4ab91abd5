"""Files of users in, files of recommendations out."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from metatoken.errors import ArgumentError, DataError
from metatoken.recommend import Answer, Recommendation, Recommender, Request
from metatoken.recommend.files import read_users
from metatoken.recommend.streaming import stream, writer
from tests.conftest import TrainedRun

Rows = list[tuple[str | None, list[str] | None, int]]
EXPECTED: Rows = [("u1", None, 2), (None, ["a", "b"], 3), ("u2", ["c"], 4)]


def read(path: Path) -> Rows:
    return [(line.user, line.history, line.line) for line in read_users(path)]


def test_plain_text(tmp_path: Path) -> None:
    (tmp_path / "u.txt").write_text("\ufeffu1\r\n\n  u 2 \n", encoding="utf-8")
    assert read(tmp_path / "u.txt") == [("u1", None, 1), ("u 2", None, 3)]


def test_tables(tmp_path: Path) -> None:
    text = "history,other,user\n,x,u1\na  b,,\n\nc,,u2\n"
    (tmp_path / "u.csv").write_text(text)
    (tmp_path / "u.tsv.gz").write_bytes(gzip.compress(text.replace(",", "\t").encode()))
    for name in ("u.csv", "u.tsv.gz"):
        assert [row[:2] for row in read(tmp_path / name)] == [row[:2] for row in EXPECTED]
    assert [row[2] for row in read(tmp_path / "u.csv")] == [2, 3, 5]


def test_json_lines_and_parquet(tmp_path: Path) -> None:
    rows = [{"user": "u1"}, {"history": ["a", "b"], "user": None}, {"user": "u2", "history": ["c"]}]
    (tmp_path / "u.jsonl").write_text("\n" + "".join(json.dumps(row) + "\n" for row in rows))
    assert read(tmp_path / "u.jsonl") == EXPECTED
    pl.DataFrame(rows, schema={"user": pl.String, "history": pl.List(pl.String)}).write_parquet(tmp_path / "u.parquet")
    assert read(tmp_path / "u.parquet") == [(user, history, line - 1) for user, history, line in EXPECTED]
    numbers = pl.DataFrame({"user": [1, 2], "history": [[3, 4], []]})
    numbers.write_parquet(tmp_path / "n.pq")
    assert read(tmp_path / "n.pq") == [("1", ["3", "4"], 1), ("2", [], 2)]


def test_ids_with_blanks_commas_and_quotes(tmp_path: Path) -> None:
    odd = ["a b", "c,d", 'x"390"', "[e"]
    rows: Rows = [("é, 1", odd, 2), ("v", ["[e", 'x"390"'], 3)]
    table = pl.DataFrame({"user": ["é, 1", "v"], "history": [json.dumps(odd), '[e x"390"']})
    table.write_csv(tmp_path / "u.csv")
    assert read(tmp_path / "u.csv") == rows
    lines = [json.dumps({"user": user, "history": history}) for user, history, _ in rows]
    (tmp_path / "u.jsonl").write_text("\n" + "\n".join(lines))
    assert read(tmp_path / "u.jsonl") == rows
    (tmp_path / "u.txt").write_text("é, 1\u2028x\nv\n", encoding="utf-8")
    assert read(tmp_path / "u.txt") == [("é, 1\u2028x", None, 1), ("v", None, 2)]


def test_the_share_that_is_read_grows_to_all(tmp_path: Path) -> None:
    (tmp_path / "u.txt").write_text("".join(f"user-{n}\n" for n in range(20_000)))
    done = [line.done for line in read_users(tmp_path / "u.txt")]
    assert done == sorted(done)
    assert done[0] < 0.1
    assert done[-1] == 1.0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("u.txt", b"", "the file is empty"),
        ("u.txt", b"\n \n", "the file is empty"),
        ("u.txt", b"\xff\xfe", "UTF-8"),
        ("u.txt.gz", b"u1\n", "the content is not gzip"),
        ("u.csv", b"", "the file is empty"),
        ("u.csv", b"user\n", "columns but no rows"),
        ("u.csv", b"userId,x\n1,2\n", r"u\.csv: no column 'user' or 'history'; .* rename 'userId'"),
        ("u.csv", b"user,x\n1\n2,3,4\n", r"u\.csv:3: 3 fields, but the header has 2"),
        ("u.csv", b'user,x\n1,"2\n', r"u\.csv:2: a quotation mark is not closed"),
        ("u.csv", b"user,history\nu,\n,\n", r"u\.csv:3: neither a user nor a history"),
        ("u.jsonl", b'{"user": "a"}\n{"user":', r"u\.jsonl:2: broken JSON"),
        ("u.jsonl", b"7\n", r"u\.jsonl:1: expected a JSON object"),
        ("u.jsonl", b"[1]\n", r"u\.jsonl:1: the content is one JSON array"),
        ("u.jsonl", b'{"usr": "a"}\n', r"u\.jsonl: no column 'user' or 'history'; .* rename 'usr'"),
        ("u.jsonl", b'{"user": true}\n', r"u\.jsonl:1: expected a user id and a list"),
        ("u.jsonl", b'{"history": [["a"]]}\n', r"u\.jsonl:1: expected a user id and a list"),
        ("u.parquet", b"PAR1 no", "damaged Parquet"),
    ],
)
def test_files_that_cannot_be_used(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)


@pytest.fixture(scope="module")
def recommender(trained_run: TrainedRun) -> Recommender:
    run = trained_run.run
    return Recommender(run.module, run.split.log, run.fusion, run.catalogue)


@pytest.fixture
def requests(recommender: Recommender) -> list[Request]:
    users, items = recommender.history.users.raw, recommender.history.items.raw
    rows = [Request(user, k=3) for user in users[:7]]
    return [*rows, Request(history=[items[0], "lost"], k=3), Request("new", [items[1]], k=3, allow=[items[2]])]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_kind_of_file_holds_the_answers(
    batch_size: int, recommender: Recommender, requests: list[Request], tmp_path: Path
) -> None:
    prepared = [recommender.prepare(one) for one in requests]
    expected = [
        (answer.user, one.rank, one.item, one.title) for answer in recommender.answer(requests) for one in answer.items
    ]
    for suffix in ("parquet", "csv", "tsv", "jsonl"):
        with writer(tmp_path / f"out.{suffix}") as write:
            counts = stream(recommender, prepared, write, batch_size=batch_size)
        assert (counts.users, counts.items, counts.short, counts.unknown, counts.example) == (9, 25, 1, 1, "lost")
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame.schema == {
        "user": pl.String, "rank": pl.Int32, "item": pl.String, "title": pl.String, "score": pl.Float32,
    }  # fmt: skip
    assert frame.drop("score").rows() == expected
    for name, separator in (("out.csv", ","), ("out.tsv", "\t")):
        assert pl.read_csv(tmp_path / name, separator=separator).drop("score").rows() == expected
    objects = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(o["user"], i["rank"], i["item"], i["title"]) for o in objects for i in o["items"]] == expected
    assert objects[7]["unknown_history"] == ["lost"]
    assert objects[8]["user"] == "new"


def test_many_row_groups(
    recommender: Recommender, requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metatoken.recommend.streaming.GROUP", 5)
    with writer(tmp_path / "out.parquet") as write:
        stream(recommender, map(recommender.prepare, requests), write, batch_size=2)
    assert pl.read_parquet(tmp_path / "out.parquet").height == 25


def test_a_lazy_source_is_read_a_batch_at_a_time(recommender: Recommender, requests: list[Request]) -> None:
    drawn, ahead = 0, []

    def source() -> Iterator[object]:
        nonlocal drawn
        for one in requests * 5:
            drawn += 1
            yield recommender.prepare(one)

    written = 0

    def write(answers: list[object]) -> None:
        nonlocal written
        written += len(answers)
        ahead.append(drawn - written)

    stream(recommender, source(), write, batch_size=4)  # type: ignore[arg-type]
    assert written == 45
    assert max(ahead) == 0
    with pytest.raises(ArgumentError, match="at least 1"):
        stream(recommender, [], write, batch_size=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_a_stop_leaves_nothing_and_touches_nothing(
    suffix: str,
    error: Callable[[str], BaseException],
    recommender: Recommender,
    requests: list[Request],
    tmp_path: Path,
) -> None:
    out = tmp_path / f"out.{suffix}"
    out.write_text("older")

    def source() -> Iterator[object]:
        yield from map(recommender.prepare, requests)
        raise error("stop")

    with pytest.raises((KeyboardInterrupt, DataError)), writer(out) as write:
        stream(recommender, source(), write, batch_size=2)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_text() == "older"


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.parquet, \.jsonl, \.csv, \.tsv"), writer(tmp_path / "out.xlsx"):
        pass


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_carriage_return_in_an_id_stays_in_its_field(suffix: str, tmp_path: Path) -> None:
    items = [Recommendation(1, "a\rb", "one, two", 0.5), Recommendation(2, "c", 'say "x"\r\n', 0.25)]
    with writer(tmp_path / f"out.{suffix}") as write:
        write([Answer("u\r", items, (), ())])
    with (tmp_path / f"out.{suffix}").open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t" if suffix == "tsv" else ","))
    assert [row[0] for row in rows[1:]] == ["u\r", "u\r"]
    assert [row[2:4] for row in rows[1:]] == [["a\rb", "one, two"], ["c", 'say "x"\r\n']]
