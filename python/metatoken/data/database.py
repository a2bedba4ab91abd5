"""Tables from databases: a query's rows in batches, and tables written whole or not at all.

SQLite comes with Python; DuckDB and PostgreSQL need the extra `[sql]`. A password stands in the environment
(`PGPASSWORD`) or in a password file (`PGPASSFILE`, `~/.pgpass`), where PostgreSQL's own library finds it, and never in
a URI, since that is saved with a run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from metatoken.data.columns import RawTable
from metatoken.data.frames import EXACT, from_arrow, stacked
from metatoken.errors import ArgumentError, DataError
from metatoken.extras import install_extra

SQLITE = b"SQLite format 3\0"  # the first bytes of each of its files
BATCH = 50_000  # rows that are Python objects at once
KINDS = {"sqlite": "sqlite", "duckdb": "duckdb", "postgresql": "postgresql", "postgres": "postgresql"}
# Passwords stand between a user and a host, or are a parameter of a connection, which a query may open, too.
SECRET = re.compile(r"://[^@]*:[^@]*@|password=", flags=re.IGNORECASE)
SECRET_IN_QUERY = re.compile(r"://[^@\s'\"]*:[^@\s'\"]*@|\b(?:ssl)?password\s*=", flags=re.IGNORECASE)
AS_TEXT = {"UHUGEINT", "BIGNUM", "VARINT", "BIT", "INTERVAL", "TIME WITH TIME ZONE"}  # of DuckDB
DRIVERS = ("sqlite3", "duckdb", "_duckdb", "adbc_driver_manager", "pyarrow")
TYPES: dict[Any, str] = {pl.String: "TEXT", pl.Int64: "BIGINT", pl.Float64: "DOUBLE PRECISION"}


def read_query(uri: str, query: str) -> RawTable:
    """The rows that a query gives.

    Raises:
        ArgumentError: The URI is of no known kind or holds a password, or a driver is missing.
        DataError: The database refuses the connection or the query, or there are no rows, or two columns of a name.
    """
    kind, place = parse_uri(uri)
    if SECRET_IN_QUERY.search(query):
        raise ArgumentError(
            "query", "holds a password, which would be saved with the run; name its own database as uri"
        )
    if kind != "postgresql" and not Path(place).is_file():
        raise DataError("no such database file; check the path of uri", place)
    with _told(uri):
        frame = {"sqlite": _sqlite, "duckdb": _duckdb, "postgresql": _postgresql}[kind](place, query)
    if frame.height == 0:
        raise DataError("the query gives no rows", uri)
    return RawTable(frame, uri, names=frame.columns)


def parse_uri(uri: str) -> tuple[str, str]:
    """Kind of a database, and its file or, of PostgreSQL, the URI itself; `ArgumentError` for another one."""
    try:
        parts = urlsplit(uri)
        kind = KINDS.get(parts.scheme)
    except ValueError as error:
        raise ArgumentError("uri", "is no URI such as sqlite:///shop.db") from error
    if kind is None:
        expected = "sqlite:///FILE, duckdb:///FILE or postgresql://USER@HOST/DATABASE"
        raise ArgumentError("uri", f"expected {expected}, got one that begins with {parts.scheme[:20]!r}")
    if kind == "postgresql" and SECRET.search(unquote(uri)):
        said = "holds a password, which would be saved with the run; leave it out and set PGPASSWORD or ~/.pgpass"
        raise ArgumentError("uri", said)
    if kind == "postgresql":
        return kind, uri
    # sqlite:///shop.db is relative and sqlite:////data/shop.db absolute, as elsewhere.
    place = unquote(parts.netloc + parts.path.removeprefix("/"))
    if place in ("", ":memory:"):  # which drivers take for a database that is gone with the connection
        raise ArgumentError("uri", f"expected the file of a database, such as {kind}:///shop.db, got {uri!r}")
    return kind, place


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turns what a driver raises into one line, without what may be secret."""
    try:
        yield
    except ImportError as error:
        raise ArgumentError("uri", f"needs a driver: {install_extra('sql')}") from error
    except pl.exceptions.PolarsError as error:
        said = f"a column is of a type that cannot be read ({str(error).splitlines()[0][:80]}); cast it in the query"
        raise DataError(said, uri) from error
    except Exception as error:  # each driver has a family of its own, found only where it is installed
        if type(error).__module__.split(".")[0] not in DRIVERS:
            raise
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        first = re.sub(r"(?i)(password\s*[=:]\s*)\S+|(://[^:/@\s]+):[^@\s]+@", r"\1\2***", first)
        raise DataError(f"the database says: {first}", uri) from error


