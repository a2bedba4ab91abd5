"""Where a training writes: what it may replace, how its run gets there, and that two never mix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metatoken.artifacts import places
from metatoken.errors import ArtifactError, ConfigError
from metatoken.run import RunFolder
from metatoken.run.contents import check_replaceable_run
from metatoken.run.manifest import check_bytes, seal
from metatoken.run.place import TrainingPlace, check_free, training_place
from tests.faults.children import fork, killed
from tests.files import ROOT, flip_byte

SAVED = ROOT / "tests" / "artifacts" / "v0.1" / "ranking"


def make(folder: Path, seed: int) -> Path:
    """A finished run, told from others by its seed."""
    shutil.copytree(SAVED, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("\nseed: 0\n", f"\nseed: {seed}\n"))
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": {"weight": torch.arange(2048.0)}}, folder / "checkpoints" / "last.ckpt")
    seal(RunFolder(folder), "finished", None)
    return folder


def touch(path: Path) -> None:
    path.write_text("mine")


def seed_of(folder: Path) -> int:
    check_bytes(RunFolder(folder))
    return int((folder / "config.yaml").read_text().partition("\nseed: ")[2].partition("\n")[0])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs, of seed 1 and 2, to be copied."""
    return make(tmp_path / "one", 1), make(tmp_path / "two", 2)


