from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import yaml

from metatoken.decode.settings import TextOptions
from metatoken.errors import ConfigError
from metatoken.run.config import Config, dump_config, load_config
from tests.files import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(path, list(overrides))
    return str(refused.value)


def test_a_path_alone_is_enough(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "data: {path: log.csv}"))
    assert config == Config.read({"data": {"path": "log.csv"}})
    assert config.data.path == Path("log.csv")


BROKEN = {
    "unknown section": ("data: {path: a}\n\nmodle: {}\n", 3, "unknown key 'modle'; did you mean 'model'?"),
    "unknown key": ("data:\n  path: a\nmodel:\n  alpha: 1\n  max_histori: 3\n", 5, "did you mean 'max_history'?"),
    "unknown deeper key": ("data: {path: a}\nmodel:\n  weights:\n    itme: 3\n", 4, "did you mean 'item'?"),
    "unlike any key": ("data: {path: a}\nqqqq: 1\n", 2, "known are data, vocabulary, tokens"),
    "a key without its section": ("data: {path: a}\nmax_epochs: 3\n", 2, "did you mean trainer.max_epochs?"),
    "a key of another section": ("data: {path: a}\nmodel: {batch_size: 3}\n", 2, "did you mean trainer.batch_size or"),
    "a part of a key": ("data: {path: a}\ntrainer: {epochs: 3}\n", 2, "trainer.max_epochs or tokens.epochs?"),
    "a word for a number": ("data: {path: a}\ntrainer:\n  max_epochs: many\n", 3, "'many'"),
    "a number out of range": ("data: {path: a}\ntrainer:\n  batch_size: 0\n", 3, "trainer.batch_size"),
    "no such choice": ("data:\n  path: a\n  format: xml\n", 3, "'xml'"),
    "levels of letters": ("data: {path: a}\ntokens:\n  levels: 8,x\n", 3, "tokens.levels"),
    "a value for a section": ("data: {path: a}\nmodel: 3\n", 2, "model"),
    "a value for an optional section": ("data:\n  path: a\n  texts: t.csv\n", 3, "keys of path, user, item, review"),
    "unknown key of an optional section": ("data: {path: a, texts: {path: b, usr: u}}\n", 1, "did you mean 'user'?"),
    "unknown way to write": ("data: {path: a}\nevaluate: {writing: {beams: 3}}\n", 2, "'num_beams'"),
    "a shortest text longer than all": (
        "data: {path: a}\nmodel: {max_text: 16}\nevaluate: {writing: {min_new_tokens: 17}}\n",
        3,
        "model.max_text, 16",
    ),
    "a missing key": ("data:\n  user: u\n", 1, "'data.path' is missing"),
    "an open bracket": ("data: {path: a}\nmodel:\n  tasks: [sequential\n", 4, "broken YAML"),
    "a tab": ("data:\n\tpath: a\n", 2, "broken YAML"),
    "two colons": ("data:\n  path: a: b\n", 2, "broken YAML"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_refusal_names_file_line_and_remedy(name: str, tmp_path: Path) -> None:
    text, line, hint = BROKEN[name]
    path = write(tmp_path, text)
    message = refusal(path)
    assert message.startswith(f"{path}:{line}: "), message
    assert hint in message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_what_is_no_mapping(text: str, tmp_path: Path) -> None:
    assert "expected a mapping with the keys data" in refusal(write(tmp_path, text))


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "absent.yaml")
    assert "cannot be read" in refusal(tmp_path)
    binary = tmp_path / "weights.yaml"
    binary.write_bytes(b"\x93NUMPY\xff\xfe")
    assert "not UTF-8" in refusal(binary)
    control = write(tmp_path, "data: \x07")
    assert str(control) in refusal(control)


def test_overrides_win_over_the_file_and_later_ones_over_earlier_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {path: a}\ntrainer: {max_epochs: 5, batch_size: 7}\n")
    overrides = ["trainer.max_epochs=2", "trainer.max_epochs=3", "tokens.levels=8,16", "model.weights.item=0.5"]
    overrides += ["model.tasks=[direct]", "data.path=b=c.csv", "trainer.gradient_clip_val=null", "model.preset.dim=32"]
    config = load_config(path, overrides)
    assert (config.trainer.max_epochs, config.trainer.batch_size) == (3, 7)
    assert config.tokens.levels == (8, 16)
    assert config.model.weights.item == 0.5
    assert config.model.weights.generation == Config.read({"data": {"path": "a"}}).model.weights.generation
    assert config.model.tasks == ("direct",)
    assert config.data.path == Path("b=c.csv")
    assert config.trainer.gradient_clip_val is None
    assert config.model.preset == {"dim": 32}


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("trainer.max_epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("seed.deep=3", "seed is a value, not a section"),
        ("model.tasks=[a", "not a YAML value"),
        ("trainer.validation_users=-3", "an integer of at least 0, got -3"),
        ("trainer.gradient_clip_val=-1", "a number of at least 0, got -1"),
        ("trainer.max_epoch=3", "did you mean 'max_epochs'?"),
        ("trainer.max_epochs=soon", "'soon'"),
        ("threads=0", "threads"),
    ],
)
def test_overrides_that_cannot_be_used(override: str, hint: str, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "data: {path: a}\nseed: 1\ntrainer: {max_epochs: 3}\n"), override)
    assert message.startswith(f"--set {override}: ")
    assert hint in message


def test_a_fault_of_the_file_is_not_laid_on_an_override(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {path: a}\ntrainer:\n  batch_size: 0\n")
    assert refusal(path, "trainer.max_epochs=3").startswith(f"{path}:3: ")
    assert refusal(path, "trainer.batch_size=0", "seed=1").startswith("--set trainer.batch_size=0: ")


def test_the_writing_section_has_the_defaults_of_the_options(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "data: {path: a}\nmodel: {max_text: 9}\n"))
    assert config.evaluate.writing == TextOptions()
    longer = load_config(tmp_path / "run.yaml", ["evaluate.writing={max_new_tokens: 5, num_beams: 2}"])
    assert longer.evaluate.writing == TextOptions(max_new_tokens=5, num_beams=2)


def test_a_dumped_configuration_is_the_same(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path, "data: {path: a, time: t}\ntokens: {levels: [4, 8]}\nmodel: {preset: {dim: 16, dropout: .1}}\n"
        ),
        ["trainer.options.log_every_n_steps=5", "vocabulary=v", "model.backbone=b", "model.lora.r=4"],
    )
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_a_configuration_does_not_change() -> None:
    config = Config.read({"data": {"path": "a"}})
    with pytest.raises(FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_load(path: Path) -> None:
    config = load_config(path)
    assert Config.read(yaml.safe_load(dump_config(config))) == config
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert written["data"]["path"].startswith("../shared/data/")


@pytest.mark.shared_data
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_name_files_that_exist(path: Path, shared_data: Path) -> None:
    data = load_config(path).data
    for file in (data.path, data.items):
        assert file is None or (ROOT / file).is_file()
    assert (ROOT / data.path).resolve().is_relative_to(shared_data.resolve())


def test_there_are_shipped_configurations() -> None:
    assert CONFIGS


@pytest.mark.parametrize("override", [f"seed={2**63}", "seed=-1", f"tokens.dim={2**64}"])
def test_numbers_that_the_core_cannot_take_are_refused(tmp_path: Path, override: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("data: {path: log.csv}\n")
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        load_config(path, [override])
