"""Every way a file can be read, and every way it can be broken: one line that names file, line and remedy."""

import gzip

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metatoken.data import Interactions
from metatoken.errors import ArgumentError, DataError

ROWS = [("u2", "b", 5), ("u1", "a", 9), ("u2", "a", 4), ("u1", "c", 7)]
FRAME = pl.DataFrame(ROWS, schema=["who", "what", "when"], orient="row")


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def content_of(name, frame=FRAME):
    kind = name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind in ("csv", "tsv", "tab"):
        return frame.write_csv(separator="," if kind == "csv" else "\t")
    return frame.write_ndjson()


def histories(log):
    return {user: [log.items.raw[i] for i in items] for user, items in zip(log.users.raw, log.sequences(), strict=True)}


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.tab", "l.jsonl", "l.ndjson", "l.csv.gz", "l.jsonl.gz"])
def test_text_tables(tmp_path, name):
    path = write(tmp_path / name, content_of(name))
    log = Interactions.read(path, user="who", item="what", time="when")
    assert histories(log) == {"u1": ["c", "a"], "u2": ["a", "b"]}
    assert log.frame["timestamp"].to_list() == [7, 9, 4, 5]
    assert log.frame.schema == {"user": pl.Int32, "item": pl.Int32, "order": pl.Int32, "timestamp": pl.Int64}


@pytest.mark.parametrize("name", ["l.parquet", "l.pq", "l.parquet.gz"])
def test_parquet(tmp_path, name):
    FRAME.write_parquet(tmp_path / "raw")
    path = write(tmp_path / name, (tmp_path / "raw").read_bytes())
    assert histories(Interactions.read(path, user="who", item="what", time="when"))["u1"] == ["c", "a"]


def test_all_tables_have_one_checksum(tmp_path):
    FRAME.write_parquet(tmp_path / "l.parquet")
    paths = [tmp_path / "l.parquet", *(write(tmp_path / n, content_of(n)) for n in ("l.csv", "l.jsonl", "l.tsv.gz"))]
    assert len({Interactions.read(p, user="who", item="what", time="when").checksum() for p in paths}) == 1


def test_sequences_pairs_sessions(tmp_path):
    sequences = write(tmp_path / "s.txt", "\ufeffu2 b  a\r\n\nu1\tc a \n")
    assert histories(Interactions.read(sequences, "sequences")) == {"u1": ["c", "a"], "u2": ["b", "a"]}
    pairs = write(tmp_path / "p.txt.gz", "u2 b\nu1 c\nu2 a\n")
    assert histories(Interactions.read(pairs, "pairs")) == {"u1": ["c"], "u2": ["b", "a"]}
    sessions = write(tmp_path / "x.txt", "b b a\n\nc\n")
    assert histories(Interactions.read(sessions, "sessions")) == {"session-1": ["b", "b", "a"], "session-3": ["c"]}


def test_quoted_fields_unicode_and_blank_lines(tmp_path):
    path = write(tmp_path / "l.csv", 'user , item,review\n\nü,"a,b","two\nlines &amp; more"\n\n ü ,c,\n\n')
    log = Interactions.read(path, review="review")
    assert histories(log) == {"ü": ["a,b", "c"]}
    assert log.frame["review"].to_list() == ["two\nlines & more", ""]


def test_whole_number_ids_lose_their_point_zero(tmp_path):
    path = write(tmp_path / "l.csv", "user,item\n1.0,7\n10.0,8\n")
    assert Interactions.read(path).users.raw == ("1", "10")
    path = write(tmp_path / "m.csv", "user,item\n1.0,7\n1.5,8\n")
    assert Interactions.read(path).users.raw == ("1.0", "1.5")
    assert Interactions.from_frame(pl.DataFrame({"user": [1.0, 2.0], "item": [3, 4]})).users.raw == ("1", "2")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["3", " 1 ", "2"], [3, 1, 2]),
        (["3.5", "1", "2e3"], [3.5, 1.0, 2000.0]),
        (["3.0", "1", "2"], [3, 1, 2]),
        (["1970-01-02", "1970-01-01T00:00:05Z", "1970-01-01 01:00:00+01:00"], [86400, 5, 0]),
        (["1970-01-01T00:00:00.25", "1970-01-01 00:01", "1970-01-02"], [0.25, 60.0, 86400.0]),
    ],
)
def test_times(tmp_path, times, expected):
    path = write(tmp_path / "l.csv", "user,item,t\n" + "".join(f"u{i},a,{t}\n" for i, t in enumerate(times)))
    column = Interactions.read(path, time="t").frame["timestamp"]
    assert column.to_list() == expected
    assert column.dtype == (pl.Float64 if any(isinstance(e, float) for e in expected) else pl.Int64)


