"""`FILE:ID:COLUMN` names a file on every system."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError, DataError
from metatoken.tokens.files import read_features, read_groups, read_ids

ITEMS = IdMap(["a", "b"], "item")
TABLE = pl.DataFrame({"id": ["a", "b"], "size": [1, 2], "brand": ["x", "y"]})


def test_a_path_may_begin_with_the_letter_of_a_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("C:\\shop\\brands.csv", "d:/brands.csv"):
        with pytest.raises(DataError, match="no such file") as caught:
            read_groups(f"{path}:id:brand", ITEMS, "item")
        assert str(caught.value.path) == path
    # Where a backslash is a letter, that is a file.
    TABLE.write_csv(tmp_path / "C:\\brands.csv")
    assert read_groups("C:\\brands.csv:id:brand", ITEMS, "item").names == ("x", "y")
    with pytest.raises(ArgumentError, match="expected FILE or FILE:IDCOLUMN:COLUMN"):
        read_groups("C:\\brands.csv:id", ITEMS, "item")


def test_a_name_may_hold_colons(tmp_path: Path) -> None:
    path = tmp_path / "brands 10:30.csv"
    TABLE.select("id", "brand").write_csv(path)
    assert read_groups(str(path), ITEMS, "item").names == ("x", "y")
    vectors = tmp_path / "vectors:1.parquet"
    pl.DataFrame({"id": ["b", "a"], "v": [[1.0, 2.0], [3.0, 4.0]]}).write_parquet(vectors)
    assert read_features(str(vectors), ITEMS).tolist() == [[3.0, 4.0], [1.0, 2.0]]


def test_lists_of_odd_ids(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("\ufeffa b\r\n c,\u2028d \n'x\"y\n007\n".encode())
    assert read_ids(tmp_path / "ids.txt") == ["a b", "c,\u2028d", "'x\"y", "007"]
    (tmp_path / "ids.txt").write_text("a\n\nb\n")
    with pytest.raises(DataError, match=r"ids\.txt:2: empty id"):
        read_ids(tmp_path / "ids.txt")
