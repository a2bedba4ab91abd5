"""Logs in databases: the same rows, the same bytes; and tables written whole or not at all."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from metatoken.data import Interactions
from metatoken.data.database import read_query, write_rows
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
SERVER = Path("/usr/lib/postgresql")


def in_sqlite(folder: Path, frame: pl.DataFrame = FRAME) -> str:
    path = folder / "log.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE log (who TEXT, what TEXT, at INTEGER, stars REAL)")
        base.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", frame.rows())
    base.close()
    return f"sqlite:///{path}"


def in_duckdb(folder: Path) -> str:
    base = duckdb.connect(str(folder / "log.duckdb"))
    base.register("frame", FRAME.to_arrow())
    base.execute("CREATE TABLE log AS SELECT * FROM frame")
    base.close()
    return f"duckdb:///{folder / 'log.duckdb'}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own on a free port, with the log in it."""
    pytest.importorskip("adbc_driver_postgresql", reason="needs the extra [sql]")
    found = sorted(SERVER.glob("*/bin/pg_ctl"))
    binary = str(found[-1]) if found else shutil.which("pg_ctl")
    if binary is None:
        pytest.skip("no PostgreSQL server is installed (Debian's package postgresql)")
    folder, account = tmp_path_factory.mktemp("server"), {}
    if os.geteuid() == 0:  # which the server refuses to run as
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no account postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        for above in folder.parents:
            if above.owner() == "root" and above.is_relative_to("/tmp/pytest-of-root"):  # noqa: S108
                above.chmod(0o755)
        account = {"user": owner.pw_uid, "group": owner.pw_gid}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, quiet = folder / "data", {"stdout": subprocess.DEVNULL, "cwd": folder, **account}
    subprocess.run([binary, "initdb", "-D", data, "-o", "-U shop -A trust -E UTF8"], check=True, **quiet)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([binary, "start", "-w", "-D", data, "-l", folder / "log", "-o", options], check=True, **quiet)  # type: ignore[call-overload]
    try:
        uri = f"postgresql://shop@127.0.0.1:{port}/postgres"
        write_rows(uri, "log", [FRAME.head(3), FRAME.tail(3)])
        yield uri
    finally:
        subprocess.run([binary, "stop", "-m", "immediate", "-D", data], check=True, **quiet)  # type: ignore[call-overload]


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


def failing() -> Iterator[pl.DataFrame]:
    yield FRAME.head(1)
    raise RuntimeError("on the way")


def check_transaction(uri: str) -> None:
    assert write_rows(uri, "lists", [FRAME.head(2), FRAME.tail(1)]) == 3
    with pytest.raises(RuntimeError, match="on the way"):
        write_rows(uri, "lists", failing())
    found = read_query(uri, 'SELECT who, what, "at", stars FROM lists').frame
    assert found.rows() == [*FRAME.head(2).rows(), *FRAME.tail(1).rows()]
    assert write_rows(uri, "lists", [FRAME.head(1)]) == 1
    assert read_query(uri, "SELECT count(*) AS n FROM lists").frame["n"].to_list() == [1]


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    for uri in (in_sqlite(tmp_path), in_duckdb(tmp_path)):
        check_transaction(uri)


def test_postgresql_writes_whole_tables(server: str) -> None:
    check_transaction(server)


def test_a_column_of_sqlite_may_hold_several_types(tmp_path: Path) -> None:
    path = tmp_path / "mixed.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE log (user, item)")
        base.executemany("INSERT INTO log VALUES (?, ?)", [(1, "x"), ("1a", 2), (3, None)])
    base.close()
    log = Interactions.read(uri=f"sqlite:///{path}", query="SELECT * FROM log WHERE item IS NOT NULL")
    assert (log.users.raw, log.items.raw) == (("1", "1a"), ("2", "x"))


@pytest.mark.parametrize(
    ("uri", "query", "error", "message"),
    [
        ("sqlite:///{folder}/log.db", "SELECT x FROM y", DataError, "the database says: no such table: y"),
        ("sqlite:///{folder}/log.db", "DELETE FROM log", DataError, "readonly database"),
        ("sqlite:///{folder}/log.db", "SELECT * FROM log WHERE at > 9", DataError, "the query gives no rows"),
        ("sqlite:///{folder}/none.db", QUERY, DataError, "no such database file"),
        ("mysql://host/shop", QUERY, ArgumentError, "uri: expected sqlite:///FILE, .*begins with 'mysql'"),
        ("postgresql://me:hidden@host/shop", QUERY, ArgumentError, "uri: holds a password, which .* PGPASSWORD"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, uri: str, query: str, error: type[Exception], message: str
) -> None:
    in_sqlite(tmp_path)
    with pytest.raises(error, match=message) as caught:
        read_query(uri.format(folder=tmp_path), query)
    assert len(str(caught.value).splitlines()) == 1
    assert "hidden" not in str(caught.value)


def test_names_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--table: expected a name such as lists"):
        write_rows(in_sqlite(tmp_path), 'x"; DROP TABLE log', [FRAME])
