"""Files as people post them: each gives the right value, or one line that says what to do."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metatoken.data import Interactions
from metatoken.errors import MetatokenError

HEAD = "user,item\n"
LARGE = "12345678901234567890"

# Name of the file, its content, arguments, and the histories it holds.
RIGHT: dict[str, tuple[str, str | bytes, dict[str, Any], dict[str, list[str]]]] = {
    "leading zeros": ("l.csv", f"{HEAD}007,0012\n7,12\n", {}, {"007": ["0012"], "7": ["12"]}),
    "powers of ten": ("l.csv", f"{HEAD}1e5,1E5\n100000,1\n", {}, {"1e5": ["1E5"], "100000": ["1"]}),
    "NA and null as ids": ("l.csv", f"{HEAD}NA,null\nNone,nan\n", {}, {"NA": ["null"], "None": ["nan"]}),
    "true and false as ids": ("l.csv", f"{HEAD}True,false\n", {}, {"True": ["false"]}),
    "twenty digits": ("l.csv", f"{HEAD}{LARGE},{LARGE}1\n", {}, {LARGE: [f"{LARGE}1"]}),
    "twenty digits in JSON": ("l.jsonl", f'{{"user":{LARGE},"item":1}}\n', {}, {LARGE: ["1"]}),
    "emoji": ("l.csv", f"{HEAD}😀1,👩‍👩‍👧\n", {}, {"😀1": ["👩‍👩‍👧"]}),
    "hyphens and signs": ("l.csv", f"{HEAD}-1,+1\n", {}, {"-1": ["+1"]}),
    "dates as ids": ("l.csv", f"{HEAD}2024-01-01,1/2\n", {}, {"2024-01-01": ["1/2"]}),
    "blanks inside and around": ("l.csv", f"{HEAD} a b , c  d \n", {}, {"a b": ["c  d"]}),
    "comma in quotes": ("l.csv", f'{HEAD}u,"a,b"\n', {}, {"u": ["a,b"]}),
    "quote in quotes": ("l.csv", f'{HEAD}u,"a""b"\n', {}, {"u": ['a"b']}),
    "inch mark": ("l.csv", f'{HEAD}u,7" tablet\nv,x\n', {}, {"u": ['7" tablet'], "v": ["x"]}),
    "two inch marks": ("l.csv", f'{HEAD}u,7" a\nv,8" b\nw,c\n', {}, {"u": ['7" a'], "v": ['8" b'], "w": ["c"]}),
    "line end in quotes": ("l.csv", f'{HEAD}u,"a\nb"\nv,c\n', {}, {"u": ["a\nb"], "v": ["c"]}),
    "open quotes in a TSV": (
        "l.tsv", 'user\titem\nu\t"a\nv\tb\nw\t"c\n', {}, {"u": ['"a'], "v": ["b"], "w": ['"c']},
    ),
    "quotes in a TSV that says so": ("l.tsv", 'user\titem\nu\t"a\tb"\n', {"quote": '"'}, {"u": ["a\tb"]}),
    "single quotes": ("l.csv", f"{HEAD}u,'a,b'\n", {"quote": "'"}, {"u": ["a,b"]}),
    "no quotes": ("l.csv", f'{HEAD}u,"a\nv,b"\n', {"quote": ""}, {"u": ['"a'], "v": ['b"']}),
    "semicolons": ("l.csv", "user;item\nu;a,b\n", {"separator": ";"}, {"u": ["a,b"]}),
    "bars": ("l.csv", "user|item\nu|a\n", {"separator": "|"}, {"u": ["a"]}),
    "double colons, no header": (
        "ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n",
        {"separator": "::", "columns": ["user", "item", "rating", "time"], "rating": "rating", "time": "time"},
        {"1": ["1193", "661"]},
    ),
    "double colons in quotes": (
        "l.csv", 'user::item\nu::"a::b"\nu::c\x1fd\n', {"separator": "::"}, {"u": ["a::b", "c\x1fd"]},
    ),
    "a sign of two bytes": ("l.csv", 'user§item\nu§"a§b"\n', {"separator": "§"}, {"u": ["a§b"]}),
    "tabs, no header": (
        "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
        {"separator": "\t", "columns": "user,item,rating,time", "time": "time"}, {"196": ["242"], "186": ["302"]},
    ),
    "byte order mark": ("l.csv", f"\ufeff{HEAD}u,a\n", {}, {"u": ["a"]}),
    "byte order mark before quotes": ("l.csv", '\ufeff"user","item"\n"u","a"\n', {}, {"u": ["a"]}),
    "latin-1": ("l.csv", f"{HEAD}Zoë,Müsli\n".encode("latin-1"), {"encoding": "latin-1"}, {"Zoë": ["Müsli"]}),
    "cp1252": ("l.csv", f"{HEAD}u,5 €\n".encode("cp1252"), {"encoding": "cp1252"}, {"u": ["5 €"]}),
    "utf-16": ("l.csv", f"{HEAD}ü,a\n".encode("utf-16"), {"encoding": "utf-16"}, {"ü": ["a"]}),
    "line ends of Windows": ("l.csv", "user,item\r\nu,a\r\n\r\nu,b\r\n", {}, {"u": ["a", "b"]}),
    "line ends of old Macs": ("l.csv", "user,item\ru,a\ru,b\r", {}, {"u": ["a", "b"]}),
    "no line end at the end": ("l.csv", f"{HEAD}u,a\nu,b", {}, {"u": ["a", "b"]}),
    "blank lines": ("l.csv", f"\n\n{HEAD}u,a\n\n\nu,b\n\n", {}, {"u": ["a", "b"]}),
    "short rows": ("l.csv", "user,item,note\nu,a\nu,b,x\n", {}, {"u": ["a", "b"]}),
    "a column twice that is not used": ("l.csv", "user,item,x,x\nu,a,1,2\n", {}, {"u": ["a"]}),
    "a name of many words": ("l.csv", '"the user, really",item\nu,a\n', {"user": "the user, really"}, {"u": ["a"]}),
    "a column without a name": ("l.csv", ",user,item\n0,u,a\n1,u,b\n", {}, {"u": ["a", "b"]}),
    "gzip": ("l.csv.gz", gzip.compress(f"{HEAD}u,a\n".encode()), {}, {"u": ["a"]}),
    "gzip in two parts": ("l.csv.gz", gzip.compress(HEAD.encode()) + gzip.compress(b"u,a\n"), {}, {"u": ["a"]}),
    "zstd": ("l.csv.zst", pa.compress(f"{HEAD}u,a\n".encode(), "zstd", asbytes=True), {}, {"u": ["a"]}),
    "bzip2": ("l.tsv.bz2", bz2.compress(b"user\titem\nu\ta\n"), {}, {"u": ["a"]}),
    "whole numbers as floats": ("l.csv", f"{HEAD}1.0,7\n10.0,8\n", {}, {"1": ["7"], "10": ["8"]}),
    "numbers in JSON": ("l.jsonl", '{"user":1.0,"item":"007"}\n', {}, {"1": ["007"]}),
    "NaN elsewhere in JSON": (
        "l.jsonl", '{"user":1,"item":2,"x":NaN}\n{"user":1,"item":"3"}\n', {}, {"1": ["2", "3"]},
    ),
    "brackets in a JSON text": ("l.jsonl", '{"user":"[1]","item":"{a}"}\n', {}, {"[1]": ["{a}"]}),
    "keys in another order": ("l.jsonl", '{"user":1,"item":2}\n{"item":3,"user":1}\n', {}, {"1": ["2", "3"]}),
    "escapes in JSON": ("l.jsonl", '{"user":"\\u00fc","item":"a\\"b\\n"}\n', {}, {"ü": ['a"b']}),
    "nested JSON elsewhere": ("l.jsonl", '{"user":1,"item":2,"x":{"y":[1,{}]}}\n', {}, {"1": ["2"]}),
    "sequences with commas": ("l.txt", "u1, a, b c\n", {"format": "sequences", "separator": ","}, {"u1": ["a", "b c"]}),
    "a filter over decimal commas": (
        "l.csv", "user;item;stars\nu;a;4,5\nu;b;1,5\nu;c;\n",
        {"separator": ";", "decimal": ",", "where": "stars >= 2", "rating": "stars"}, {"u": ["a"]},
    ),
    "numbers as ids in JSON": ("l.jsonl", '{"user":1e5,"item":true}\n', {}, {"100000": ["true"]}),
    "a number of fractions as an id": ("l.csv", f"{HEAD}1.50,2\n1.0,3\n", {}, {"1.50": ["2"], "1.0": ["3"]}),
    "a line end in a header": ("l.csv", '"user","the\nitem"\nu,a\n', {"item": "the\nitem"}, {"u": ["a"]}),
    "half a pair of surrogates": ("l.jsonl", '{"user":"\\ud83d\\ude00","item":1}\n', {}, {"😀": ["1"]}),
    "times that are missing, left out": (
        "l.csv", "user,item,at what\nu,b,2\nu,x,\nu,a,1\n", {"time": "at what", "where": "`at what` is not null"},
        {"u": ["a", "b"]},
    ),
    "a filter over a word of filters, and over a name with a backquote": (
        "l.csv", "user,item,in,a`b\nu,a,1,2\nu,b,1,\nu,c,,2\n",
        {"where": "`in` == 1 and `a``b` is not null"}, {"u": ["a"]},
    ),
    "a tab as shells leave it": ("l.csv", "user\titem\nu\ta\n", {"separator": "\\t"}, {"u": ["a"]}),
    "a separator at the end of each line": ("l.csv", "user,item,\nu,a,\nv,b,\n", {}, {"u": ["a"], "v": ["b"]}),
    "UTF-16 without a mark": ("l.csv", f"{HEAD}ü,a\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, {"ü": ["a"]}),
    "blanks that do not break": ("l.csv", f"{HEAD}\u00a0u\u00a0,\u3000a\n", {}, {"u": ["a"]}),
    "accents of two kinds": ("l.csv", f"{HEAD}\u00e9,a\ne\u0301,a\n", {}, {"\u00e9": ["a"], "e\u0301": ["a"]}),
    "a separator inside of a character": (
        "l.csv", "user|item\nソ|表\n".encode("shift_jis"), {"encoding": "shift_jis", "separator": "|"}, {"ソ": ["表"]},
    ),
    "Chinese": ("l.csv", f"{HEAD}用户,商品\n".encode("gbk"), {"encoding": "gbk"}, {"用户": ["商品"]}),
    "a name with brackets": ("l[1].csv", f"{HEAD}u,a\n", {}, {"u": ["a"]}),
    "no ending of the name": ("part-00000", f"{HEAD}u,a\n", {"separator": ","}, {"u": ["a"]}),
    "a long field": ("l.csv", f"user,item,x\nu,a,{'x' * 300_000}\nv,b\n", {}, {"u": ["a"], "v": ["b"]}),
    "quotes of quotes": ("l.csv", f'{HEAD}"""u""","a,""b"",\nc"\n', {}, {'"u"': ['a,"b",\nc']}),
    "types that change in JSON": (
        "l.jsonl", '{"user":1,"item":"2"}\n{"user":"1","item":3}\n{"user":1.5,"item":null,"x":1}\n',
        {"where": "item is not null"}, {"1": ["2", "3"]},
    ),
    "large numbers in JSON": (
        "l.jsonl", '{"user":1e22,"item":12345678901234567890123}\n', {},
        {"10000000000000000000000": ["12345678901234567890123"]},
    ),
    "a byte order mark in JSON": ("l.jsonl", '\ufeff{"user":1,"item":2}\n', {}, {"1": ["2"]}),
    "a filter over a text with quotes": (
        "l.csv", "user,item,e\nu,a,it's\nu,b,its\n", {"where": 'e == "it\'s"'}, {"u": ["a"]},
    ),
    "parts by other names": (
        "l.csv", "user,item,p\nu,c,test \nu,a,Train\nu,b,VAL\n", {"part": "p", "split": "part"},
        {"u": ["c", "a", "b"]},
    ),
    "times before 1970": ("l.csv", "user,item,t\nu,a,-5\nu,b,-86400\n", {"time": "t"}, {"u": ["b", "a"]}),
    "a comma within an id": ("l.txt", "u a,b c\nv d,e\n", {"format": "sequences"}, {"u": ["a,b", "c"], "v": ["d,e"]}),
    "fine times of two forms": (
        "l.csv", "user,item,t\nu,b,1700000000000000001.0\nu,a,1700000000000000000\n", {"time": "t"}, {"u": ["a", "b"]},
    ),
    "pairs with semicolons": ("l.txt", "u;a b\n", {"format": "pairs", "separator": ";"}, {"u": ["a b"]}),
}  # fmt: skip

# Name, content, arguments, and a part of the message.
REFUSED: dict[str, tuple[str, str | bytes, dict[str, Any], str]] = {
    "semicolons unsaid": ("l.csv", "user;item\nu;a\n", {}, "if ';' separates them, say separator: ';'"),
    "semicolons unsaid, commas inside": (
        "l.csv", "user;item\nu;a\nv;b,c\n", {}, "l.csv:3: 2 fields, but the header has 1; if ';' separates them, say",
    ),
    "a column named as a word of filters": (
        "l.csv", "user,item,In\nu,a,1\nu,b,\n", {"time": "In"}, "is empty; say where: `In` is not null",
    ),
    "latin-1 unsaid": ("l.csv", f"{HEAD}a,b\nZoë,x\n".encode("latin-1"), {}, "l.csv:3: byte 0xeb is not UTF-8"),
    "a list as an item": ("l.jsonl", '{"user":1,"item":"a"}\n{"user":1,"item":["a","b"]}\n', {}, "l.jsonl:2: item"),
    "an object as a user": ("l.jsonl", '{"user":{"id":1},"item":2}\n', {}, "is an object; write one id a row"),
    "commas after ids": ("l.txt", "u1, a, b\n", {"format": "sequences"}, "l.txt:1: ids end in commas; say separator"),
    "commas but for the user": ("l.txt", "u1 a, b\n", {"format": "sequences"}, "l.txt:1: ids end in commas"),
    "a list behind the user": ("l.txt", "u1 [a, b]\n", {"format": "sequences"}, "l.txt:1: ids end in commas"),
    "semicolons after ids": ("l.txt", "u1; a; b\n", {"format": "sequences"}, 'semicolons; say separator: ";"'),
    "bars after ids": ("l.txt", "u1 a| b| c\n", {"format": "sequences"}, "ids end in bars"),
    "a basket of one word": ("l.txt", "u1\ta,b\nu2\tc,a\n", {"format": "sequences"}, "each user are one word"),
    "quotes that do not close": ("l.csv", f'{HEAD}u,a\nv,"b\nw,c\n', {}, "l.csv:3: a quotation mark is not closed"),
    "text behind quotes": ("l.csv", f'{HEAD}u,a\nv,"7" tablet"\n', {}, "l.csv:3: a quotation mark"),
    "a column twice": ("l.csv", "user,item,item\nu,a,b\n", {}, "'item' for item stands in the header 2 times"),
    "a zstd name": ("l.csv.zst", f"{HEAD}u,a\n", {}, "the name ends in .zst, but the content is not zstd"),
    "a database": ("l.csv", b"SQLite format 3\0...", {}, "a SQLite database, which is read with uri and query"),
    "a separator behind each row": ("l.csv", f"{HEAD}u,a,\n", {}, "l.csv:2: 3 fields, but the header has 2; quote"),
    "a remark above the header": ("l.csv", f"# of today\n{HEAD}u,a\n", {}, "is the first line a remark? Remove it"),
    "fewer names than columns": ("l.csv", "u,a,1\n", {"columns": "user,item"}, "3 fields, but columns names 2"),
    "quotes in a TSV unsaid": ("l.tsv", '"user"\t"item"\n"u"\t"a"\n', {}, "are no part of them, say quote: '\"'"),
    "quotes behind a backslash": ("l.csv", f'{HEAD}u,"a \\"b\\""\n', {}, "a quotation mark is not closed or is"),
    "the end of DOS": ("l.csv", f"{HEAD}u,a\n\x1a", {}, "l.csv:3: empty item id in column 'item'; give"),
    "another compression": ("l.csv.xz", b"\xfd7zXZ", {}, "unknown kind of table '.xz'; tables end in .csv"),
    "objects in one line": ("l.jsonl", '{"user":1,"item":2}{"user":3}\n', {}, "l.jsonl:1: broken JSON: Extra data"),
    "objects with commas": ("l.jsonl", '{"user":1,"item":2},\n', {}, "expected one object in each line"),
    "a key twice": ("l.jsonl", '{"user":1,"item":2,"user":{"user":3}}\n', {}, "l.jsonl:1: the object has 'user' twice"),
    "columns as pandas writes JSON": ("l.json", '{"user":{"0":1},"item":{"0":3}}\n', {}, "'user' is an object"),
    "no rating as MySQL writes it": ("l.csv", "user,item,r\nu,a,\\N\n", {"rating": "r"}, "leave it empty"),
    "the day of no date": ("l.csv", "user,item,t\nu,a,0000-00-00\n", {"time": "t"}, "l.csv:2: time '0000-00-00' in"),
    "a number among dates": ("l.csv", "user,item,t\nu,a,2024-01-31\nu,b,1\n", {"time": "t"}, "l.csv:3: time '1' in"),
    "a date among numbers": ("l.csv", "user,item,t\nu,a,1\nu,b,2024-01-31\n", {"time": "t"}, "time '2024-01-31' in"),
    "two-digit years": ("l.csv", "user,item,t\nu,a,31-01-24\n", {"time": "t"}, "say time_format for another date"),
    "the wrong form": (
        "l.csv", "user,item,t\nu,a,31-01-24\n", {"time": "t", "time_format": "%d-%m-%Y"}, "say %y in time_format",
    ),
    "an hour that is skipped": (
        "l.csv", "user,item,t\nu,a,2024-03-31 02:30\n", {"time": "t", "time_zone": "Europe/Berlin"}, "clocks skip it",
    ),
    "no encoding": ("l.csv", f"{HEAD}u,a\n", {"encoding": "klingon"}, "encoding: expected a name such as utf-8"),
    "no such zone": (
        "l.csv", "user,item,t\nu,a,2024-03-31\n", {"time": "t", "time_zone": "Mars"}, "time_zone: expected a name",
    ),
    "a rating in words": ("l.csv", "user,item,r\nu,a,\nu,b,good\n", {"rating": "r"}, "l.csv:3: rating 'good'"),
    "a decimal comma unsaid": ("l.csv", 'user,item,r\nu,a,"4,5"\n', {"rating": "r"}, "l.csv:2: rating '4,5'"),
    "a point where commas are said": (
        "l.csv", "user,item,r\nu,a,1.234\n", {"rating": "r", "decimal": ","}, "l.csv:2: rating '1.234'",
    ),
    "a line of Excel's": ("l.csv", "sep=;\nuser;item\nu;a\n", {}, "the first line is Excel's: remove it"),
    "times that are missing": (
        "l.csv", "user,item,at what\nu,a,1\nu,b,\n", {"time": "at what"},
        "l.csv:3: time in column 'at what' is empty; say where: `at what` is not null",
    ),
    "half a character": (
        "l.jsonl", '{"user":1,"item":2}\n{"user":"\\ud83d","item":3}\n', {}, "l.jsonl:2: a character is cut in two",
    ),
    "an object of several lines": ("l.json", '{\n"user":1,\n"item":2}\n', {}, "expected one object in each line"),
    "a rating beyond float32": ("l.csv", "user,item,r\nu,a,1e300\n", {"rating": "r"}, "l.csv:2: rating '1e300'"),
    "a form without a per cent": (
        "l.csv", "user,item,t\nu,a,1.2.24\n", {"time": "t", "time_format": "dd.mm.yy"}, "time_format: expected a form",
    ),
    "quote and separator alike": ("l.csv", f"{HEAD}u,a\n", {"quote": ","}, "quote and separator are both ','"),
    "no row left": ("l.csv", f"{HEAD}u,a\n", {"where": "item == 'b'"}, "no row passes where: item == 'b'"),
    "a filter of no column": ("l.csv", f"{HEAD}u,a\n", {"where": "itm == 'b'"}, "no column 'itm' for where"),
    "no core": ("l.csv", f"{HEAD}u,a\n", {"min_user": 2}, "min_user 2, min_item 1: no user and item have"),
    "a window of dates over numbers": (
        "l.csv", "user,item,t\nu,a,2024-03-31\n", {"time": "t", "since": 3}, "since: expected a date such as",
    ),
}  # fmt: skip


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def histories(log: Interactions) -> dict[str, list[str]]:
    return {user: [log.items.raw[i] for i in row] for user, row in zip(log.users.raw, log.sequences(), strict=True)}


@pytest.mark.parametrize(("name", "content", "arguments", "expected"), RIGHT.values(), ids=RIGHT.keys())
def test_what_is_read(tmp_path: Path, name: str, content: Any, arguments: dict[str, Any], expected: Any) -> None:
    assert histories(Interactions.read(write(tmp_path, name, content), **arguments)) == expected


@pytest.mark.parametrize(("name", "content", "arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(tmp_path: Path, name: str, content: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MetatokenError) as caught:
        Interactions.read(write(tmp_path, name, content), **arguments)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("times", "arguments", "expected"),
    [
        (["2024-01-31 00:00:00 UTC", "2024-01-31 00:00:00.250 UTC"], {}, [1706659200, 1706659200.25]),
        (["31 Jan 2024"], {"time_format": "%d %b %Y"}, [1706659200]),
        (["01/31/2024 01:00 PM"], {"time_format": "%m/%d/%Y %I:%M %p"}, [1706706000]),
        (["2024-11-03 01:30", "2024-11-03 02:30"], {"time_zone": "America/New_York"}, [1730611800, 1730619000]),
        (["1970-01-01T02:00+02", "1970-01-01 00:00:01 Z", "1970-01-01T00:00:02-0000"], {}, [0, 1, 2]),
        (["2024-10-27 01:30", "2024-10-27 02:30", "2024-10-27 03:30"], {"time_zone": "Europe/Berlin"},
         [1729985400, 1729989000, 1729996200]),
        (["31.12.2023 23:59", "1.2.2024 5:06"], {"time_format": "%d.%m.%Y %H:%M"}, [1704067140, 1706763960]),
        (["31-01-24"], {"time_format": "%d-%m-%y"}, [1706659200]),
        (["20240131"], {"time_format": "%Y%m%d"}, [1706659200]),
        (["01/02/2024"], {"time_format": "%m/%d/%Y", "time_zone": "America/New_York"}, [1704171600]),
        (["2024-01-01T00:00:00.000000001", "2024-01-01"], {}, [1704067200000000001, 1704067200000000000]),
        (["1704067200000"], {}, [1704067200000]),
        (["2024-01-01T00:00:00.5"], {}, [1704067200.5]),
        (["1.7040672E+12", "1704067201000"], {}, [1704067200000, 1704067201000]),
        (['"1704067200,5"', "1704067201"], {"decimal": ","}, [1704067200.5, 1704067201]),
        (["Wed Oct 10 20:19:24 +0000 2018"], {"time_format": "%a %b %d %H:%M:%S %z %Y"}, [1539202764]),
        (["10/Oct/2000:13:55:36 -0700"], {"time_format": "%d/%b/%Y:%H:%M:%S %z"}, [971211336]),
        (["1/31/2024 1:05 pm"], {"time_format": "%m/%d/%Y %I:%M %p"}, [1706706300]),
        (["2024-01-01T00:00:00+05:30", "2023-12-31T18:00:00Z"], {}, [1704047400, 1704045600]),
    ],
)  # fmt: skip
def test_times(tmp_path: Path, times: list[str], arguments: dict[str, Any], expected: list[float]) -> None:
    text = "user,item,t\n" + "".join(f"u{row},a,{time}\n" for row, time in enumerate(times))
    log = Interactions.read(write(tmp_path, "l.csv", text), time="t", **arguments)
    assert log.frame["timestamp"].to_list() == expected


def test_the_line_of_an_error_in_one_of_many_files(tmp_path: Path) -> None:
    for day, text in enumerate(["u,a\nu,b\n", "v,a\n\nv,\n", "w,a\n"], start=1):
        (tmp_path / "log" / f"day={day}").mkdir(parents=True)
        write(tmp_path / "log" / f"day={day}", "part.csv", HEAD + text)
    with pytest.raises(MetatokenError, match=r"day=2.part\.csv:4: empty item id"):
        Interactions.read(tmp_path / "log")
    write(tmp_path / "log" / "day=2", "part.csv", f"{HEAD}v,a\n")
    log = Interactions.read(tmp_path / "log", where="day >= 2")
    assert histories(log) == {"v": ["a"], "w": ["a"]}
    assert log.notes == ("where day >= 2: 2 of 4 rows are left out",)
    assert len(Interactions.read(tmp_path / "log" / "*" / "part.csv")) == 4
    for name in ("_SUCCESS.csv", ".hidden.csv"):
        write(tmp_path / "log", name, "junk")
    assert len(Interactions.read(tmp_path / "log")) == 4
    with pytest.raises(MetatokenError, match="no file fits this pattern"):
        Interactions.read(tmp_path / "log" / "*.parquet")


PACK: dict[str, Any] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(" ,;|\t\"'\n"), max_size=6
)
IDS = WORDS.map(lambda text: f"x{text}y")


ROWS = st.lists(
    st.tuples(
        IDS, IDS, st.none() | st.integers(-99, 99).map(lambda tenths: tenths / 10), st.integers(0, 4_000_000_000)
    ),
    min_size=1,
    max_size=8,
).filter(lambda rows: any(row[2] is not None for row in rows))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    separator=st.sampled_from([",", ";", "|", "\t", "::"]),
    quote=st.sampled_from(['"', "'"]),
    always=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    decimal=st.sampled_from([".", ","]),
    date=st.sampled_from([None, "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%S%z"]),
    header=st.booleans(),
    suffix=st.sampled_from(["", ".gz", ".zst", ".bz2"]),
)
def test_any_dialect_is_read_back(
    tmp_path: Path, rows: Any, separator: str, quote: str, always: bool, encoding: str, ending: str, decimal: str,
    date: str | None, header: bool, suffix: str,
) -> None:  # fmt: skip
    names = ["who", "what", "stars", "at"]
    frame = pl.DataFrame(
        rows, schema=dict(zip(names, [pl.String, pl.String, pl.Float64, pl.Int64], strict=True)), orient="row"
    )
    moment = [datetime.fromtimestamp(at, UTC) for at in frame["at"]]
    text = frame.with_columns(
        pl.col("stars").map_elements(lambda one: f"{one:.1f}".replace(".", decimal), pl.String),
        at=pl.Series([at.strftime(date) for at in moment]) if date else pl.col("at").cast(pl.String),
    )
    lines = io.StringIO(newline="")
    # A separator of several characters is one that is in no value.
    one = "\x1f" if len(separator) > 1 else separator
    quoting: Any = csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL
    table = csv.writer(lines, delimiter=one, quotechar=quote, quoting=quoting, lineterminator=ending)
    table.writerows([*([names] if header else []), *text.rows()])
    data = lines.getvalue().replace(one, separator).encode(encoding)
    path = write(tmp_path, f"l.csv{suffix}", PACK[suffix](data))
    dialect = {"separator": separator, "quote": quote, "encoding": encoding, "decimal": decimal, "time_format": date}
    named = {"user": "who", "item": "what", "rating": "stars", "time": "at"}
    log = Interactions.read(path, **named, **dialect, columns=None if header else names)
    assert log.checksum() == Interactions.from_frame(frame, **named).checksum()


@pytest.mark.parametrize("first", ["x^y", "x\1y"])
def test_a_table_that_begins_like_a_compressed_one(tmp_path: Path, first: str) -> None:
    (tmp_path / "log.csv").write_text(f"{first},a\nu,b\nu,c\n")
    log = Interactions.read(tmp_path / "log.csv", columns=["user", "item"])
    assert sorted(log.users.raw) == sorted([first, "u"])
    assert sorted(log.items.raw) == ["a", "b", "c"]
