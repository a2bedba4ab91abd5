"""Paths that cannot be: too long, of nobody's home, of somebody else; each is one line, and nothing of others goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatoken.artifacts import atomic_file, atomic_folder, read_header
from metatoken.cli.errors import clean_errors
from metatoken.data import IdMap, Interactions
from metatoken.data.files import find_files
from metatoken.data.history_shards import HistoryShards
from metatoken.engine.job import open_job, stage_path
from metatoken.engine.on_ray import started
from metatoken.errors import ArgumentError, ArtifactError, ConfigError, DataError, EngineError
from metatoken.model.starting import check_start
from metatoken.recommend import Request
from metatoken.recommend.sharded import recommend_files
from metatoken.recommend.streaming import writer
from metatoken.run import RunFolder, load_run
from metatoken.run.place import check_free, training_place
from metatoken.tokens.codes.clustering import VectorSource
from metatoken.tokens.codes.sharded import read_codebook
from metatoken.tokens.files import read_features

LONG = "9" * 5000


def written(path: str) -> None:
    with atomic_file(path) as place:
        place.touch()


DOORS: dict[str, tuple[Callable[[str], Any], type[Exception]]] = {
    "a log": (lambda path: Interactions.read(path, user="u", item="i"), DataError),
    "vectors": (lambda path: VectorSource(path).shards(), DataError),
    "an artifact": (read_header, ArtifactError),
    "histories": (HistoryShards.load, ArtifactError),
    "a run": (load_run, ArtifactError),
    "a codebook": (read_codebook, ArtifactError),
    "features": (lambda path: read_features(f"{path}.parquet", IdMap(["a"], "item")), DataError),
    "users": (lambda path: recommend_files("run", Request(None, None), "out", users=Path(path)), ArtifactError),
    "a run to start from": (check_start, ConfigError),
    "what is written": (written, ArtifactError),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_name_that_is_too_long_is_an_error_of_ours(name: str) -> None:
    call, kind = DOORS[name]
    with pytest.raises(kind, match="File name too long"):
        call(LONG)


def test_the_home_of_nobody_is_a_name_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"~nobody-here.*no such file"):
        find_files("~nobody-here/log.csv", [])
    (tmp_path / "log.csv").write_text("user,item\nu,i\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_files("~/log.csv", []) == [tmp_path / "log.csv"]


def test_a_folder_that_cannot_be_looked_into_does_not_make_a_log_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in "ab":
        (tmp_path / f"day={day}").mkdir()
        (tmp_path / f"day={day}" / "log.csv").write_text("user,item\nu,i\n")
    look = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("day=b"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    assert len(find_files(tmp_path, [".csv"])) == 2
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="day=b: cannot be read: Permission denied"):
        find_files(tmp_path, [".csv"])


def used(kind: str, out: Path) -> None:
    """Begins what keeps a folder beside its result."""
    if kind == "training":
        with training_place(out):
            pass
    else:
        with open_job(out, "codes", {}):
            pass


@pytest.mark.parametrize("kind", ["training", "job"])
def test_a_folder_beside_the_place_is_emptied_only_if_it_is_ours(kind: str, tmp_path: Path) -> None:
    beside = tmp_path / f".out.{kind}"
    beside.mkdir()
    (beside / "thesis.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds thesis\.txt, which metatoken has not made"):
        used(kind, tmp_path / "out")
    assert (beside / "thesis.txt").read_text() == "mine"
    (beside / "thesis.txt").unlink()
    used(kind, tmp_path / "out")
    assert not beside.exists()


@pytest.mark.parametrize("kind", ["training", "job"])
def test_what_a_link_beside_the_place_leads_to_is_kept(kind: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "thesis.txt").write_text("mine")
    (tmp_path / f".out.{kind}").symlink_to(tmp_path / "data")
    with pytest.raises(ArtifactError, match="which metatoken has not made"):
        used(kind, tmp_path / "out")
    assert (tmp_path / "data" / "run" / "thesis.txt").read_text() == "mine"


def test_no_job_is_made_of_the_root() -> None:
    with pytest.raises(ArtifactError, match="choose a folder inside of it"), open_job("/", "codes", {}):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nobody.invalid:6379", f"{'a' * 300}:1"])
def test_an_address_where_nobody_listens_is_refused_at_once(address: str) -> None:
    with pytest.raises(EngineError, match="no Ray cluster answers at"), started(1, 1, address):
        pass


def test_a_shard_that_is_none_is_refused(tmp_path: Path) -> None:
    shards = HistoryShards(tmp_path, 2, 5, "", {})
    for shard in (-1, 2, "\0", True, None):
        with pytest.raises(ArgumentError, match="shard: expected an integer from 0 to 1"):
            shards.read(shard)


def test_ids_of_vectors_may_be_named_by_text(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    (tmp_path / "ids.txt").write_text("a\nb\n")
    source = VectorSource(tmp_path / "x.npy", ids=str(tmp_path / "ids.txt"))
    assert source.beside(source.shards()[0])["id"].to_pylist() == ["a", "b"]
    assert not RunFolder(str(tmp_path / "none")).is_finished()


def test_a_run_never_takes_the_place_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one, too: a shell would stand in a folder that is gone."""
    (tmp_path / "here" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "inside")
    for out in ("", ".", "..", tmp_path / "here"):
        with pytest.raises(ConfigError, match="is the working directory, or holds it"):
            check_free(out, overwrite=True)
    check_free("run", overwrite=False)


def test_a_working_directory_that_was_removed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for call in (lambda: check_free(tmp_path / "run", overwrite=False), lambda: stage_path("x")):
        with pytest.raises((ConfigError, ArtifactError), match="the working directory was removed"):
            call()
    assert stage_path(tmp_path / "x") == tmp_path / "x"
    with pytest.raises(SystemExit), clean_errors():
        Path.cwd()
    assert capsys.readouterr().err == "error: the working directory was removed; change into one that is there\n"


def test_a_place_that_is_not_utf8_is_refused_where_libraries_write(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(ArtifactError, match="is not UTF-8"), atomic_folder(place, kind="codes"):
        pass
    with pytest.raises(ConfigError, match="is not UTF-8"):
        check_free(place / "run", overwrite=False)
    with pytest.raises(ArtifactError, match="is not UTF-8"), writer(place.with_suffix(".parquet")):
        pass
    with writer(place.with_suffix(".csv")) as write:
        write([])
    assert [one.suffix for one in tmp_path.iterdir()] == [".csv"]


def test_what_json_has_no_place_for_is_named(tmp_path: Path) -> None:
    for ids in ([os.fsdecode(b"\xff")], [float("nan")]):
        with (
            pytest.raises(ArgumentError, match="ids: expected UTF-8"),
            open_job(tmp_path / "out", "codes", {"ids": ids}),
        ):
            pass
    assert not list(tmp_path.iterdir())
