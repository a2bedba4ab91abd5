"""Logs in databases: the same rows, the same bytes; and tables written whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.data.database import read_query, table_writer, write_rows
from metatoken.errors import ArgumentError, DataError

duckdb = pytest.importorskip("duckdb", reason="needs the extra [sql]")

FRAME = pl.DataFrame(
    {
        "who": ["007", "é 1", "é 1", "007", 'q"x', "😀"],
        "what": ["1e5", "NA", "a,b", "NA", "12345678901234567890", "1e5"],
        "at": [5, 4, 3, 2, 1, 0],
        "stars": [1.0, None, 2.5, None, 5.0, None],
    }
)
NAMES = {"user": "who", "item": "what", "time": "at", "rating": "stars"}
QUERY = "SELECT * FROM log"


def in_sqlite(folder: Path, frame: pl.DataFrame = FRAME) -> str:
    path = folder / "log.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE log (who TEXT, what TEXT, at INTEGER, stars REAL)")
        base.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", frame.rows())
    base.close()
    return f"sqlite:///{path}"


def in_duckdb(folder: Path) -> str:
    if (folder / "log.duckdb").exists():
        return f"duckdb:///{folder / 'log.duckdb'}"
    base = duckdb.connect(str(folder / "log.duckdb"))
    base.register("frame", FRAME.to_arrow())
    base.execute("CREATE TABLE log AS SELECT * FROM frame")
    base.close()
    return f"duckdb:///{folder / 'log.duckdb'}"


@pytest.fixture(scope="module")
def server(postgresql: str) -> str:
    """A PostgreSQL server with the log in it."""
    write_rows(postgresql, "log", [FRAME.head(3), FRAME.tail(3)])
    return postgresql


@pytest.mark.parametrize("uri", ["sqlite:///", "sqlite:///:memory:", "duckdb:///", "duckdb:///:memory:", "sqlite:"])
def test_a_database_that_is_gone_at_the_end_is_refused(uri: str) -> None:
    with pytest.raises(ArgumentError, match="uri: expected the file of a database"):
        write_rows(uri, "lists", [FRAME.select("who")])


def test_every_store_gives_the_same_log(tmp_path: Path) -> None:
    expected = Interactions.from_frame(FRAME, **NAMES).checksum()
    FRAME.write_csv(tmp_path / "log.csv")
    assert Interactions.read(tmp_path / "log.csv", **NAMES).checksum() == expected
    for uri in (in_sqlite(tmp_path), in_duckdb(tmp_path)):
        log = Interactions.read(uri=uri, query=QUERY, **NAMES)
        assert log.checksum() == expected
        assert log.users.raw == ("007", 'q"x', "é 1", "😀")


def test_postgresql_gives_the_same_log(server: str) -> None:
    log = Interactions.read(uri=server, query=QUERY, **NAMES)
    assert log.checksum() == Interactions.from_frame(FRAME, **NAMES).checksum()
    with pytest.raises(DataError, match=r"the database says: .*nothing.* does not exist"):
        read_query(server, "SELECT * FROM nothing")
    for query in ("DELETE FROM log", "DELETE FROM log RETURNING *"):
        with pytest.raises(DataError, match="cannot execute DELETE in a read-only transaction"):
            read_query(server, query)


def test_types_of_postgresql(server: str) -> None:
    query = """
        SELECT '6f1c2a34-0000-4000-8000-00000000000a'::uuid AS who, 12345678901234567890::numeric AS what,
            4.5::numeric(3, 1) AS stars, 'é'::char(4) AS kind, '{"a": 1}'::jsonb AS more,
            '2024-01-02 03:04:05+01'::timestamptz AS at, '2024-01-02 03:04:05'::timestamp AS naive,
            '2024-01-02'::date AS day
    """
    expected = {"at": 1704161045, "naive": 1704164645, "day": 1704153600}
    for time, seconds in expected.items():
        log = Interactions.read(uri=server, query=query, user="who", item="what", rating="stars", time=time)
        assert log.users.raw == ("6f1c2a34-0000-4000-8000-00000000000a",)
        assert log.items.raw == ("12345678901234567890",)
        assert log.frame.row(0, named=True)["timestamp"] == seconds
        assert log.frame["rating"].to_list() == [4.5]
    assert Interactions.read(uri=server, query=query, user="kind", item="more").users.raw == ("é",)


def test_types_of_duckdb(tmp_path: Path) -> None:
    query = """
        SELECT '6f1c2a34-0000-4000-8000-00000000000a'::UUID AS who, 12345678901234567890123::HUGEINT AS what,
            4.5::DECIMAL(3, 1) AS stars, 'buy'::ENUM ('buy') AS kind, TIMESTAMPTZ '2024-01-02 03:04:05+01' AS at
    """
    log = Interactions.read(uri=in_duckdb(tmp_path), query=query, user="who", item="what", rating="stars", time="at")
    assert (log.users.raw, log.items.raw) == (("6f1c2a34-0000-4000-8000-00000000000a",), ("12345678901234567890123",))
    assert (log.frame["rating"][0], log.frame["timestamp"][0]) == (4.5, 1704161045)
    with pytest.raises(DataError, match="the query gives two columns 'a'"):
        read_query(in_duckdb(tmp_path), "SELECT 1 AS a, 2 AS a")
    with pytest.raises(DataError, match=r"a column is of a type that cannot be read .*; cast it in the query"):
        read_query(in_duckdb(tmp_path), "SELECT 1 AS a, 2::UNION (x INT, y VARCHAR) AS b")


def failing() -> Iterator[pl.DataFrame]:
    yield FRAME.head(1)
    raise RuntimeError("on the way")


def check_transaction(uri: str) -> None:
    assert write_rows(uri, "kept", [FRAME.head(2), FRAME.tail(1)]) == 3
    with pytest.raises(RuntimeError, match="on the way"):
        write_rows(uri, "kept", failing())
    found = read_query(uri, 'SELECT who, what, "at", stars FROM kept').frame
    assert found.rows() == [*FRAME.head(2).rows(), *FRAME.tail(1).rows()]
    assert write_rows(uri, "kept", [FRAME.head(1)]) == 1
    assert read_query(uri, "SELECT count(*) AS n FROM kept").frame["n"].to_list() == [1]
    for table, columns in (("kept", ["who", "line"]), ("log", ["user", "item"])):  # somebody's own, by their columns
        with pytest.raises(DataError, match=rf"the table {table} holds something else \(who, what, .*not replaced"):
            write_rows(uri, table, [pl.DataFrame(schema=dict.fromkeys(columns, pl.String))])
        with (
            pytest.raises(DataError, match="holds something else"),
            table_writer(uri, table, columns),  # before there is anything to write
        ):
            pass
    assert read_query(uri, "SELECT count(*) AS n FROM log").frame["n"].to_list() == [6]


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    for uri in (in_sqlite(tmp_path), in_duckdb(tmp_path)):
        check_transaction(uri)


def test_postgresql_writes_whole_tables(server: str) -> None:
    check_transaction(server)


def test_decimal_commas_of_a_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "log.db") as base:
        base.execute("CREATE TABLE log (user, item, stars, at)")
        base.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", [(1, "x", "4,5", "2,5"), (1, "y", None, "1")])
    base.close()
    named = {"rating": "stars", "time": "at", "decimal": ","}
    log = Interactions.read(uri=f"sqlite:///{tmp_path / 'log.db'}", query="SELECT * FROM log", **named)
    assert (log.frame["rating"].to_list(), log.frame["timestamp"].to_list()) == ([None, 4.5], [1.0, 2.5])


def test_a_column_of_sqlite_may_hold_several_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mixed.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE log (user, item)")
        base.executemany("INSERT INTO log VALUES (?, ?)", [(1, "x"), ("1a", 2), (3, None)])
    base.close()
    query = "SELECT * FROM log WHERE item IS NOT NULL"
    for batch in (50_000, 1):  # one type in each batch, too
        monkeypatch.setattr("metatoken.data.database.BATCH", batch)
        log = Interactions.read(uri=f"sqlite:///{path}", query=query)
        assert (log.users.raw, log.items.raw) == (("1", "1a"), ("2", "x"))


@pytest.mark.parametrize(
    ("uri", "query", "error", "message"),
    [
        ("sqlite:///{folder}/log.db", "SELECT x FROM y", DataError, "the database says: no such table: y"),
        ("sqlite:///{folder}/log.db", "DELETE FROM log", DataError, "readonly database"),
        ("sqlite:///{folder}/log.db", "SELECT * FROM log WHERE at > 9", DataError, "the query gives no rows"),
        ("sqlite:///{folder}/none.db", QUERY, DataError, "no such database file"),
        ("mysql://host/shop", QUERY, ArgumentError, "uri: expected sqlite:///FILE, .*begins with 'mysql'"),
        ("sqlite:///{folder}/log.db", "SELECT who, who FROM log", DataError, "the query gives two columns 'who'"),
        ("postgresql://me:hid/den@host/shop", QUERY, ArgumentError, "uri: holds a password"),
        ("postgresql://host/shop?user=me&PASSWORD=hidden", QUERY, ArgumentError, "uri: holds a password"),
        ("postgresql://me:hidden@host/shop", QUERY, ArgumentError, "uri: holds a password, which .* PGPASSWORD"),
        ("postgresql://host/shop?user=me&pass%77ord=hidden", QUERY, ArgumentError, "uri: holds a password"),
        (
            "duckdb:///{folder}/none.db",
            "SELECT * FROM postgres_scan('host=shop Password = hidden', 'public', 'log')",
            ArgumentError,
            "query: holds a password, which would be saved with the run",
        ),
        (
            "duckdb:///{folder}/none.db",
            "SELECT * FROM mysql_query('mysql://me:hidden@host/shop', 'log')",
            ArgumentError,
            "query: holds a password",
        ),
        ("sqlite:///{folder}/a:b@c.db", QUERY, DataError, "no such database file"),
        ("sqlite:///{folder}/log.db", "SELECT * FROM log WHERE has_password=1", DataError, "no such column: has_pass"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, uri: str, query: str, error: type[Exception], message: str
) -> None:
    in_sqlite(tmp_path)
    with pytest.raises(error, match=message) as caught:
        read_query(uri.format(folder=tmp_path), query)
    assert len(str(caught.value).splitlines()) == 1
    assert "hid" not in str(caught.value)


def test_names_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--table: expected a name such as lists"):
        write_rows(in_sqlite(tmp_path), 'x"; DROP TABLE log', [FRAME])


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{file}' AS other", "VACUUM INTO '{file}'", "COPY log TO '{file}'", "EXPORT DATABASE '{file}'",
        "SELECT 1; DROP TABLE log", "DELETE FROM log RETURNING *", "CREATE TEMP TABLE log2 AS SELECT * FROM log", "",
    ],
)  # fmt: skip
def test_a_query_writes_nothing(tmp_path: Path, query: str) -> None:
    uris, file = (in_sqlite(tmp_path), in_duckdb(tmp_path)), tmp_path / "other"
    for uri in uris:
        with pytest.raises(DataError, match=r"the database says|the query gives no table"):
            read_query(uri, query.format(file=file))
        assert read_query(uri, QUERY).frame.height == FRAME.height
    assert not file.exists()


def test_queries_of_duckdb_that_give_a_table(tmp_path: Path) -> None:
    for query in ("FROM log", "WITH x AS (FROM log) SELECT * FROM x;", "PIVOT log ON stars USING count(*)"):
        assert read_query(in_duckdb(tmp_path), query).frame.height > 0


def test_a_file_of_sqlite_is_no_duckdb(tmp_path: Path) -> None:
    uri = in_sqlite(tmp_path).replace("sqlite:", "duckdb:")
    with pytest.raises(DataError, match=r"log\.db: is a SQLite database; its uri begins with sqlite:///"):
        read_query(uri, QUERY)
    with pytest.raises(DataError, match="is a SQLite database"):
        write_rows(uri, "lists", [FRAME])
    path = tmp_path / "log.duckdb"
    in_duckdb(tmp_path)
    with pytest.raises(DataError, match="the database says: file is not a database"):
        read_query(f"sqlite:///{path}", QUERY)