def test_parquet_dates(tmp_path):
    frame = pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "t": ["1970-01-03", "1970-01-02"]})
    for dtype in (pl.Date, pl.Datetime("ms")):
        frame.with_columns(pl.col("t").str.to_date().cast(dtype)).write_parquet(tmp_path / "l.parquet")
        log = Interactions.read(tmp_path / "l.parquet", time="t")
        assert log.frame["timestamp"].to_list() == [86400, 172800]
        assert histories(log) == {"a": ["y", "x"]}


BROKEN = {
    "empty file": ("l.csv", "", {}, r"l\.csv: the file is empty"),
    "blank file": ("l.csv", " \n \n", {}, "the file is empty"),
    "header only": ("l.csv", "user,item\n", {}, "columns but no rows"),
    "header and blanks": ("l.csv", "user,item\n\n\n", {}, "columns but no rows"),
    "missing column": (
        "l.csv",
        "userId,movie\n1,2\n",
        {},
        r"no column 'user' for user; the columns are 'userId', 'movie'; did you mean 'userId'",
    ),
    "missing json key": ("l.jsonl", '{"usr": 1, "item": 2}\n', {}, "the columns are 'usr', 'item'; did you mean 'usr'"),
    "wrong separator": ("l.csv", "user;item\n1;2\n", {}, "say separator: ';'"),
    "null id": ("l.csv", "user,item\nu,a\n\nu,\n", {}, r"l\.csv:4: empty item id"),
    "blank id": ("l.csv", "user,item\nu,a\n  ,b\n", {}, r"l\.csv:3: empty user id"),
    "bare separators": ("l.csv", "user,item\nu,a\n,\n", {}, r"l\.csv:3: empty user id"),
    "id after quoted lines": ("l.csv", 'user,item,x\nu,a,"1\n2\n3"\n,b,y\n', {}, r"l\.csv:5: empty user id"),
    "null id in json": ("l.jsonl", '{"user":1,"item":2}\n\n{"user":null,"item":2}\n', {}, r"l\.jsonl:3: empty user id"),
    "time": (
        "l.csv",
        "user,item,t\nu,a,1\nu,b,yesterday\n",
        {"time": "t"},
        r"l\.csv:3: time 'yesterday' in column 't'",
    ),
    "time missing": (
        "l.csv",
        "user,item,t\nu,a,1\nu,b\n",
        {"time": "t"},
        r"l\.csv:3: time in column 't' is empty; say where: t is not null",
    ),
    "time infinite": ("l.csv", "user,item,t\nu,a,1\nu,b,inf\n", {"time": "t"}, r"l\.csv:3: time 'inf'"),
    "date": ("l.csv", "user,item,t\nu,a,2020-01-01\nu,b,2020-13-01\n", {"time": "t"}, r"l\.csv:3: time '2020-13-01'"),
    "rating": ("l.csv", "user,item,r\nu,a,5\nu,b,good\n", {"rating": "r"}, r"l\.csv:3: rating 'good'"),
    "rating nan": ("l.jsonl", '{"user":1,"item":2,"r":"nan"}\n', {"rating": "r"}, r"l\.jsonl:1: rating 'nan'"),
    "no ratings": ("l.csv", "user,item,r\nu,a,\n", {"rating": "r"}, r"column 'r' for rating is empty in every row"),
    "too many fields": ("l.csv", "user,item\nu,a\nu,b,c\n", {}, r"l\.csv:3: 3 fields, but the header has 2"),
    "open quote": ("l.csv", 'user,item\nu,a\nu,"b\n', {}, r"l\.csv:3: a quotation mark"),
    "broken json": ("l.jsonl", '{"user":1,"item":2}\n{"user":1,"item":\n', {}, r"l\.jsonl:2: broken JSON"),
    "json array": ("l.json", '[{"user":1,"item":2}]\n', {}, r"l\.json:1: the content is one JSON array"),
    "json scalar": ("l.jsonl", '{"user":1,"item":2}\n17\n', {}, r"l\.jsonl:2: expected a JSON object"),
    "not utf-8": ("l.csv", "user,item\nu,a\nu,é\n".encode("latin-1"), {}, r"l\.csv:3: byte 0xe9 is not UTF-8"),
    "utf-16": ("l.csv", "user,item\nu,a\n".encode("utf-16"), {}, "binary or UTF-16"),
    "zip": ("l.csv", b"PK\x03\x04junk", {}, "zip archive"),
    "gzip without .gz": ("l.csv", gzip.compress(b"user,item\nu,a\n"), {}, "the content is gzip"),
    "parquet in name only": ("l.parquet", "user,item\nu,a\n", {}, "the name says Parquet"),
    "damaged parquet": ("l.parquet", b"PAR1junkjunk", {}, "damaged Parquet"),
    "suffix": ("l.xlsx", "user,item\n", {}, "unknown kind of table '.xlsx'; tables end in .csv"),
    "user without items": ("l.txt", "u a\nv\n", {"format": "sequences"}, r"l\.txt:2: expected 'user item item"),
    "pair of three": ("l.txt", "u a\nu a b\n", {"format": "pairs"}, r"l\.txt:2: expected 'user item'"),
    "pair of csv": ("l.txt", "u,a\n", {"format": "pairs"}, r"l\.txt:1: .* use format='table'"),
}


