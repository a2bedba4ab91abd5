"""Ray makes the shards of the local engine, byte for byte; its failures are one line of ours."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken import extras
from metatoken.engine.job import part_of
from metatoken.engine.running import run_stage
from metatoken.engine.settings import EngineSettings
from metatoken.errors import DataError, EngineError
from metatoken.tokens.codes.clustering import Codebook, VectorSource, assign_dataset, assign_files, fit
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.engine.slow import Slow, SlowActors

ROWS, DIM = 600, 6
RAY = EngineSettings(engine="ray", workers=2)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(5, DIM))[rng.integers(5, size=ROWS) // 2] + 0.3 * rng.normal(size=(ROWS, DIM))).astype(
        "f4"
    )


@pytest.fixture(scope="module")
def codebook(x: np.ndarray) -> Codebook:
    return fit(x, [8, 8, 12], seed=0, max_iterations=4)


@pytest.fixture
def npy(x: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_assigned_codes_are_the_same_bytes(
    ray_here: Any,
    run: Run,
    npy: Path,
    codebook: Codebook,
    tmp_path: Path,
) -> None:
    codebook.save(tmp_path / "book")
    command = ("assign", npy, "--codebook", tmp_path / "book", "--shard-rows", 170)
    for out, more in ({"local": (), "ray": ("--engine", "ray", "--workers", 2)}).items():
        result = run(*command, "-o", tmp_path / out, *more)
        assert result.code == 0, result.err
        assert "rows" in result.out
        assert result.err == ""
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_an_interrupted_job_goes_on_with_another_engine(
    ray_here: Any, npy: Path, codebook: Codebook, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    assign_files(VectorSource(npy), codebook, tmp_path / "whole", shard_rows=170)
    with pytest.raises(KeyboardInterrupt):
        assign_files(VectorSource(npy), codebook, tmp_path / "out", shard_rows=170, engine=RAY, progress=stop)
    assert not (tmp_path / "out").exists()
    found = assign_files(VectorSource(npy), codebook, tmp_path / "out", shard_rows=170)
    assert found.resumed
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_error_of_a_worker_is_that_of_this_process(ray_here: Any, npy: Path, x: np.ndarray, tmp_path: Path) -> None:
    bad = x.copy()
    bad[555] = np.inf
    np.save(npy, bad)
    with pytest.raises(DataError, match=r"x\.npy: row 555 holds NaN or infinity"):
        assign_files(VectorSource(npy), fit(x, [8, 200]), tmp_path / "out", shard_rows=170, engine=RAY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy"]


def test_blocks_of_a_dataset_get_codes(ray_here: Any, x: np.ndarray, codebook: Codebook) -> None:
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), DIM)
    dataset = ray_here.data.from_arrow([pa.table({"item": range(ROWS), "v": lists})])
    found = assign_dataset(dataset, codebook, batch_size=100).to_pandas().sort_values("item")
    np.testing.assert_array_equal(np.stack(found["codes"]), codebook.assign(x))


def test_lists_are_the_same_bytes(
    ray_here: Any,
    run: Run,
    trained_run: TrainedRun,
    tmp_path: Path,
) -> None:
    file, said = tmp_path / "users.txt", []
    file.write_text("\n".join(trained_run.run.split.log.users.raw))
    command = ("recommend", trained_run.run.folder, "--users", file, "-k", 5, "--batch-size", 16, "--shard-users", 32)
    for out, more in ({"local": (), "ray": ("--engine", "ray", "--workers", 2)}).items():
        result = run(*command, "-o", tmp_path / out, *more)
        assert result.code == 0, result.err
        said.append(result.err)
        assert "400 recommendations for 80 users" in result.out
    assert said[0] == said[1]  # warnings, too
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    run(*command[:-2], "-o", tmp_path / "lists.parquet")
    assert pl.read_parquet(tmp_path / "ray" / "part-*.parquet").equals(pl.read_parquet(tmp_path / "lists.parquet"))


def test_without_ray_one_line_says_how_to_install_it(
    refuse: Refuse, npy: Path, codebook: Codebook, trained_run: TrainedRun, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    codebook.save(tmp_path / "book")
    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "ray" else found(name))
    monkeypatch.setattr(extras, "install_extra", lambda extra: f"pip install 'metatoken[{extra}]'")
    wanted = "--engine ray needs ray: pip install 'metatoken[ray]'"
    out = tmp_path / "out"
    assert refuse("assign", npy, "--codebook", tmp_path / "book", "-o", out, "--engine", "ray") == wanted
    assert refuse("recommend", trained_run.run.folder, "--users", npy, "-o", out, "--engine", "ray") == wanted


def slow(kind: type[Slow], folder: Path, **fields: Any) -> Slow:
    for name in ("parts", "done"):
        (folder / name).mkdir()
    return kind(folder, 8, 1, **fields)


def test_a_fault_of_a_worker_is_one_line(ray_here: Any, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"shard \d: a worker failed with ZeroDivisionError: by mistake in two lines"):
        run_stage(slow(Slow, tmp_path, fails=True), RAY)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Slow, SlowActors])
def test_a_worker_may_be_killed(kind: type[Slow], ray_here: Any, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        while not killed:
            for path in tmp_path.glob("pid-*"):
                os.kill(int(path.name.removeprefix("pid-")), signal.SIGKILL)
                killed.append(int(path.name.removeprefix("pid-")))
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    told = run_stage(slow(kind, tmp_path), RAY)
    killer.join()
    assert killed
    assert killed[0] != os.getpid()
    assert [one["unit"] for one in told] == list(range(8))
    assert [part_of(tmp_path, unit).read_text() for unit in range(8)] == [f"unit {unit}" for unit in range(8)]