@pytest.fixture(params=["exchange", "two renames"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two renames":
        monkeypatch.setattr(places, "_exchange", lambda *_: False)
    return str(request.param)


def replace(out: Path, new: Path, begin: Callable[[], None] = lambda: None) -> None:
    """What a training does that has made a run beside another one."""
    with training_place(out) as place:
        if not (place.beside / "run").exists():
            shutil.copytree(new, place.beside / "run")
        begin()
        place.finish()


def test_a_run_is_exchanged_for_another_and_a_kill_loses_neither(
    system: str, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    from tests.faults.children import die_before

    change = 0
    while True:
        out = tmp_path / str(change) / "run"
        shutil.copytree(runs[0], out)
        code = fork(lambda out=out, n=change: replace(out, runs[1], lambda: die_before(n)))  # type: ignore[misc]
        if code == 0:
            break
        if system == "exchange":
            assert seed_of(out) in {1, 2}
        with training_place(out) as place:  # whatever is trained next
            assert not (place.beside / "whole").exists()
            kept = seed_of(out)
            if not place.folder.path.samefile(out):
                assert kept == 1
                assert seed_of(place.folder.path) == 2
        replace(out, runs[1])
        assert seed_of(out) == 2
        assert [one.name for one in out.parent.iterdir()] == ["run"]
        change += 1
    assert change > 20


def test_a_new_run_takes_its_name_and_leaves_nothing_else(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for out in (tmp_path / "deep" / "run", tmp_path / "empty"):
        replace(out, runs[0])
        assert seed_of(out) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["deep", "empty", "one", "two"]


def test_an_error_leaves_what_can_be_gone_on_with_and_nothing_else(runs: tuple[Path, Path], tmp_path: Path) -> None:
    def fail(checkpoint: bool) -> None:
        with training_place(tmp_path / "one") as place:
            shutil.copytree(runs[1], place.beside / "run")
            if not checkpoint:
                shutil.rmtree(place.beside / "run" / "checkpoints")
            raise RuntimeError

    for checkpoint in (False, True):
        with pytest.raises(RuntimeError):
            fail(checkpoint)
        assert (tmp_path / ".one.training").exists() is checkpoint
    assert seed_of(tmp_path / "one") == 1
    assert TrainingPlace(tmp_path / "one").folder.path == tmp_path / ".one.training" / "run"


def test_two_trainings_never_share_a_place(tmp_path: Path) -> None:
    with training_place(tmp_path / "run"):
        with (
            pytest.raises(ConfigError, match=r"run: somebody else makes a run in this folder"),
            training_place(tmp_path / "run"),
        ):
            pass
        with training_place(tmp_path / "other"):
            pass
    with training_place(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_dead_writers_left_anywhere_in_a_run_goes_with_the_next_training(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    for part in ("", "checkpoints", "baselines/sasrec"):
        (runs[0] / part / ".metatoken-0123456789ab" / "sub").mkdir(parents=True)
    with training_place(runs[0]):
        pass
    assert list(runs[0].rglob(".metatoken-*")) == []


def test_the_lock_of_a_dead_training_is_free(tmp_path: Path) -> None:
    def work() -> None:
        with training_place(tmp_path / "run"):
            (tmp_path / "now").mkdir()

    assert killed(3, work)
    with training_place(tmp_path / "run"):
        pass
    assert [one.name for one in tmp_path.iterdir() if one.name != "now"] == []


STRANGE = {
    "notes": lambda run: (run / "notes.md").write_text("mine"),
    "a file in a part": lambda run: (run / "model" / "notes.md").write_text("mine"),
    "a link": lambda run: (run / "data").symlink_to(run.parent),
    "a folder of files": lambda run: ((run / "plots").mkdir(), (run / "plots" / "a.png").touch()),
    "a hand-written configuration": lambda run: (run / "config.yaml").write_text("data: {path: log.csv}\n"),
    "no configuration": lambda run: (run / "config.yaml").unlink(),
    "no history": lambda run: (run / "history.parquet").unlink(),
    "a checkpoint by another name": lambda run: (run / "checkpoints" / "mine.ckpt").touch(),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_folder_with_anything_but_a_run_is_not_replaced(name: str, runs: tuple[Path, Path]) -> None:
    check_free(runs[0], overwrite=True)
    STRANGE[name](runs[0])
    before = sorted(runs[0].rglob("*"))
    with pytest.raises(ConfigError, match="not replaced"):
        check_free(runs[0], overwrite=True)
    assert sorted(runs[0].rglob("*")) == before


def test_what_a_run_writes_over_its_life_is_a_part_of_it(runs: tuple[Path, Path]) -> None:
    for name in ("metrics.json", "predictions.parquet", "answers.parquet", "training.csv", "checkpoints/best.ckpt"):
        (runs[0] / name).touch()
    (runs[0] / "tensorboard").mkdir()
    (runs[0] / "tensorboard" / "events.out.tfevents.1.host").touch()
    (runs[0] / ".metatoken-0123456789ab").mkdir()
    (runs[0] / ".metatoken-0123456789ab" / "cut").touch()
    check_replaceable_run(runs[0])


def test_a_folder_with_an_input_or_the_working_directory_is_not_replaced(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="which this training reads"):
        check_free(runs[0], overwrite=True, inputs=[runs[0] / "vocabulary"])
    check_free(runs[0], overwrite=True, inputs=[runs[1] / "vocabulary"])
    for place in (runs[0], runs[0] / "model", tmp_path):
        monkeypatch.chdir(place)
        for out in (".", runs[0]):
            if place != tmp_path or out == ".":
                with pytest.raises(ConfigError):
                    check_free(out, overwrite=True)


def test_a_project_folder_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`config.yaml` beside `ratings.csv`, as README shows it."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("config.yaml", "ratings.csv"):
        (project / name).write_text("data: {path: ratings.csv}\n")
    monkeypatch.chdir(project)
    for out in (".", project):
        with pytest.raises(ConfigError):
            check_free(out, overwrite=True, inputs=[Path("ratings.csv")])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is not a run folder"):
        check_free("project", overwrite=True)
    assert sorted(one.name for one in project.iterdir()) == ["config.yaml", "ratings.csv"]


def test_a_file_that_somebody_puts_into_the_old_run_is_kept(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "one"
    with pytest.raises(ConfigError, match=r"notes\.md"):
        replace(out, runs[1], lambda: touch(out / "notes.md"))
    assert (out / "notes.md").read_text() == "mine"
    (out / "notes.md").unlink()
    with training_place(out):  # any later training, --resume among them, finishes the exchange
        assert seed_of(out) == 2


ALTERED = {
    "config.yaml": b"seed: 3\n", "fusion.json": b"{}", "history.parquet": b"PAR1", "vocabulary/manifest.json": b"{}",
    "model/manifest.json": b"{}", "items/manifest.json": b"{}", "manifest.json": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_a_part_that_is_exchanged_is_noticed(name: str, runs: tuple[Path, Path]) -> None:
    from metatoken.run.manifest import check_run

    check_run(RunFolder(runs[0]))
    (runs[0] / name).write_bytes(ALTERED[name])
    with pytest.raises(ArtifactError):
        check_run(RunFolder(runs[0]))


def test_every_byte_is_checked_when_asked(runs: tuple[Path, Path]) -> None:
    from metatoken.run.manifest import check_run

    for name in ("checkpoints/last.ckpt", "model/weights.safetensors", "vocabulary/trie.safetensors"):
        run = runs[0].with_name(name.replace("/", "-"))
        shutil.copytree(runs[0], run)
        assert name in check_bytes(RunFolder(run))
        flip_byte(run / name)
        check_run(RunFolder(run))  # the cheap check leaves it to what reads the file
        with pytest.raises(ArtifactError, match="altered"):
            check_bytes(RunFolder(run))


def test_a_run_is_exchanged_for_one_with_the_same_manifest(runs: tuple[Path, Path], tmp_path: Path) -> None:
    same = shutil.copytree(runs[0], tmp_path / "same")
    (runs[0] / "metrics.json").touch()  # of an evaluation of the older one
    replace(runs[0], same)
    assert seed_of(runs[0]) == 1
    assert not (runs[0] / "metrics.json").exists()
