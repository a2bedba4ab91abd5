"""`assign_files`: the codes of `encode`, shard by shard, by whom ever they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metatoken.engine.settings import EngineSettings
from metatoken.errors import ArgumentError, ArtifactError, DataError
from metatoken.tokens.codes.clustering import Codebook, VectorSource, assign_files, encode, fit, make_unique

ROWS, DIM = 900, 6


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(7, DIM))
    # Skewed: some first codes have more rows than there are codes below them.
    return (centers[rng.integers(7, size=ROWS) // 2] + 0.3 * rng.normal(size=(ROWS, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def npy(x: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "x.npy"
    np.save(path, x)
    return path


def codes_in(folder: Path) -> np.ndarray:
    return np.array(pl.read_parquet(folder / "part-*.parquet")["codes"].to_list(), np.int32)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


BOOKS: dict[str, dict[str, Any]] = {
    "deep": {"levels": [8, 16, 12]},
    "tight": {"levels": [8, 8, 15]},  # first codes with too many rows
    "flat": {"levels": [900]},
    "cosine": {"levels": [8, 128], "metric": "cosine"},
    "rank": {"levels": [16, 300], "method": "flat+rank"},
    "capped": {"levels": [16, 300], "method": "flat+rank", "max_cluster_size": 80},
}


@pytest.mark.parametrize("unique", ["assignment", "nearest", "counter", "none"])
@pytest.mark.parametrize("book", BOOKS)
def test_the_codes_are_those_of_all_rows_at_once(
    book: str, unique: Any, x: np.ndarray, npy: Path, tmp_path: Path
) -> None:
    options = BOOKS[book]
    codebook = fit(x, seed=0, max_iterations=4, **options)
    cap = options.get("max_cluster_size")
    expected = encode(codebook, x, unique=unique, max_cluster_size=cap)
    found = assign_files(
        VectorSource(npy), codebook, tmp_path / "out", unique=unique, max_cluster_size=cap, shard_rows=400
    )
    np.testing.assert_array_equal(codes_in(tmp_path / "out"), expected.codes)
    assert (found.rows, found.shards, found.resumed) == (ROWS, 3, False)
    assert found.kept_share == pytest.approx(expected.kept_share)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("unique", ["assignment", "nearest"])
def test_only_contested_rows_come_together_where_the_case_is_large(
    unique: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(9000, 3)).astype(np.float32)
    rows[:2000] *= 0.1  # around few centroids, which have four codes below each
    centroids = rows[::2][:4096].copy(), 0.01 * rng.normal(size=(4, 3)).astype(np.float32)
    codebook = Codebook("residual", "euclidean", centroids, fit(rows[:2], [1]).report)
    np.save(tmp_path / "x.npy", rows)
    from metatoken.tokens.codes import stages

    seen: list[int] = []
    settle = stages._codes.settle_first
    monkeypatch.setattr(stages._codes, "settle_first", lambda x, *rest: seen.append(len(x)) or settle(x, *rest))
    found = assign_files(VectorSource(tmp_path / "x.npy"), codebook, tmp_path / "out", unique=unique, shard_rows=4000)
    np.testing.assert_array_equal(codes_in(tmp_path / "out"), encode(codebook, rows, unique=unique).codes)
    assert found.moved > 0
    assert 0 < seen[0] < len(rows)


@pytest.mark.parametrize(("rows", "most"), [(1150, 768), (1600, 1024)])
@pytest.mark.parametrize("unique", ["assignment", "nearest"])
def test_a_quarter_of_many_codes_stays_free_where_rows_fit_then(
    unique: Any, rows: int, most: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    x = 0.2 * rng.normal(size=(rows, 3)).astype(np.float32)
    x[:50] += 2  # the others are all nearest to one first code
    centroids = np.float32([[2, 2, 2], [0, 0, 0]]), 0.2 * rng.normal(size=(1024, 3)).astype(np.float32)
    codebook = Codebook("residual", "euclidean", centroids, fit(x[:2], [1]).report)
    found = encode(codebook, x, unique=unique)
    counts = np.bincount(found.codes[:, 0], minlength=2)
    assert counts.max() == most
    assert len(np.unique(found.codes, axis=0)) == rows
    np.save(tmp_path / "x.npy", x)
    assign_files(VectorSource(tmp_path / "x.npy"), codebook, tmp_path / "out", unique=unique, shard_rows=400)
    np.testing.assert_array_equal(codes_in(tmp_path / "out"), found.codes)
    # What stays free is for rows that come later.
    late = 0.2 * rng.normal(size=(200, 3)).astype(np.float32)
    own = encode(codebook, late, unique="none").codes
    assert (own[:, 0] == 1).all()
    given = make_unique(codebook, own, late, occupied=found.codes, unique=unique).codes
    assert (given[:, 0] == 1).sum() == min(200, 1024 - most)


def test_columns_beside_the_vectors_stay(x: np.ndarray, tmp_path: Path) -> None:
    codebook = fit(x, [8, 300], seed=0)
    names = [f"item {row}" for row in range(ROWS)]
    folder = tmp_path / "in"
    folder.mkdir()
    for part, (begin, end) in enumerate([(0, 400), (400, ROWS)]):
        lists = pa.FixedSizeListArray.from_arrays(pa.array(x[begin:end].reshape(-1)), DIM)
        table = pa.table({"item": names[begin:end], "v": lists, "price": np.arange(begin, end)})
        pq.write_table(table, folder / f"{part}.parquet", row_group_size=90)
    found = assign_files(VectorSource(folder), codebook, tmp_path / "out", shard_rows=250)
    frame = pl.read_parquet(tmp_path / "out" / "part-*.parquet")
    assert frame.columns == ["item", "price", "codes"]
    assert frame["item"].to_list() == names
    assert frame["price"].to_list() == list(range(ROWS))
    assert found.shards == 4  # a shard has rows of one file
    np.testing.assert_array_equal(codes_in(tmp_path / "out"), encode(codebook, x).codes)


def test_rows_of_npy_are_numbered_or_named(x: np.ndarray, npy: Path, tmp_path: Path) -> None:
    codebook = fit(x, [8, 300], seed=0)
    (tmp_path / "ids.txt").write_text("\n".join(f"i{row}" for row in range(ROWS)))
    assign_files(VectorSource(npy), codebook, tmp_path / "numbered", unique="none", shard_rows=500)
    assign_files(VectorSource(npy, ids=tmp_path / "ids.txt"), codebook, tmp_path / "named", unique="none")
    assert pl.read_parquet(tmp_path / "numbered" / "part-*.parquet")["id"].to_list() == list(range(ROWS))
    assert pl.read_parquet(tmp_path / "named" / "part-*.parquet")["id"][ROWS - 1] == f"i{ROWS - 1}"


@pytest.fixture(scope="module")
def codebook(x: np.ndarray) -> Codebook:
    return fit(x, [8, 8, 15], seed=0, max_iterations=4)


@pytest.mark.parametrize("stage", ["nearest", "first", "bucket", "result"])
def test_a_job_goes_on_where_it_was_interrupted(
    stage: str, npy: Path, codebook: Codebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metatoken.tokens.codes import stages

    assign_files(VectorSource(npy), codebook, tmp_path / "whole", shard_rows=250)
    kind = getattr(stages, stage.capitalize())
    opened = kind.open
    last = 0 if stage == "first" else 2

    def interrupted(self: Any) -> Any:
        make = opened(self)

        def one(unit: int) -> Any:
            if unit == last:
                raise KeyboardInterrupt
            return make(unit)

        return one

    monkeypatch.setattr(kind, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assign_files(VectorSource(npy), codebook, tmp_path / "out", shard_rows=250)
    assert not (tmp_path / "out").exists()
    made: list[tuple[str, int]] = []

    def counted(self: Any) -> Any:
        make = opened(self)
        return lambda unit: made.append((self.name, unit)) or make(unit)

    monkeypatch.setattr(kind, "open", counted)
    found = assign_files(VectorSource(npy), codebook, tmp_path / "out", shard_rows=250)
    assert found.resumed
    assert next(unit for name, unit in made if name == stage) == last  # those before were there
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_job_of_other_settings_begins_anew(
    npy: Path, codebook: Codebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metatoken.tokens.codes import stages

    with monkeypatch.context() as patch:
        patch.setattr(stages.Bucket, "open", lambda _self: pytest.fail("as a crash would"))
        with pytest.raises(pytest.fail.Exception):
            assign_files(VectorSource(npy), codebook, tmp_path / "out", shard_rows=130)
    assert (tmp_path / ".out.job").is_dir()
    found = assign_files(VectorSource(npy), codebook, tmp_path / "out", shard_rows=200)
    assert not found.resumed
    assert not (tmp_path / ".out.job").exists()


def test_what_cannot_be_used_leaves_nothing(x: np.ndarray, codebook: Codebook, tmp_path: Path) -> None:
    bad = x.copy()
    bad[777, 2] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(DataError, match="row 777 holds NaN"):
        assign_files(VectorSource(tmp_path / "bad.npy"), codebook, tmp_path / "deep" / "out", shard_rows=130)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npy"]


def test_refusals(x: np.ndarray, npy: Path, codebook: Codebook, tmp_path: Path) -> None:
    def refused(kind: type[Exception], match: str, source: VectorSource, **options: Any) -> None:
        book = options.pop("book", codebook)
        with pytest.raises(kind, match=match):
            assign_files(source, book, options.pop("out", tmp_path / "out"), **options)

    (tmp_path / "few.txt").write_text("a\nb\n")
    np.save(tmp_path / "flat.npy", x[0])
    pq.write_table(pa.table({"codes": [1], "v": [[1.0, 2.0]]}), tmp_path / "taken.parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    refused(DataError, "no such file", VectorSource(tmp_path / "none.npy"))
    refused(DataError, "two-dimensional", VectorSource(tmp_path / "flat.npy"))
    refused(DataError, "'codes' already", VectorSource(tmp_path / "taken.parquet"))
    refused(DataError, "2 ids, but there are 900", VectorSource(npy, ids=tmp_path / "few.txt"))
    refused(ArgumentError, "vectors: names a column", VectorSource(npy, "v"))
    refused(ArgumentError, "fitted on rows of 4", VectorSource(npy), book=fit(x[:, :4], [8, 300]))
    refused(ArgumentError, "900 rows of one kind do not fit the 24 codes", VectorSource(npy), book=fit(x, [4, 6]))
    refused(ArgumentError, "shard_rows", VectorSource(npy), shard_rows=0)
    refused(ArtifactError, "choose another place", VectorSource(npy), out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert not (tmp_path / "out").exists()


def test_ray_alone_knows_workers_and_addresses() -> None:
    for given in ({"workers": 2}, {"address": "auto"}):
        with pytest.raises(ArgumentError, match="goes with --engine ray"):
            EngineSettings(**given)
