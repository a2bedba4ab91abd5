from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoken import Vocabulary
from metatoken.tokens.codes.clustering import encode
from tests.cli.conftest import Refuse, Run


@pytest.fixture
def npy(vocabulary: Path, tmp_path: Path) -> Path:
    dim = Vocabulary.load(vocabulary).codebook.dim
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(90, dim)).astype(np.float32))
    return tmp_path / "x.npy"


def test_the_codebook_of_a_vocabulary(run: Run, refuse: Refuse, vocabulary: Path, npy: Path, tmp_path: Path) -> None:
    command = ("assign", npy, "--codebook", vocabulary, "-o", tmp_path / "codes", "--shard-rows", 40)
    result = run(*command)
    assert result.code == 0, result.err
    assert result.out.splitlines()[:2] == ["rows                      90", "shards                    3"]
    frame = pl.read_parquet(tmp_path / "codes" / "part-*.parquet")
    expected = encode(Vocabulary.load(vocabulary).codebook, np.load(npy)).codes
    assert frame["id"].to_list() == list(range(90))
    assert frame["codes"].to_list() == expected.tolist()
    assert "pass --overwrite" in refuse(*command)
    assert run(*command, "--overwrite", "--unique", "none").code == 0


def test_refusals(refuse: Refuse, vocabulary: Path, npy: Path, tmp_path: Path) -> None:
    command = ("assign", npy, "-o", tmp_path / "codes", "--codebook")
    assert "not an artifact" in refuse(*command, tmp_path)
    assert "engine" in refuse(*command, vocabulary, "--engine", "spark")
    assert "unique" in refuse(*command, vocabulary, "--unique", "best")
    assert "goes with --engine ray" in refuse(*command, vocabulary, "--address", "auto")
    assert "no such file" in refuse("assign", tmp_path / "y.npy", "-o", tmp_path / "codes", "--codebook", vocabulary)
