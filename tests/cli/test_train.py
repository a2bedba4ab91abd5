from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import yaml

from metatoken.run import load_run
from metatoken.run.config import load_config
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun
from tests.files import flip_byte, write_run_config

HEAD = "user_id,item_id,timestamp"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_run_config(tmp_path, n_users=60)


def test_a_configuration_becomes_a_run(run: Run, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    result = run("train", config, "-o", out, "--set", "trainer.batch_size=64", "--set", "model.alpha=0.5")
    assert result.code == 0, result.err
    loaded = load_run(out)
    assert (loaded.config.trainer.batch_size, loaded.config.model.alpha) == (64, 0.5)
    lines = result.out.splitlines()
    assert any(line.startswith("epoch 1/1: loss ") for line in lines)
    assert lines[-1] == f"run saved to {out}; next: metatoken evaluate {out}, metatoken recommend {out} --user ID"
    assert not [line for line in result.err.splitlines() if not line.startswith("warning: ")]


def test_the_next_steps_are_those_of_the_tasks(run: Run, tmp_path: Path) -> None:
    columns = {name: name for name in ("review", "summary")}
    config = write_run_config(tmp_path, n_users=60, data=columns, model={"tasks": ["review_summary"], "max_text": 8})
    result = run("train", config, "-o", tmp_path / "run")
    assert result.out.endswith(
        f"next: metatoken evaluate {tmp_path / 'run'}, "
        f"metatoken answer {tmp_path / 'run'} review_summary --user ID --item ID --review TEXT\n"
    )


def test_two_commands(run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tokenize` and then `train` with what it wrote, under a name that YAML would take for a number."""
    data = yaml.safe_load(config.read_text())["data"]
    columns = [f"--{name}={data[name]}" for name in ("user", "item", "time", "items", "title", "categories")]
    vocabulary = tmp_path / "2024"
    quick = ("--dim", 16, "--levels", "8,16", "--walks-per-node", 2, "--walk-length", 10)
    assert run("tokenize", data["path"], *columns, *quick, "-o", vocabulary).code == 0
    monkeypatch.chdir(tmp_path)
    result = run("train", config, "--vocabulary", "2024", "-o", tmp_path / "run")
    assert result.code == 0, result.err
    for name in ("entities.parquet", "codebook.safetensors", "vectors.safetensors", "trie.safetensors"):
        assert (tmp_path / "run" / "vocabulary" / name).read_bytes() == (vocabulary / name).read_bytes()
    assert load_config(tmp_path / "run" / "config.yaml").vocabulary == Path("2024")


def test_a_vocabulary_that_has_seen_the_targets_is_refused(run: Run, config: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(config.read_text())["data"]
    columns = [f"--{name}={data[name]}" for name in ("user", "item", "time")]
    quick = ("--dim", 8, "--walks-per-node", 2, "--walk-length", 8, "--split", "none")
    assert run("tokenize", data["path"], *columns, *quick, "-o", tmp_path / "all").code == 0
    result = run("train", config, "--vocabulary", tmp_path / "all", "-o", tmp_path / "run")
    assert result.code == 2
    errors = [line for line in result.err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: vocabulary: ")
    assert not (tmp_path / "run").exists()


def test_resume_goes_on(run: Run, config: Path, tmp_path: Path) -> None:
    assert run("train", config, "-o", tmp_path / "run").code == 0
    result = run("train", config, "-o", tmp_path / "run", "--resume", "--set", "trainer.max_epochs=2")
    assert result.code == 0, result.err
    assert [line[:9] for line in result.out.splitlines() if line.startswith("epoch")] == ["epoch 2/2"]


def test_several_seeds_and_the_commands_that_go_on(run: Run, config: Path, tmp_path: Path) -> None:
    result = run("train", config, "-o", tmp_path / "runs", "--seeds", "3,0")
    assert result.code == 0, result.err
    first, second = (tmp_path / "runs" / f"seed-{seed}" for seed in (3, 0))
    last = result.out.splitlines()[-1]
    assert last == (
        f"runs saved to {tmp_path / 'runs'}; next: metatoken evaluate {first} {second}, "
        f"metatoken compare {first} {second}"
    )
    evaluate, compare = (command.split()[1:] for command in last.partition("next: ")[2].split(", "))
    result = run(*evaluate, "--no-unseen")
    assert result.code == 0, result.err
    rows = [line for line in result.out.splitlines() if "│" in line and "transition_graph" in line]
    assert len(rows) == 2
    assert f"{first}:\n" in result.out
    assert result.out.endswith(f"next: metatoken {' '.join(compare)}\n")
    assert "(seeds 3, 0)" in run(*compare).out
    assert (
        run("train", config, "-o", tmp_path / "runs", "--seeds", "3,0", "--resume").out.count("finished already") == 2
    )


def test_seeds_that_are_none(refuse: Refuse, config: Path, tmp_path: Path) -> None:
    assert "'0,one'" in refuse("train", config, "-o", tmp_path / "runs", "--seeds", "0,one")
    assert "different seeds" in refuse("train", config, "-o", tmp_path / "runs", "--seeds", "1,1")
    for odd in ("1_0", "\u0663", "+1", "0-3", "0,,1", "9" * 5000):  # of which int() takes the first three
        said = refuse("train", config, "-o", tmp_path / "runs", "--seeds", odd)
        assert "--seeds: expected numbers such as 0,1,2" in said
        assert len(said) < 400
    twice = ("--seeds", "1", "--set", "seed=2")
    assert "--seeds: says the seeds" in refuse("train", config, "-o", tmp_path / "runs", *twice)


def test_going_on_and_beginning_anew_exclude_each_other(refuse: Refuse, config: Path, tmp_path: Path) -> None:
    for more in ((), ("--seeds", "1")):
        said = refuse("train", config, "-o", tmp_path / "runs", *more, "--overwrite", "--resume")
        assert "leave one of them out" in said


@pytest.mark.usefixtures("stop_at_once")
def test_a_final_model_over_everything(run: Run, trained_run: TrainedRun, tmp_path: Path) -> None:
    out = tmp_path / "final"
    result = run("train", trained_run.yaml, "--split", "none", "--like", trained_run.run.folder, "-o", out)
    assert result.code == 0, result.err
    assert result.out.endswith(f"run saved to {out}; next: metatoken recommend {out} --user ID\n")
    user = trained_run.run.split.log.users.raw[0]
    assert run("recommend", out, "--user", user, "-k", 3).out.count("\n") == 4
    assert run("export", out, tmp_path / "plain").code == 0
    assert "serving" in run("serve", out, "--port", 0).out
    for command in ("evaluate", "compare"):
        refused = run(command, out)
        assert refused.code == 2
        assert refused.err.count("\n") == 1
    assert "nothing is held out to evaluate it on" in run("evaluate", out).err


def test_a_final_model_needs_an_earlier_run(refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "final")
    assert "--like RUN" in refuse("train", trained_run.yaml, "--split", "none", *out)
    assert "--split" in refuse("train", trained_run.yaml, "--split", "some", *out)
    assert "data.split" in refuse("train", trained_run.yaml, "--set", "data.split=some", *out)
    like = ("--like", trained_run.run.folder)
    assert "holds nothing out" in refuse("train", trained_run.yaml, *like, *out)
    assert "leave --seeds out" in refuse("train", trained_run.yaml, "--split", "none", *like, "--seeds", "0,1", *out)


def test_ctrl_c(run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    monkeypatch.setattr("metatoken.cli.output.say", interrupt)
    result = run("train", config, "-o", tmp_path / "run", "--set", "trainer.max_epochs=2")
    assert result.code == 130
    assert "Traceback" not in result.err
    monkeypatch.undo()
    unfinished = run("evaluate", tmp_path / "run")
    assert unfinished.code == 2
    assert "--resume" in unfinished.err
    assert run("train", config, "-o", tmp_path / "run", "--set", "trainer.max_epochs=2", "--resume").code == 0


def test_what_exists_is_kept(refuse: Refuse, config: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("cat")
    assert "--overwrite" in refuse("train", config, "-o", photos)
    assert "not a run folder" in refuse("train", config, "-o", photos, "--overwrite")
    assert "checkpoint" in refuse("train", config, "-o", photos, "--resume")


BROKEN_LOGS = {
    "no such file": (None, "interactions.csv"),
    "empty file": ("", "empty"),
    "header only": (f"{HEAD}\n", "interactions.csv"),
    "missing column": ("user_id,film,timestamp\nu,i,3\n", "item_id"),
    "empty user": (f"{HEAD}\nu,i,4\n,i,5\n", ":3: "),
    "empty item": (f"{HEAD}\nu,,4\nu,i,5\n", ":2: "),
    "bad time": (f"{HEAD}\nu,i,4\nu,j,yesterday\n", "yesterday"),
    "ragged row": (f"{HEAD}\nu,i,4\nu,i\n", ":3: "),
    "binary": (b"\x93NUMPY\x01\x00\xff\xfe\x00", "interactions.csv"),
    "Parquet by name": (b"PAR1 or not", "interactions.csv"),
}


@pytest.mark.parametrize("name", BROKEN_LOGS)
def test_broken_logs(name: str, refuse: Refuse, config: Path, tmp_path: Path) -> None:
    content, hint = BROKEN_LOGS[name]
    log = tmp_path / "world" / "interactions.csv"
    log.unlink()
    if content is not None:
        log.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refuse("train", config, "-o", tmp_path / "run")
    assert "interactions.csv" in line or "item_id" in line
    assert hint in line


WRONG_NAMES = {
    "log.csv.gz": b"user_id,item_id,timestamp\nu,i,3\n",
    "cut.csv.gz": gzip.compress(b"user_id,item_id,timestamp\n" + b"u,i,3\n" * 1000)[:40],
    "log.parquet": b"user_id,item_id,timestamp\nu,i,3\n",
    "log.jsonl": b"user_id,item_id,timestamp\nu,i,3\n",
}


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_files_that_are_not_what_their_name_says(name: str, refuse: Refuse, config: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(WRONG_NAMES[name])
    assert name in refuse("train", config, "--set", f"data.path={tmp_path / name}", "-o", tmp_path / "run")


def test_a_null_id_in_json_lines(refuse: Refuse, config: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"user_id": "u", "item_id": "i", "timestamp": 1}\n{"user_id": null, "item_id": "i", "timestamp": 2}\n'
    )
    line = refuse("train", config, "--set", f"data.path={log}", "-o", tmp_path / "run")
    assert f"{log}:2: " in line


def test_a_broken_item_table(refuse: Refuse, config: Path, tmp_path: Path) -> None:
    (tmp_path / "world" / "items.csv").write_text("item,title\ni,Name\n")
    assert "item_id" in refuse("train", config, "-o", tmp_path / "run")


BROKEN_CONFIGS = {
    "unknown key": ("data: {path: a}\nmodel:\n  max_histori: 3\n", "config.yaml:3: ", "did you mean 'max_history'?"),
    "broken YAML": ("data: {path: a\nmodel: 3\n", "config.yaml:2: ", "broken YAML"),
    "wrong value": ("data: {path: a}\nseed: soon\n", "config.yaml:2: ", "'soon'"),
    "no path": ("seed: 1\n", "config.yaml", "'data' is missing"),
    "empty": ("", "config.yaml", "expected a mapping"),
}


@pytest.mark.parametrize("name", BROKEN_CONFIGS)
def test_broken_configurations(name: str, refuse: Refuse, config: Path, tmp_path: Path) -> None:
    text, place, hint = BROKEN_CONFIGS[name]
    config.write_text(text)
    line = refuse("train", config, "-o", tmp_path / "run")
    assert place in line
    assert hint in line


def test_no_configuration(refuse: Refuse, config: Path, tmp_path: Path) -> None:
    assert "absent.yaml" in refuse("train", tmp_path / "absent.yaml", "-o", tmp_path / "run")
    assert "expected key=value" in refuse("train", config, "--set", "seed", "-o", tmp_path / "run")
    assert "did you mean" in refuse("train", config, "--set", "trainer.max_epoch=3", "-o", tmp_path / "run")


@pytest.mark.parametrize("file", ["vectors.safetensors", "codebook.safetensors", "entities.parquet", "manifest.json"])
def test_an_altered_vocabulary(file: str, run: Run, config: Path, trained_run: TrainedRun, tmp_path: Path) -> None:
    vocabulary = Path(shutil.copytree(trained_run.run.folder / "vocabulary", tmp_path / "vocabulary"))
    flip_byte(vocabulary / file)
    result = run("train", config, "--vocabulary", vocabulary, "-o", tmp_path / "run")
    assert result.code == 2
    errors = [line for line in result.err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert file in errors[0]
    assert not (tmp_path / "run").exists()