def _sqlite(place: str, query: str) -> pl.DataFrame:
    import sqlite3

    with closing(sqlite3.connect(f"{Path(place).resolve().as_uri()}?mode=ro", uri=True)) as base:
        base.set_authorizer(_no_other_file)
        cursor = base.execute(query)
        names = [column[0] for column in cursor.description or ()]
        _check_names(names, place)
        parts = []
        while rows := cursor.fetchmany(BATCH):
            columns = zip(*rows, strict=True)
            parts.append(pl.DataFrame([_column(name, values) for name, values in zip(names, columns, strict=True)]))
    if not names:
        raise DataError("the query gives no table; expected SELECT ...", place)
    return stacked(parts) if parts else pl.DataFrame(schema=dict.fromkeys(names, pl.String))


def _no_other_file(action: int, *_: str | None) -> int:
    """Refuses to attach files, and so to write them: only the one that is open is open for reading alone."""
    import sqlite3

    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _column(name: str, values: tuple[Any, ...]) -> pl.Series:
    """A column of SQLite, where each value has a type of its own; of several types it becomes text."""
    kinds = {type(value) for value in values} - {type(None)}
    large = kinds == {int, float} and any(isinstance(one, int) and abs(one) >= EXACT for one in values)
    if large or (len(kinds) > 1 and kinds != {int, float}):
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
    return pl.Series(name, values, dtype=pl.Null if not kinds else None, strict=False)


def _duckdb(place: str, query: str) -> pl.DataFrame:
    import duckdb

    _check_no_sqlite(place)
    with closing(duckdb.connect(place, read_only=True)) as base:
        # A database that is open for reading alone still lets COPY, EXPORT and ATTACH write other files.
        kinds = [statement.type.name for statement in base.extract_statements(query)]
        if kinds not in (["SELECT"], ["MULTI"]):  # several for one, such as PIVOT
            raise DataError("the query gives no table; expected one SELECT ...", place)
        found = base.sql(query)
        _check_names(found.columns, place)
        # Arrow has no such types: the driver gives other numbers or bytes, without a word.
        columns = ", ".join(
            f"{name}::VARCHAR AS {name}" if str(kind) in AS_TEXT else name
            for name, kind in zip(map(_identifier, found.columns), found.types, strict=True)
        )
        return from_arrow(found.project(columns).to_arrow_table())


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_no_sqlite(place: str) -> None:
    """Refuses a file of SQLite, for which DuckDB would look for an extension on the network, without an end."""
    path = Path(place)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(SQLITE)) == SQLITE:
                raise DataError("is a SQLite database; its uri begins with sqlite:///", place)


def _postgresql(place: str, query: str) -> pl.DataFrame:
    from adbc_driver_postgresql import dbapi

    with closing(dbapi.connect(place)) as base, base.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(query)
        table = cursor.fetch_arrow_table()
        _check_names(table.column_names, place)
        return from_arrow(table)


def _check_names(names: list[str], place: str) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"the query gives two columns {twice!r}; name one of them otherwise (AS)", place)


