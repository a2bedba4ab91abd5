"""Rows in every form give the same codes, without a copy where none is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from metatoken._core import codes as native_codes
from metatoken.errors import ArgumentError, DataError
from metatoken.tokens.codes.clustering import Codebook, assign_batches, fit
from metatoken.tokens.vectors import matrix
from metatoken.tokens.vectors.matrix import read_matrix


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    # Values that float16 holds exactly, so that every dtype holds the same rows.
    return np.random.default_rng(0).normal(size=(1000, 6)).astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def book(rows: np.ndarray) -> Codebook:
    return fit(rows, [8, 16], seed=0)


def arrow(x: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


FORMS = {
    "list": lambda x: x.tolist(),
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every third column": lambda x: np.repeat(x, 3, axis=1)[:, ::3],
    "backwards": lambda x: x[::-1][::-1],
    "unaligned": lambda x: np.frombuffer(b"-" + x.tobytes(), np.float32, offset=1).reshape(x.shape),
    "torch": torch.from_numpy,
    "torch float16": lambda x: torch.from_numpy(x).half(),
    "torch transposed": lambda x: torch.from_numpy(np.ascontiguousarray(x.T)).T,
    "Arrow array": arrow,
    "Arrow float16": lambda x: arrow(x.astype(np.float16)),
    "Arrow slice": lambda x: arrow(np.concatenate([x[:3] + 1, x]))[3:],
    "Arrow chunks": lambda x: pa.chunked_array([arrow(x[:300]), arrow(x[300:])]),
    "Arrow lists": lambda x: pa.array(x.astype(np.float64).tolist()),
    "Arrow table": lambda x: pa.table({"id": pa.array(range(len(x))), "v": arrow(x)}),
    "Arrow columns": lambda x: pa.table({f"v{j}": x[:, j] for j in range(x.shape[1])}),
    "Arrow batch": lambda x: pa.record_batch({"v": arrow(x)}),
    "polars series": lambda x: pl.Series("v", x),
    "polars frame": lambda x: pl.DataFrame({"id": range(len(x)), "v": x}),
    "polars columns": pl.DataFrame,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_codes(form: str, rows: np.ndarray, book: Codebook, monkeypatch) -> None:
    given = FORMS[form](rows)
    expected = book.assign(rows)
    np.testing.assert_array_equal(book.assign(given), expected)
    monkeypatch.setattr(matrix, "BLOCK", 7 * rows.shape[1])  # blocks of seven rows
    np.testing.assert_array_equal(book.assign(given), expected)
    again = fit(given, [8, 16], seed=0)
    assert [c.tobytes() for c in again.centroids] == [c.tobytes() for c in book.centroids]


@pytest.mark.parametrize("form", ["torch", "Arrow array", "Arrow slice", "Arrow table", "polars series"])
def test_plain_rows_are_not_copied(form: str, rows: np.ndarray) -> None:
    given = FORMS[form](rows)
    found = read_matrix(given).whole()
    again = read_matrix(given).whole()
    assert found.ctypes.data == again.ctypes.data  # two views of one buffer
    if form in ("torch", "Arrow array", "Arrow table"):
        assert np.shares_memory(found, rows)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_are_mapped(rows: np.ndarray, book: Codebook, tmp_path: Path, dtype, order: str) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.asarray(rows, dtype=dtype, order=order))
    for given in (path, str(path), np.load(path, mmap_mode="r")):
        np.testing.assert_array_equal(book.assign(given), book.assign(rows))
        assert fit(given, [8, 16]).centroids[1].tobytes() == book.centroids[1].tobytes()
    if dtype == np.float32 and order == "C":
        assert isinstance(read_matrix(path).whole().base, np.memmap | type(read_matrix(path).whole().base))


def test_parquet_files_are_read_in_batches(rows: np.ndarray, book: Codebook, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(matrix, "BLOCK", 100 * rows.shape[1])
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": pa.array(range(1000)), "v": arrow(rows)}), path, row_group_size=330)
    found = read_matrix(path)
    assert found.shape == rows.shape
    assert max(len(part) for part in found.parts()) <= 100
    np.testing.assert_array_equal(book.assign(path), book.assign(rows))
    pl.DataFrame({"v": rows.tolist()}).write_parquet(path)
    np.testing.assert_array_equal(book.assign(path), book.assign(rows))


def test_progress_runs_over_all_blocks(rows: np.ndarray, book: Codebook, monkeypatch) -> None:
    monkeypatch.setattr(matrix, "BLOCK", 100 * rows.shape[1])
    seen: list[tuple[int, int]] = []
    book.assign(rows.astype(np.float64), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2000, 2000)
    assert seen == sorted(seen)


def test_batches_become_codes_wherever_they_are_cut(rows: np.ndarray, book: Codebook) -> None:
    table = pa.table({"id": pa.array(range(1000)), "v": arrow(rows)})
    for size in (1000, 64, 1):
        found = pa.Table.from_batches(assign_batches(table.to_batches(max_chunksize=size), book, threads=1))
        assert found.column_names == ["id", "codes"]
        assert found["id"].to_pylist() == list(range(1000))
        np.testing.assert_array_equal(np.array(found["codes"].to_pylist(), np.int32), book.assign(rows))
    (named,) = assign_batches([table.append_column("w", table["v"])], book, vectors="w", name="found")
    assert named.column_names == ["id", "v", "found"]


def missing(x: np.ndarray) -> pa.Array:
    return pa.array([*x[:5].tolist(), None, *x[5:].tolist()], pa.list_(pa.float32(), x.shape[1]))


REFUSED = {
    "one-dimensional": (lambda x: x[0], "two-dimensional"),
    "no columns": (lambda x: x[:, :0], "two-dimensional"),
    "text": (lambda _: [["a", "b"]], "real numbers"),
    "complex": (lambda x: x.astype(complex), "real numbers"),
    "objects": (lambda _: np.array([[{}]], dtype=object), "real numbers"),
    "ragged": (lambda _: [[1.0, 2.0], [3.0]], "cannot be read as an array"),
    "torch with gradient": (lambda x: torch.from_numpy(x.copy()).requires_grad_(), "detach"),
    "torch bfloat16": (lambda x: torch.from_numpy(x).bfloat16(), "float()"),
    "Arrow numbers": (lambda x: pa.array(x[0]), "fixed-size lists"),
    "Arrow missing row": (missing, "row 5 is missing"),
    "Arrow missing value": (lambda _: pa.array([[1.0, None]]), "value is missing"),
    "Arrow ragged": (lambda _: pa.array([[1.0, 2.0], [3.0]]), "one length"),
    "Arrow ragged chunks": (lambda _: pa.chunked_array([pa.array([[1.0, 2.0]]), pa.array([[3.0]])]), "one length"),
    "Arrow text lists": (lambda _: pa.array([["a"]]), "real numbers"),
    "two columns of vectors": (lambda x: pa.table({"v": arrow(x), "w": arrow(x)}), "name it among"),
    "no column of vectors": (lambda _: pl.DataFrame({"a": ["x"]}), "one column of vectors"),
    "no rows": (lambda x: pl.DataFrame({"v": x})[:0], "at least one row"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_matrix_is_refused(form: str, rows: np.ndarray, book: Codebook) -> None:
    make, text = REFUSED[form]
    with pytest.raises(ArgumentError, match=text.replace("(", r"\(").replace(")", r"\)")) as caught:
        book.assign(make(rows))
    assert caught.value.argument == "x"


def test_bad_rows_are_named_across_blocks(rows: np.ndarray, book: Codebook, monkeypatch) -> None:
    monkeypatch.setattr(matrix, "BLOCK", 100 * rows.shape[1])
    bad = rows.astype(np.float64)
    bad[[777, 901], 2] = [np.inf, np.nan]
    with pytest.raises(ArgumentError, match="row 777"):
        book.assign(bad)
    for threads in (1, 8):
        with pytest.raises(ArgumentError, match="row 777"):
            native_codes.assign(bad.astype(np.float32), list(book.centroids), "euclidean", threads, None, None)
    with pytest.raises(ArgumentError, match="row 777"):
        fit(bad, [8], sample=100)


def test_files_are_refused_by_name(tmp_path: Path, book: Codebook) -> None:
    (tmp_path / "x.csv").write_text("1,2\n")
    (tmp_path / "x.parquet").write_text("no")
    (tmp_path / "x.npy").write_text("no")
    pq.write_table(pa.table({"v": pa.array([], pa.list_(pa.float32(), 6))}), tmp_path / "empty.parquet")
    for name in ("x.csv", "x.parquet", "x.npy", "none.npy", "none.parquet"):
        with pytest.raises(DataError, match=name):
            book.assign(tmp_path / name)
    with pytest.raises(ArgumentError, match="at least one row"):
        book.assign(tmp_path / "empty.parquet")
    with pytest.raises(ArgumentError, match="column"):
        read_matrix(tmp_path / "empty.parquet", "w")
