"""`metatoken inspect LOG` understands logs as shops have them, and what it writes can be trained with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from metatoken.cli.app import main
from metatoken.config import Settings
from metatoken.data.conditions import quoted
from metatoken.data.interactions import read_log
from metatoken.data.settings import LogSettings
from metatoken.data.split import split_log
from metatoken.run.config import Config, load_config

ROWS = 12
SHOP = pl.DataFrame(
    {
        "Kunde": [f"K{row % 4}" for row in range(ROWS)],
        "customer_id": [f"00{row % 4}" for row in range(ROWS)],
        "product": [f"é {row % 5}" for row in range(ROWS)],
        "bought_at": [f"{13 + row}.01.2024" for row in range(ROWS)],
        "stars": [str(row % 5 + 1) if row % 2 else "" for row in range(ROWS)],
        "event": ["view" if row % 3 else "buy" for row in range(ROWS)],
    }
)


def inspect(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["inspect", *map(str, arguments)])
    return int(left.value.code or 0)


def test_a_shop_log_of_another_country(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, config = tmp_path / "log.csv", tmp_path / "c.yaml"
    path.write_bytes(SHOP.write_csv(separator=";").encode("cp1252"))
    assert inspect(path, "--write", config) == 0
    printed = capsys.readouterr().out
    assert "buy 4, view 8" in printed.replace("view 8, buy 4", "buy 4, view 8")
    assert "2024-01-13 to 2024-01-24" in printed
    assert "6 rows, 50.0%; 2 to" in printed or "6 rows, 50.0%" in printed
    data = load_config(config).data
    assert (data.user, data.item, data.time, data.rating) == ("customer_id", "product", "bought_at", "stars")
    assert (data.separator, data.encoding, data.time_format) == (";", "cp1252", "%d.%m.%Y")
    log = read_log(data)
    assert (log.users.raw, log.items.raw[0], len(log)) == (("000", "001", "002", "003"), "é 0", ROWS)
    assert log.frame["rating"].null_count() == ROWS // 2
    assert inspect(path, "--write", config) == 2
    assert "--write: " in capsys.readouterr().err
    assert inspect(path, "--write", config, "--overwrite", "--where", "event == 'buy'") == 0
    assert load_config(config).data.where == "event == 'buy'"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("l.txt", "u a b c\nv b\n", {"format": "sequences"}),
        ("l.txt", "u a\nu b\nv a\n", {"format": "pairs"}),
        ("l.txt", "a b c\na c\n", {"format": "sessions"}),
        (
            "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
            {"separator": "\t", "columns": ["user", "item", "rating", "time"], "time": "time", "rating": "rating"},
        ),
        (
            "ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n",
            {"separator": "::", "columns": ["user", "item", "rating", "time"], "time": "time", "rating": "rating"},
        ),
        (
            "l.tsv", 'user\titem\tnote\nu\t"7"" a"\tx\nv\tb\ty\n', {"quote": '"'},
        ),
        ("l.tsv", 'user\titem\tnote\nu\t"7"" a"\tx\nv\t8" b\ty\n', {}),
        ("l.csv", "user,item,x,x\nu,a,b,c\nv,b,c,d\n", {}),
        ("l.jsonl", '{"uid": "a", "iid": "b", "ts": 1704067200}\n', {"user": "uid", "item": "iid", "time": "ts"}),
        ("l.csv", "user,item\nu,a\n", {}),
        ("l.txt", "user item rating\nu a 3\nv b 4\n", {"separator": " ", "rating": "rating"}),
        ("l.csv", ",user_id,item_id,ts\n0,1,2,1700000000000\n", {"user": "user_id", "item": "item_id", "time": "ts"}),
        (
            "l.csv", "CustomerID,StockCode,InvoiceDate\n12,85A,12/1/2010 8:26\n13,85B,12/13/2010 8:26\n",
            {"user": "CustomerID", "item": "StockCode", "time": "InvoiceDate", "time_format": "%m/%d/%Y %H:%M"},
        ),
        (
            "BX.csv", '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n',
            {"separator": ";", "user": "User-ID", "item": "ISBN", "rating": "Book-Rating"},
        ),
        (
            "l.csv", "timestamp,visitorid,event,itemid\n1433221332117,257597,view,355908\n",
            {"user": "visitorid", "item": "itemid", "time": "timestamp"},
        ),
        (
            "l.tsv", '"user"\t"item"\t"rating"\n"u"\t"a"\t4\n', {"quote": '"', "rating": "rating"},
        ),
        (
            "l.csv", "CustomerID,StockCode,InvoiceDate\n12.0,8A,2010-12-01\n,8B,2010-12-13\n13.0, ,2010-12-13\n1,8,\n",
            {"user": "CustomerID", "item": "StockCode", "time": "InvoiceDate",
             "where": "CustomerID is not null and StockCode is not null and InvoiceDate is not null"},
        ),
        (
            "l.tsv", "u1\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\nu1\t2009-05-04T13:54:10Z\ta7f7\t坂本龍一\n",
            {"columns": ["user", "time", "item", "column4"], "time": "time"},
        ),
        ("l.csv", "t_dat,customer_id,article_id,price\n2018-09-20,0a,066,0.05\n",
         {"user": "customer_id", "item": "article_id", "time": "t_dat"}),
        (
            "l.csv", "Kunde;Artikel;Datum;Bewertung\nK1;A1;31.01.2024;4,5\nK2;A2;01.02.2024;3,5\n",
            {"separator": ";", "user": "Kunde", "item": "Artikel", "time": "Datum", "time_format": "%d.%m.%Y",
             "rating": "Bewertung", "decimal": ","},
        ),
        (
            "l.csv", "session_id,asin,date\nu,a,20240131\nu,b,20240201\n",
            {"user": "session_id", "item": "asin", "time": "date", "time_format": "%Y%m%d"},
        ),
    ],
)  # fmt: skip
def test_what_is_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, expected: dict[str, Any]
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert inspect(path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"] == {"path": str(path)} | expected


@pytest.mark.parametrize(
    ("dates", "form", "first"),
    [
        (["31.12.2023 23:59", "01.02.2024 05:06"], "%d.%m.%Y %H:%M", "2023-12-31"),
        (["12/31/2023 11:59 PM", "02/01/2024 05:06 AM"], "%m/%d/%Y %I:%M %p", "2023-12-31"),
        (["09 13, 2014", "10 02, 2014"], "%m %d, %Y", "2014-09-13"),
        (["31 Dec 2023", "1 Feb 2024"], "%d %b %Y", "2023-12-31"),
        (["31.12.23", "01.02.24"], "%d.%m.%y", "2023-12-31"),
        (["2023-12-31 23:59:00 UTC", "2024-02-01 05:06:00.5 UTC"], None, "2023-12-31"),
    ],
)
def test_dates_as_people_write_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dates: list[str], form: str | None, first: str
) -> None:
    pl.DataFrame({"user": ["u", "v"], "item": "a", "date": dates}).write_csv(tmp_path / "l.csv")
    assert inspect(tmp_path / "l.csv", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["data"].get("time_format") == form
    assert said["facts"]["period"].startswith(first)


def test_an_item_table_of_another_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = SHOP.with_columns(stars=pl.Series(["4,5", "3", ""] * 4))
    (tmp_path / "log.csv").write_bytes(shop.write_csv(separator=";").encode("cp1252"))
    items = "article|name|price\né 0|Tisch|1.5\né 1|Stühle|20\n"
    (tmp_path / "u.item").write_text(items, encoding="utf-8")
    assert inspect(tmp_path / "log.csv", "--items", tmp_path / "u.item", "--write", tmp_path / "c.yaml") == 0
    assert "3 of 5 items are not in" in capsys.readouterr().err
    data = load_config(tmp_path / "c.yaml").data
    assert (data.decimal, data.items_separator, data.items_encoding) == (",", "|", "utf-8")
    assert (data.item_id, data.title) == ("article", "name")
    log = read_log(data)
    assert log.frame["rating"].to_list().count(4.5) == 4
    assert log.item_table is not None
    assert log.item_table["title"].to_list() == ["Tisch", "Stühle"]
    (tmp_path / "items.csv").write_bytes("item_id;title;price\né 0;Stühle;1,5\né 1;Tisch;20\n".encode("cp1252"))
    assert inspect(tmp_path / "log.csv", "--items", tmp_path / "items.csv", "--write", tmp_path / "d.yaml") == 0
    data = load_config(tmp_path / "d.yaml").data
    assert data.decimal == ","
    assert (data.items_separator, data.items_encoding, data.item_id) == (None, None, None)
    log = read_log(data)
    assert log.item_table is not None
    assert log.item_table["price"].to_list() == [1.5, 20.0]
    # Ratings that are whole say nothing about the mark, those with a point speak against a comma.
    for stars, mark in ((["4", "3", ""], ","), (["4.5", "3", ""], ".")):
        whole = SHOP.with_columns(stars=pl.Series(stars * 4))
        (tmp_path / "log.csv").write_bytes(whole.write_csv(separator=";").encode("cp1252"))
        found = ("--items", tmp_path / "items.csv", "--write", tmp_path / "d.yaml", "--overwrite")
        assert inspect(tmp_path / "log.csv", *found) == 0
        assert load_config(tmp_path / "d.yaml").data.decimal == mark


LOGS = {
    "log.csv": "user,item\nu,1\nu,2\nv,1\n",
    "user_sequence.txt": "u 1 2\nv 1\n",
    "log.jsonl": '{"user":"u","item":1}\n{"user":"u","item":2}\n{"user":"v","item":1}\n',
}


@pytest.mark.parametrize("name", LOGS)
def test_the_item_table_beside_a_log_is_found(tmp_path: Path, name: str) -> None:
    path, config = tmp_path / name, tmp_path / "c.yaml"
    path.write_text(LOGS[name], encoding="utf-8")
    others = {
        "features.csv": "item_id,weight\n1,3\n2,4\n",  # neither titles nor categories
        "few.csv": "item,title\n3,a\n4,b\n",  # of other items
        "february.csv": "user,item,title\nw,1,a\nw,2,b\n",  # a log of another month
        "twice.csv": "item,title\n1,a\n1,b\n2,c\n",  # no table with a row for each item
        "zip.tsv": "PK\x03\x04",
        "tags.tsv": "asin\ttags\n1\tx|y\n2\tz\n",
    }
    for other, text in others.items():
        (tmp_path / other).write_text(text, encoding="utf-8")

    def found() -> LogSettings:
        assert inspect(path, "--write", config, "--overwrite") == 0
        assert read_log(load_config(config).data).item_table is not None
        return load_config(config).data

    data = found()
    assert (data.items, data.item_id, data.title, data.categories) == (tmp_path / "tags.tsv", "asin", None, "tags")
    (tmp_path / "wares.csv").write_text("nr;name;genres\n1;Tisch;x\n2;Stuhl;y\n3;Bank;z\n", encoding="utf-8")
    data = found()
    assert (data.items, data.item_id, data.title, data.categories) == (tmp_path / "wares.csv", "nr", "name", "genres")
    assert data.items_separator == ";"
    assert inspect(path, "--items", tmp_path / "tags.tsv", "--write", config, "--overwrite") == 0
    assert load_config(config).data.items == tmp_path / "tags.tsv"
    for number in range(30):  # a folder of parts, of which one may be large
        (tmp_path / f"part-{number}.csv").write_text("a\n", encoding="utf-8")
    assert inspect(path, "--write", config, "--overwrite") == 0
    assert load_config(config).data.items is None


@pytest.mark.parametrize(
    ("train", "test", "text", "later"),
    [
        ("train.txt", "test.txt", "u a b c\nv a b\n", "u d a\nv c\n"),
        ("shop_train.csv", "shop_test.csv", "user,item\nu,a\nu,b\nu,c\nv,a\nv,b\n", "user,item\nu,d\nu,a\nv,c\n"),
    ],
)
def test_files_that_others_held_out_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], train: str, test: str, text: str, later: str
) -> None:
    (tmp_path / train).write_text(text, encoding="utf-8")
    (tmp_path / test).write_text("wholly\nother\n", encoding="utf-8")
    (tmp_path / "trained.txt").write_text(text, encoding="utf-8")  # another word

    def split(path: Path) -> tuple[str, Path | None, Path | None]:
        assert inspect(path, "--write", tmp_path / "c.yaml", "--overwrite") == 0
        data = load_config(tmp_path / "c.yaml").data
        return data.split, data.test_path, data.validation_path

    assert split(tmp_path / train) == ("leave-last-out", None, None)
    (tmp_path / test).write_text(later, encoding="utf-8")
    assert split(tmp_path / train) == ("files", tmp_path / test, None)
    held = split_log(read_log(load_config(tmp_path / "c.yaml").data), "files")
    assert [held.log.items.raw[item] for item in held.test.items] == ["d", "c"]
    assert [held.log.items.raw[item] for item in held.validation.items] == ["c", "b"]
    capsys.readouterr()
    assert inspect(tmp_path / train, "--json") == 0
    # Those of leave-last-one-out would be a, which u had before, and c.
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any(one.startswith("2 of 2 test targets (100.0%) are items that never") for one in warnings)
    (tmp_path / test.replace("test", "valid")).write_text(later, encoding="utf-8")
    assert split(tmp_path / train)[2] == tmp_path / test.replace("test", "valid")
    assert inspect(tmp_path / train, "--split", "none", "--write", tmp_path / "d.yaml") == 0
    assert load_config(tmp_path / "d.yaml").data.test_path is None
    assert split(tmp_path / "trained.txt")[0] == "leave-last-out"


def test_ids_that_are_floats_have_lost_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"user": [1e17, 2.0], "item": ["a", "b"], "type": ["x", "y"]}).write_parquet(tmp_path / "l.parquet")
    assert inspect(tmp_path / "l.parquet", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["warnings"][0].startswith("user ids in column 'user' are floats: long numbers have lost digits")
    assert sorted(said["facts"]["events"].split(", ")) == ["x 1", "y 1"]


def test_warnings_stay_with_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("u a b\nv a\n", encoding="utf-8")
    assert inspect(tmp_path / "l.txt", "--write", tmp_path / "c.yaml") == 0
    assert "\n# - 2 of 2 users have fewer than 3 interactions" in (tmp_path / "c.yaml").read_text(encoding="utf-8")


def test_what_cannot_be_guessed_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "l.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert inspect(tmp_path / "l.csv") == 2
    assert "which column holds users? Say --user; the columns are 'a', 'b'" in capsys.readouterr().err
    assert inspect(tmp_path / "l.csv", "--user", "a", "--item", "b") == 0
    (tmp_path / "l.csv").write_text("sep=;\nuser;item\nu;a\n", encoding="utf-8")
    assert inspect(tmp_path / "l.csv") == 2
    assert "l.csv:1: the first line is Excel's: remove it, and say separator: ';'" in capsys.readouterr().err
    (tmp_path / "movies.csv").write_text("movieId,genres\n1,a|b\n", encoding="utf-8")
    assert inspect(tmp_path / "movies.csv") == 2
    assert "'movieId', 'genres'; a table about items goes with the log, as --items" in capsys.readouterr().err


def test_dates_that_can_be_read_in_two_ways_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "l.csv").write_text("user,item,date\nu,a,01/02/2024\nu,b,03/04/2024\n", encoding="utf-8")
    assert inspect(tmp_path / "l.csv") == 0
    assert "could be %d/%m/%Y or %m/%d/%Y; %d/%m/%Y is taken" in capsys.readouterr().err


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["shop/log.csv", "movielens_small/ratings.csv", "lastfm/user_sequence.txt"])
def test_real_logs_need_no_edit(tmp_path: Path, shared_data: Path, name: str) -> None:
    assert inspect(shared_data / name, "--write", tmp_path / "c.yaml") == 0
    log = read_log(load_config(tmp_path / "c.yaml").data)
    sizes = {"shop": (3000, 799, 24379), "movielens_small": (610, 9724, 100836), "lastfm": (1090, 3646, 52551)}
    assert (log.n_users, log.n_items, len(log)) == sizes[name.split("/", maxsplit=1)[0]]


QUICK = (
    "trainer.max_epochs=1", 'trainer.options={"limit_train_batches":3}', "trainer.validation_users=50", "threads=1",
    "tokens.dim=8", "tokens.walks_per_node=1", "tokens.walk_length=6", "model.preset.dim=16", "model.preset.heads=1",
    "model.preset.layers=1", "model.max_history=10", "evaluate.fusion_users=50", "evaluate.width=5",
)  # fmt: skip
REAL = {
    "shop/log.csv": 24379,
    "movielens_small/ratings.csv": 100836,
    "lastfm/user_sequence.txt": 52551,
    "musical_instruments/reviews.jsonl.gz": 10261,
    "google_explanations/explanations.jsonl.gz": 3000,
    "google_explanations/interactions_train.csv.gz": 329472,
    "videogames/user_item_pairs.txt": 287107,
    "beauty/user_sequence.txt": 198502,
    "sports/user_sequence.txt": 296337,
    "gowalla/train.txt": 810128 + 217242,  # with what is held out, which stands beside it
    "gowalla/test.txt": 217242,
    "diginetica/train_sessions.txt": 906140,
    "diginetica/test_sessions.txt": 76821,
}


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("name", REAL)
def test_a_training_takes_what_was_understood_of_a_real_log(name: str, tmp_path: Path, shared_data: Path) -> None:
    """A short one; of the data nothing is changed."""
    assert inspect(shared_data / name, "--write", tmp_path / "c.yaml") == 0
    shortened = [part for one in QUICK for part in ("--set", one)]
    with pytest.raises(SystemExit) as left:
        main(["train", str(tmp_path / "c.yaml"), "-o", str(tmp_path / "run"), *shortened])
    assert left.value.code in (None, 0)
    assert json.loads((tmp_path / "run" / "source.json").read_text())["rows"] == REAL[name]


def test_a_log_that_takes_long_says_how_fast_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l.csv").write_text("user,item\nu,a\nv,a\nv,b\n", encoding="utf-8")
    assert inspect(tmp_path / "l.csv", "--where", "user == 'v'") == 0
    assert "a second" not in capsys.readouterr().err
    monkeypatch.setattr("metatoken.cli.output.LONG", 0.0)
    assert inspect(tmp_path / "l.csv", "--where", "user == 'v'") == 0
    assert re.search(r"^read 3 rows in \d+\.\d s, [\d,]+ a second$", capsys.readouterr().err, flags=re.MULTILINE)


def test_config_prints_every_key_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["config"])
    text = capsys.readouterr().out
    assert Config.read(yaml.safe_load(text)) == Config(data=LogSettings(path=Path("log.csv")))

    def check(kind: type[Settings]) -> None:
        for name in kind.keys():  # noqa: SIM118
            assert f"{name}:" in text

    check(Config)
    check(LogSettings)


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (["2024-01-31T10:00:00Z", "soon", "2024-02-01"], "1 of 3 values cannot be read, e.g. 'soon'; mend"),
        (
            ["31.01.2024 10:00", "01.02.2024 11:00", "1st of May", "?"],
            "2 of 4 values cannot be read, e.g. '1st of May'",
        ),
        (["1700000000", "1700000001", "x"], "1 of 3 values cannot be read, e.g. 'x'"),
    ],
)
def test_the_time_that_cannot_be_read_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dates: list[str], said: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + "".join(f"u,{row},{date}\n" for row, date in enumerate(dates)))
    assert inspect(path) == 0
    assert f"time could hold times, but {said}" in " ".join(capsys.readouterr().err.split())


def test_a_name_that_stands_twice_is_no_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time,item\nu,a,1700000000,b\nv,c,1700000001,d\n")
    assert inspect(path) == 2
    assert "column 'item' for item stands in the header 2 times; rename one" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["%d.%m.%Y %H:%M", "%Y-%m-%d", "%m/%d/%Y"])
def test_times_are_found_by_their_values(tmp_path: Path, form: str) -> None:
    days = pl.Series([f"2024-01-{day}" for day in range(11, 23)]).str.to_datetime("%Y-%m-%d").dt.strftime(form)
    frame = pl.DataFrame({"user": ["a", "b"] * 6, "item": ["x", "y", "z"] * 4, "gekauft": days, "lot": "20240131"})
    frame.write_csv(tmp_path / "log.csv", separator=";")
    assert inspect(tmp_path / "log.csv", "--write", tmp_path / "c.yaml") == 0
    data = load_config(tmp_path / "c.yaml").data
    assert (data.time, data.time_format) == ("gekauft", None if form.startswith("%Y") else form)


def test_a_log_without_times_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, config = tmp_path / "log.csv", tmp_path / "c.yaml"
    path.write_text("user,item,ordered,sent\n" + "a,x,01.02.2024,03.02.2024\n" * 3)
    assert inspect(path, "--write", config) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^times +none; the rows of a user follow each other as they stand$", out, flags=re.MULTILINE)
    assert "ordered, sent hold dates, and which of them says when" in " ".join(err.split())
    assert "# time: COLUMN" in config.read_text()
    assert inspect(path, "--time", "ordered", "--time-format", "%d.%m.%Y") == 0
    out, err = capsys.readouterr()
    assert "period" in out
    assert "hold dates" not in err


@pytest.mark.parametrize("name", ["Quantity", "Menge", "units sold"])
def test_returns_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path, column = tmp_path / "log.csv", quoted(name)
    path.write_text(f"user,item,{name}\na,x,2\na,y,-1\nb,x,-3\nb,z,1\n")
    assert inspect(path) == 0
    said = f"{name} is below zero in 2 rows, such as returns, which count as if they had been taken; leave them out"
    assert f"{said} with where: {column} > 0" in " ".join(capsys.readouterr().err.split())
    assert inspect(path, "--where", f"{column} > 0") == 0
    out, err = capsys.readouterr()
    assert "2 of 4 rows are left out" in out
    assert "below zero" not in err


@pytest.mark.parametrize("name", ["shards", "shards/*.parquet"])
def test_an_item_table_in_shards_with_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    SHOP.select("customer_id", "product", pl.Series("stamp", range(ROWS))).write_csv(tmp_path / "log.csv")
    (tmp_path / "shards").mkdir()
    for row in range(5):
        about = {"product": [f"é {row}"], "title": [f"Ware {row}"], "categories": [["Tea", "Cups"]]}
        pl.DataFrame(about).write_parquet(tmp_path / f"shards/part-{row}.parquet")
    config = tmp_path / "c.yaml"
    assert inspect(tmp_path / "log.csv", "--items", tmp_path / name, "--write", config) == 0
    assert "not in" not in capsys.readouterr().err
    assert read_log(load_config(config).data).items.raw == tuple(f"é {row}" for row in range(5))


@pytest.mark.parametrize("column", ["event", "timestamp", "date", "quantity", "rating", "words"])
def test_lists_in_a_log_are_left_alone(tmp_path: Path, column: str) -> None:
    log = SHOP.select("customer_id", "product", pl.Series(column, [["a"]] * ROWS))
    log.write_parquet(tmp_path / "log.parquet")
    assert inspect(tmp_path / "log.parquet", "--write", tmp_path / "c.yaml") == 0
    data = load_config(tmp_path / "c.yaml").data
    assert (data.user, data.item, data.time, data.rating) == ("customer_id", "product", None, None)
