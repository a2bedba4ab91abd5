"""Files that commands write: never over what they read, nor over a part of a run or another artifact."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metatoken.artifacts.writing import resolved
from metatoken.cli.output import check_output_file
from metatoken.errors import ArgumentError, ArtifactError
from tests.cli.conftest import Refuse, refuse, run  # noqa: F401 (fixtures)
from tests.conftest import TrainedRun

PARTS = ("config.yaml", "metrics.json", "history.parquet", "model/weights.safetensors", "checkpoints/last.ckpt")


@pytest.fixture
def finished(trained_run: TrainedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run.run.folder, tmp_path / "run"))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_run_stays(part: str, finished: Path) -> None:
    before = (finished / part).read_bytes()
    for manifest in (True, False):  # as older versions left a run
        if not manifest:
            (finished / "manifest.json").unlink()
        with pytest.raises(ArgumentError, match=rf"--out: .*{Path(part).name} is a part of "):
            check_output_file("--out", finished / part, {})
    (finished.parent / "link").symlink_to(finished / part)
    with pytest.raises(ArgumentError, match="is a part of"):
        check_output_file("--out", finished.parent / "link", {})
    assert (finished / part).read_bytes() == before
    check_output_file("--out", finished / "lists.csv", {})


def test_commands_ask(refuse: Refuse, finished: Path, trained_run: TrainedRun, tmp_path: Path) -> None:  # noqa: F811
    log = tmp_path / "log.csv"
    log.write_text("user,item\nu,a\nu,b\nu,c\nv,a\nv,b\nv,c\n")
    user = trained_run.run.split.log.users.raw[0]
    parquet, config = finished / "history.parquet", finished / "config.yaml"
    assert "is a part of" in refuse("recommend", finished, "--user", user, "-o", parquet)
    assert "is a part of" in refuse("compare", finished, "--json", config)
    assert "is a part of" in refuse("inspect", log, "--write", config, "--overwrite")
    assert "is the file that WHAT reads" in refuse("inspect", log, "--write", log, "--overwrite")
    assert "is a folder" in refuse("compare", finished, "--json", tmp_path)


def test_other_places(tmp_path: Path) -> None:
    check_output_file("--out", None, {"--users": tmp_path})
    check_output_file("--out", tmp_path / "deep" / "new.csv", {"--users": tmp_path / "none"})
    (tmp_path / "old.csv").write_text("x")
    check_output_file("--out", tmp_path / "old.csv", {"--users": None})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["old.csv"]
    with pytest.raises(ArtifactError, match="is a folder"):
        check_output_file("--out", tmp_path, {})
    with pytest.raises(ArtifactError, match="not a path"):
        resolved("a\0b")