@contextmanager
def table_writer(uri: str, table: str, columns: Collection[str] = ()) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A table that is written in one transaction: a failure leaves the one that was there before.

    Args:
        uri: As for `read_query`.
        table: Its name, perhaps with a schema (`shop.lists`).
        columns: Those by which an older table is known to be one that may be replaced; another one is refused before
            there is any work. By default those of the first frame.

    Yields:
        A function that appends a frame, always of the same columns of text, whole numbers and numbers.

    Raises:
        ArgumentError: See `read_query`; or the name cannot be one of a table.
        DataError: The database refuses the connection or the table, or the table that is there lacks columns.
    """
    kind, place = parse_uri(uri)
    if not re.fullmatch(r"\w+(\.\w+)?", table):
        raise ArgumentError("--table", f"expected a name such as lists or shop.lists, got {table!r}")
    with _told(uri), _new_removed(kind, place), closing(_connect(kind, place)) as base:
        # A cursor of DuckDB would be a connection, and a transaction, of its own.
        cursor, made = base if kind == "duckdb" else base.cursor(), False
        if kind != "postgresql":  # which is in a transaction from the start
            cursor.execute("BEGIN")
        if columns:
            _check_replaceable(kind, cursor, table, columns, uri)

        def write(frame: pl.DataFrame) -> None:
            nonlocal made
            if not made:
                _check_replaceable(kind, cursor, table, columns or frame.columns, uri)
                _create(cursor, table, frame.schema)
                made = True
            _insert(kind, cursor, table, frame)

        try:
            yield write
            base.commit()
        except BaseException:
            base.rollback()  # closing is not enough for SQLite while something still holds the cursor
            raise


@contextmanager
def _new_removed(kind: str, place: str) -> Iterator[None]:
    """Removes the file of a database that was made for a table which then failed."""
    known = kind == "postgresql" or os.path.lexists(place)
    try:
        yield
    except BaseException:
        if not known:
            Path(place).unlink(missing_ok=True)
        raise


def write_rows(uri: str, table: str, frames: Iterable[pl.DataFrame]) -> int:
    """Writes frames as one table and returns how many rows they have; see `table_writer`."""
    rows = 0
    with table_writer(uri, table) as write:
        for frame in frames:
            write(frame)
            rows += frame.height
    return rows


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _check_replaceable(kind: str, cursor: Any, table: str, columns: Collection[str], uri: str) -> None:
    """Refuses to replace a table that lacks some of these columns, which is somebody's own."""
    *schema, name = table.split(".")
    if kind == "sqlite":
        cursor.execute(f"PRAGMA {''.join(f'{one}.' for one in schema)}table_info({name})")
        found = [row[1] for row in cursor.fetchall()]
    else:
        place = f"'{schema[0]}'" if schema else "current_schema()"
        fold = "lower" if kind == "duckdb" else ""  # which takes Lists and lists for one
        where = f"{fold}(table_name) = {fold}('{name}') AND table_schema = {place}"
        cursor.execute(f"SELECT column_name FROM information_schema.columns WHERE {where}")  # noqa: S608 (a checked name)
        found = [row[0] for row in cursor.fetchall()]
    if found and not set(columns) <= set(found):
        said = f"the table {table} holds something else ({', '.join(map(str, found[:10]))}), so it is not replaced"
        raise DataError(f"{said}; give another name", uri)


def _create(cursor: Any, table: str, schema: pl.Schema) -> None:
    cursor.execute(f"DROP TABLE IF EXISTS {_quoted(table)}")
    columns = ", ".join(f"{_quoted(name)} {TYPES[dtype]}" for name, dtype in schema.items())
    cursor.execute(f"CREATE TABLE {_quoted(table)} ({columns})")


def _insert(kind: str, cursor: Any, table: str, frame: pl.DataFrame) -> None:
    if kind == "postgresql":
        *schema, name = table.split(".")
        cursor.adbc_ingest(name, frame.to_arrow(), mode="append", db_schema_name=schema[0] if schema else None)
    elif kind == "duckdb":
        cursor.register("rows_to_insert", frame.to_arrow())
        cursor.execute(f"INSERT INTO {_quoted(table)} SELECT * FROM rows_to_insert")  # noqa: S608 (a checked name)
    else:
        marks = ", ".join("?" * frame.width)
        cursor.executemany(f"INSERT INTO {_quoted(table)} VALUES ({marks})", frame.iter_rows())  # noqa: S608


def _connect(kind: str, place: str) -> Any:
    if kind == "sqlite":
        import sqlite3

        return sqlite3.connect(place, isolation_level=None)
    if kind == "duckdb":
        import duckdb

        _check_no_sqlite(place)
        return duckdb.connect(place)
    from adbc_driver_postgresql import dbapi

    return dbapi.connect(place)