@pytest.mark.parametrize(("name", "content", "arguments", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files(tmp_path, name, content, arguments, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        Interactions.read(path, **arguments)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_gzip_that_is_not_and_gzip_that_is_cut(tmp_path):
    path = tmp_path / "l.csv.gz"
    path.write_bytes(b"user,item\nu,a\n")
    with pytest.raises(DataError, match="the content is not gzip"):
        Interactions.read(path)
    path.write_bytes(gzip.compress(b"user,item\n" + b"u,a\n" * 99)[:-9])
    with pytest.raises(DataError, match="damaged gzip"):
        Interactions.read(path)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: no such file"):
        Interactions.read(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        Interactions.read(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "csv"}, "format: expected one of table, sequences, pairs, sessions, got 'csv'"),
        ({"format": "pairs", "time": "t"}, "time: format='pairs' has no named columns"),
        ({"item": "user"}, "item: column 'user' is already used for user"),
        ({"title": "title"}, "title: is about the item table"),
    ],
)
def test_arguments(tmp_path, arguments, message):
    path = write(tmp_path / "l.csv", "user,item\nu,a\n")
    with pytest.raises(ArgumentError, match=message):
        Interactions.read(path, **arguments)


JUNK = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.text(alphabet='useritm,"\n\t{}[]:019.\r ', min_size=1, max_size=60).map(lambda text: text.encode()),
    st.text(alphabet='ab,"\n\r .', max_size=40).map(lambda text: b"user,item\n" + text.encode()),
    st.text(alphabet='ab,":{}\n1', max_size=40).map(lambda text: b'{"user":1,"item":2}\n' + text.encode()),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    JUNK,
    st.sampled_from(["l.csv", "l.tsv", "l.jsonl", "l.parquet", "l.csv.gz", "l.txt"]),
    st.sampled_from(["table", "sequences", "pairs", "sessions"]),
)
def test_junk_is_read_or_refused_in_one_line(tmp_path, junk, name, form):
    path = tmp_path / name
    path.write_bytes(junk)
    try:
        log = Interactions.read(path, form)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 (reading it is fine, too)
    else:
        assert len(log) > 0
        # Blanks are those of Unicode; Python's own strip also takes the four ASCII separators.
        found = pl.Series([*log.users.raw, *log.items.raw])
        assert ((found != "") & (found == found.str.strip_chars())).all()


@pytest.mark.parametrize("seed", range(60))
def test_damaged_parquet_is_read_or_refused_in_one_line(tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path / "l.parquet"
    pl.DataFrame({"user": ["a", "b"] * 50, "item": list(range(100))}).write_parquet(path)
    data = bytearray(path.read_bytes())
    for place in rng.integers(4, len(data), 3):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    try:
        log = Interactions.read(path)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 (reading it is fine, too)
    else:
        assert len(log) > 0
