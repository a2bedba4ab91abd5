"""Links of users and items to named values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatoken.data import IdMap
from metatoken.data.links import Links
from metatoken.errors import ArgumentError, DataError

ITEMS = IdMap(["1", "2", "3"], "item")


def pairs(links: Links) -> list[tuple[int, str]]:
    return [(row, links.names[value]) for row, value in zip(links.rows.tolist(), links.values.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("brands.csv", "id,brand\n2,b|a\n1,a\n2,a\n9,z\n3,\n", {}),
        ("brands.tsv", "brand\tid\nb|a\t2\na\t1\n", {"id_column": "id", "column": "brand"}),
        ("brands.txt", "2 b a\n1 a\n9 z\n", {}),
        (
            "brands.jsonl",
            '{"id": 2, "brand": ["b", "a"]}\n{"id": 1, "brand": ["a"]}\n',
            {"id_column": "id", "column": "brand"},
        ),
    ],
)
def test_any_file_gives_the_same_links(tmp_path: Path, name: str, text: str, columns: dict[str, str]) -> None:
    (tmp_path / name).write_text(text)
    links = Links.read(tmp_path / name, ITEMS, **columns)
    assert pairs(links) == [(0, "a"), (1, "a"), (1, "b")]
    assert links.names == ("a", "b")
    assert links.rows.dtype == links.values.dtype == np.int32
    assert (links.kind, len(links)) == ("item", 3)


@given(st.lists(st.none() | st.lists(st.text("abc", max_size=2), max_size=4), max_size=6))
def test_lists_become_sorted_distinct_links(lists: list[list[str] | None]) -> None:
    links = Links.from_lists("item", lists)
    assert pairs(links) == [
        (row, value) for row, entry in enumerate(lists) for value in sorted(set(entry or ()) - {""})
    ]
    assert links.names == tuple(sorted({value for entry in lists for value in entry or ()} - {""}))


@pytest.mark.parametrize(
    ("name", "text", "columns", "reason"),
    [
        ("b.csv", "id,brand\n7,a\n", {}, r"none of its 1 ids is among the items of the log \(first: '7', log: '1'\)"),
        ("b.csv", "id\n1\n", {}, "expected a column of ids and one of values, got id"),
        ("b.csv", "id,brand\n1,a\n", {"column": "brands"}, "did you mean 'brand'"),
        ("b.jsonl", '{"id": 1}\n', {}, "name the column of ids"),
        ("b.txt", "1\n", {}, "expected 'user item item"),
    ],
)
def test_files_without_links_are_refused(
    tmp_path: Path, name: str, text: str, columns: dict[str, str], reason: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=reason):
        Links.read(tmp_path / name, ITEMS, **columns)


def test_columns_are_for_tables(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("1 a\n")
    with pytest.raises(ArgumentError, match="have no columns"):
        Links.read(tmp_path / "b.txt", ITEMS, column="brand")
