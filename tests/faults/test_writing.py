"""The one way to write: killed anywhere, on a full disk, onto things that are not ours."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from metatoken import artifacts
from metatoken.artifacts import places
from metatoken.errors import ArtifactError
from tests.faults.children import fork, killed, limit_files
from tests.files import ROOT


def save(path: Path, text: str, kind: str = "thing") -> None:
    with artifacts.atomic_folder(path, kind=kind) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text(text)
        artifacts.write_manifest(folder, kind, 1)


def content(path: Path) -> str:
    artifacts.read_manifest(path, "thing", 1)
    return (path / "sub" / "a.txt").read_text()


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


@pytest.mark.parametrize("old", [None, "one"])
def test_a_writer_of_a_folder_killed_anywhere(tmp_path: Path, old: str | None) -> None:
    changes = 0
    while True:
        place = tmp_path / str(changes) / "thing"
        place.parent.mkdir()
        if old is not None:
            save(place, old)
        if not killed(changes, lambda place=place: save(place, "two")):  # type: ignore[misc]
            break
        assert (content(place) if place.exists() else None) in {old, "two"}
        save(place, "three")
        assert content(place) == "three"
        assert names(place.parent) == ["thing"]
        changes += 1
    assert changes > 5


def test_a_writer_of_a_file_killed_anywhere(tmp_path: Path) -> None:
    def write(place: Path, text: str) -> None:
        with artifacts.atomic_file(place) as work:
            work.write_text(text)

    changes = 0
    while True:
        place = tmp_path / str(changes) / "out.csv"
        place.parent.mkdir()
        write(place, "one")
        if not killed(changes, lambda place=place: write(place, "two")):  # type: ignore[misc]
            break
        assert place.read_text() in {"one", "two"}
        write(place.with_name("other.csv"), "x")  # any writer in the folder takes the waste away
        assert names(place.parent) == ["other.csv", "out.csv"]
        changes += 1
    assert changes > 2


def test_a_system_that_cannot_exchange_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_exchange", lambda *_: False)
    changes = 0
    while True:
        place = tmp_path / str(changes) / "thing"
        place.parent.mkdir()
        save(place, "one")
        if not killed(changes, lambda place=place: save(place, "two")):  # type: ignore[misc]
            break
        places.sweep(place.parent)  # as the next writer does, whatever it writes
        assert content(place) in {"one", "two"}
        assert names(place.parent) == ["thing"]
        changes += 1
    assert changes > 6


def test_files_and_folders_are_on_the_disk_before_they_get_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_of(file: int) -> str:
        path = Path(f"/proc/self/fd/{file}").readlink()
        return "parent" if path == tmp_path else path.name

    done: list[str] = []
    sync, replace, rename = os.fsync, Path.replace, Path.rename
    monkeypatch.setattr(os, "fsync", lambda file: (done.append(f"sync {name_of(file)}"), sync(file)))
    for method, plain in (("replace", replace), ("rename", rename)):
        monkeypatch.setattr(
            Path,
            method,
            lambda self, place, plain=plain: (done.append(f"name {Path(place).name}"), plain(self, place))[1],
        )
    with artifacts.atomic_file(tmp_path / "out.csv") as work:
        work.write_text("x")
    assert done == ["sync out.csv", "name out.csv", "sync parent"]
    done.clear()
    save(tmp_path / "thing", "x")
    assert done[-2:] == ["name thing", "sync parent"]
    assert {"sync a.txt", "sync manifest.json", "sync sub", "sync thing"} <= set(done[:-2])


def test_the_folder_of_a_living_writer_stays(tmp_path: Path) -> None:
    with artifacts.atomic_file(tmp_path / "slow.csv") as work:
        work.write_text("slow")
        save(tmp_path / "thing", "quick")
        places.sweep(tmp_path)
        assert work.read_text() == "slow"
    assert names(tmp_path) == ["slow.csv", "thing"]


def test_a_folder_that_only_looks_like_ours_stays(tmp_path: Path) -> None:
    (tmp_path / ".metatoken-notes").mkdir()
    (tmp_path / ".metatoken-0123456789ab").write_text("a file")
    save(tmp_path / "thing", "x")
    assert names(tmp_path) == [".metatoken-0123456789ab", ".metatoken-notes", "thing"]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("thing", "out.csv"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    for text in ("one", "two"):
        save(tmp_path / "thing", text)
        with artifacts.atomic_file(tmp_path / "out.csv") as work:
            work.write_text(text)
    assert (tmp_path / "thing").is_symlink()
    assert (tmp_path / "out.csv").is_symlink()
    assert content(tmp_path / "disk" / "thing") == (tmp_path / "disk" / "out.csv").read_text() == "two"
    assert names(tmp_path / "disk") == ["out.csv", "thing"]


def test_files_of_every_library_have_ordinary_rights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with artifacts.atomic_folder(tmp_path / "thing", kind="thing") as folder:
        save_file({"x": torch.zeros(2)}, folder / "weights.safetensors")
        artifacts.write_manifest(folder, "thing", 1)
    (tmp_path / "plain").touch()
    rights = {file.stat().st_mode for file in (tmp_path / "plain", *(tmp_path / "thing").iterdir())}
    assert len(rights) == 1


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ArtifactError, match="device or a pipe"), artifacts.atomic_file(place):
            pass
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    with pytest.raises(ArtifactError, match="not a path"), artifacts.atomic_file("a\0b"):
        pass


def test_the_working_directory_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "thing", "x")
    monkeypatch.chdir(tmp_path / "thing" / "sub")
    for place in (Path(), Path(".."), tmp_path):
        with pytest.raises(ArtifactError, match="working directory"):
            save(place, "y")
    assert content(tmp_path / "thing") == "x"


def test_a_file_of_ours_that_somebody_put_there_meanwhile_stays(tmp_path: Path) -> None:
    def slow() -> None:
        with artifacts.atomic_folder(tmp_path / "thing", kind="thing") as folder:
            artifacts.write_manifest(folder, "thing", 1)
            (tmp_path / "thing").mkdir()
            (tmp_path / "thing" / "thesis.tex").write_text("years of work")

    with pytest.raises(ArtifactError, match="choose another place"):
        slow()
    assert names(tmp_path / "thing") == ["thesis.tex"]


def a_megabyte(work: Path, library: str) -> None:
    numbers = np.random.default_rng(0).random(1 << 17)
    if library == "python":
        work.write_bytes(numbers.tobytes())
    elif library == "safetensors":
        artifacts.write_tensors(work, {"x": numbers})
    elif library == "polars":
        artifacts.write_frame(work, pl.DataFrame({"x": numbers}))
    elif library == "polars lines":
        pl.DataFrame({"x": numbers}).write_ndjson(work)
    elif library == "torch":
        torch.save(torch.from_numpy(numbers), work)
    else:
        with work.open("wb") as file:
            torch.save(torch.from_numpy(numbers), file)


LIBRARIES = ("python", "safetensors", "polars", "polars lines", "torch", "torch to a file")


def on_a_full_disk(folder: Path) -> None:
    """Tries to write with every library, in a process that can write no more than 64 KiB into a file."""
    limit_files(1 << 16)
    for library in LIBRARIES:
        place = folder / library
        with (
            pytest.raises(ArtifactError, match=rf"{place}: cannot be written \(.+\)$"),
            artifacts.atomic_file(place) as work,
        ):
            a_megabyte(work, library)


def test_a_full_disk_is_one_line_whatever_library_writes(tmp_path: Path) -> None:
    for library in LIBRARIES:
        (tmp_path / library).write_text("old")
    # Not a fork: the threads of polars do not live on in a child, which would wait for them.
    code = (
        "import pathlib, sys; from tests.faults import test_writing as t; t.on_a_full_disk(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(LIBRARIES, "old")


def test_an_error_about_another_file_passes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), artifacts.atomic_file(tmp_path / "out"):
        (tmp_path / "elsewhere" / "input").read_text()


def test_a_place_is_tried_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts.check_folder(tmp_path / "deep" / "thing", "thing")
    assert names(tmp_path) == []

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match="Permission denied"):
        artifacts.check_folder(tmp_path / "deep" / "thing", "thing")


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_cleans_up(tmp_path: Path, number: int, code: int) -> None:
    from metatoken.cli.errors import clean_errors
    from metatoken.cli.interrupts import interruptible

    def work() -> None:
        with interruptible(), clean_errors(), artifacts.atomic_folder(tmp_path / "thing", kind="thing") as folder:
            (folder / "x").write_text("x")
            time.sleep(60)

    child = os.fork()
    if child == 0:
        os._exit(fork(work))
    wait_for(lambda: bool(list(tmp_path.glob(".metatoken-*/thing/x"))))
    (grandchild,) = (int(n) for n in Path(f"/proc/{child}/task/{child}/children").read_text().split())
    os.kill(grandchild, number)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == code
    assert names(tmp_path) == []
