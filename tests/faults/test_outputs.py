"""Files that commands write: never over what they read, nor over a part of a run or another artifact."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metatoken.artifacts.writing import resolved
from metatoken.cli.kinds import table, text
from metatoken.cli.output import check_output_file
from metatoken.errors import ArgumentError, ArtifactError
from tests.cli.conftest import Refuse, Run, refuse, run  # noqa: F401 (fixtures)
from tests.conftest import TrainedRun

LISTS = table("lists", ("user", "rank", "item"))
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
            check_output_file("--out", finished / part, {}, LISTS)
    (finished.parent / "link").symlink_to(finished / part)
    with pytest.raises(ArgumentError, match="is a part of"):
        check_output_file("--out", finished.parent / "link", {}, LISTS)
    assert (finished / part).read_bytes() == before
    check_output_file("--out", finished / "lists.csv", {}, LISTS)


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
    check_output_file("--out", None, {"--users": tmp_path}, LISTS)
    check_output_file("--out", tmp_path / "deep" / "new.csv", {"--users": tmp_path / "none"}, LISTS)
    (tmp_path / "old.csv").write_text("user,rank,item\n")
    check_output_file("--out", tmp_path / "old.csv", {"--users": None}, LISTS)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["old.csv"]
    with pytest.raises(ArtifactError, match="is a folder"):
        check_output_file("--out", tmp_path, {}, LISTS)
    with pytest.raises(ArtifactError, match="not a path"):
        resolved("a\0b")


OLD = {
    "lists.csv": "user,rank,item,title\nu,1,a,A\n",
    "lists.tsv": "user\trank\titem\nu\t1\ta\n",
    "lists.jsonl": '{"user": "u", "rank": 1, "item": "a"}\n',
    "made.csv": "",
}
OWN = {
    "log.csv": "user,item,time\nu,a,1\n",
    "notes.txt": "user rank item",
    "log.jsonl": '{"user": "u", "item": "a"}\n',
    "deep.jsonl": '{"a":' * 5000,
    "broken.jsonl": "{user, rank, item",
    "junk.parquet": "PAR1 user rank item PAR1",
    "binary.csv": "\0\1\2",
}


@pytest.mark.parametrize("name", [*OLD, *OWN])
def test_somebodys_own_file_is_not_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(OLD.get(name, OWN.get(name, "")))
    if name in OLD:
        check_output_file("--out", tmp_path / name, {}, LISTS)
        return
    with pytest.raises(ArgumentError, match=r"holds something else than lists; choose another place"):
        check_output_file("--out", tmp_path / name, {}, LISTS)


def test_a_parquet_file_is_known_by_its_columns(tmp_path: Path) -> None:
    import polars as pl

    pl.DataFrame({"user": ["u"], "rank": [1], "item": ["a"]}).write_parquet(tmp_path / "lists.parquet")
    pl.DataFrame({"user": ["u"], "item": ["a"]}).write_parquet(tmp_path / "log.parquet")
    check_output_file("--out", tmp_path / "lists.parquet", {}, LISTS)
    with pytest.raises(ArgumentError, match="something else"):
        check_output_file("--out", tmp_path / "log.parquet", {}, LISTS)


def test_a_text_is_known_by_a_line(tmp_path: Path) -> None:
    config = text("a configuration", "^data:")
    (tmp_path / "old.yaml").write_text("# from a log\ndata:\n  path: x\n")
    (tmp_path / "own.yaml").write_text("services:\n  data: x\n")
    check_output_file("--write", tmp_path / "old.yaml", {}, config)
    with pytest.raises(ArgumentError, match="something else than a configuration"):
        check_output_file("--write", tmp_path / "own.yaml", {}, config)


def test_commands_know_what_they_write(run: Run, refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:  # noqa: F811
    folder, user = trained_run.run.folder, trained_run.run.split.log.users.raw[0]
    log, own = tmp_path / "log.csv", tmp_path / "own.csv"
    log.write_text("user,item\n" + "".join(f"u{n},{item}\n" for n in range(3) for item in "abc"))
    own.write_text("user,item\nu,a\n")
    for argv in (("recommend", folder, "--user", user, "-o"), ("compare", folder, "--json")):
        assert "holds something else than" in refuse(*argv, own)
    assert "holds something else than a configuration" in refuse("inspect", log, "--write", own, "--overwrite")
    assert own.read_text() == "user,item\nu,a\n"
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        for _ in range(2):
            done = run("recommend", folder, "--user", user, "-o", tmp_path / f"lists.{suffix}")
            assert done.code == 0, done.err
    for argv in (
        ("compare", folder, "--resamples", 5, "--json", tmp_path / "table.json"),
        ("inspect", log, "--write", tmp_path / "c.yaml", "--overwrite"),
    ):
        for _ in range(2):
            assert run(*argv).code == 0
