"""The page: complete, alone, escaped, the same each time."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metatoken.data import Catalogue
from metatoken.report import make_report, page, write_report
from metatoken.report.drawing import SERIES, VARIABLES
from tests.conftest import TrainedRun

HOSTILE = '<script>alert("$x^2$")</script>\x07 & <b_1>'
ADDRESS = re.compile(r"(?:https?:)?//|@import|url\((?!#)")


class Reader(HTMLParser):
    """Tags, ids and addresses of a page, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("href", "src", "xlink:href", "action", "srcset", "style") or name.startswith("on"):
                self.addresses.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


@pytest.fixture(scope="module")
def made(trained_run: TrainedRun) -> str:
    return make_report([trained_run.run.folder], resamples=200)


@pytest.fixture(scope="module")
def read(made: str) -> Reader:
    return Reader(made)


def test_it_shows_every_section_and_ten_pictures(made: str, read: Reader) -> None:
    assert read.tags.count("svg") == 10
    headings = re.findall(r"<h2>(.*?)</h2>", made)
    assert headings == [
        "Results", "Who is served well", "Examples", "What was read", "Tokens", "Training", "What it costs",
        "What to do next",
    ]  # fmt: skip
    inside = [one.removeprefix("#") for one in read.addresses if one.startswith("#r0-") and "next" not in one]
    assert set(inside) <= set(read.ids)


def test_it_asks_for_nothing_else(made: str, read: Reader) -> None:
    assert "script" not in read.tags
    assert not {"link", "img", "iframe", "object"} & set(read.tags) - {"link"}
    assert [one for one in read.addresses if ADDRESS.search(one)] == []
    assert not ADDRESS.search(made.partition("<style>")[2].partition("</style>")[0])
    assert "default-src 'none'" in made


def test_ids_differ_and_colors_are_those_of_the_page(made: str, read: Reader) -> None:
    assert len(read.ids) == len(set(read.ids))
    assert not [color for color in (*SERIES, *VARIABLES) if color in made]
    style = made.partition("<style>")[2].partition("</style>")[0]
    light, _, dark = style.partition("prefers-color-scheme: dark")
    used = set(re.findall(r"var\((--\w+)\)", made))
    assert {name for name in used if f"{name}:" not in light} == set()
    assert {name for name in used if f"{name}:" not in dark} == set()


def test_the_same_run_gives_the_same_bytes(made: str, trained_run: TrainedRun, tmp_path: Path) -> None:
    write_report([trained_run.run.folder], tmp_path / "report.html", resamples=200)
    assert (tmp_path / "report.html").read_bytes() == made.encode()


def test_what_titles_and_categories_hold_is_text(trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    read = page.Subject.read

    def hostile(*arguments: Any) -> Any:
        subject = read(*arguments)
        items = subject.data.catalogue.items
        half = len(items) // 2
        values = [[f"_{HOSTILE}"]] * half + [["plain"]] * (len(items) - half)
        table = pl.DataFrame({"title": [HOSTILE] * len(items), "categories": values})
        return replace(subject, data=subject.data._replace(catalogue=Catalogue(items, table)))

    monkeypatch.setattr(page.Subject, "read", hostile)
    found = make_report([trained_run.run.folder], resamples=10)
    assert "<script" not in found
    assert "<b_1>" not in found
    assert "\x07" not in found
    words = Reader(found).words
    assert HOSTILE.replace("\x07", "\\x07") in words
    assert any("script" in word and "_" in word and "…" in word for word in words), "a category of the map"


def test_ratings_and_texts_stand_in_tables_of_their_own(answering_run: TrainedRun) -> None:
    found = make_report([answering_run.run.folder], resamples=100)
    words = Reader(found).words
    assert [word for word in words if word.startswith("Task ") and ":" not in word] == [
        f"Task {task}" for task in dict.fromkeys(row["task"] for row in answering_run.metrics["rows"])
    ]
    assert "RMSE" in words
    assert "what is true" in words
