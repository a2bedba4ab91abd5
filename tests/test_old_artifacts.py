"""Vocabularies and runs of older versions open, and answer what they answered then.

`artifacts/<version>` was made by that version (`artifacts/make.py` says how); `expected.json` is what it answered.
"""

from __future__ import annotations

import functools
import json
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from transformers import PreTrainedTokenizerFast

import metatoken
from tests.files import ROOT

VERSIONS = sorted(path.name for path in (ROOT / "tests" / "artifacts").glob("v*"))
RUNS = ("ranking", "answering", "lora")
MODELS = ("fused", "item_head", "generation")
TASKS = ("rating", "rating_text", "explanation", "review_summary", "review_rating", "review_text")
TOLERANCE = 1e-4  # relative: another processor rounds otherwise

Say = Callable[..., str]


@pytest.fixture(params=VERSIONS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a copy of the artifacts, where the LoRA run finds its backbone as `llama`."""
    shutil.copytree(ROOT / "tests" / "artifacts" / request.param, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def expected(place: Path) -> dict[str, Any]:
    answered: dict[str, Any] = json.loads((place / "expected.json").read_text(encoding="utf-8"))
    return answered


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """`say("inspect", folder)`: what `python -m metatoken inspect folder` prints."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["metatoken", *arguments])
        # Commands end the process at once, which here is that of the tests: all later ones would be left out, silently.
        monkeypatch.setattr("metatoken.cli.app.leave", sys.exit)
        with pytest.raises(SystemExit) as stopped:
            runpy.run_module("metatoken", run_name="__main__")
        out, err = capsys.readouterr()
        assert not stopped.value.code, err
        return out

    return call


def recommended(recommender: Any, lists: dict[str, Any], model: str) -> dict[str, dict[str, float]]:
    """The scores of the recommended items of each user of `lists`, as many as there."""
    k = len(next(iter(lists.values())))
    found = recommender.recommend_many(list(lists), k=k, model=model)
    return {user: {one.item: one.score for one in items} for user, items in found.items()}


def check_lists(recommender: Any, lists: dict[str, Any], model: str) -> None:
    found = recommended(recommender, lists, model)
    assert set(found) == set(lists)
    for user, scores in lists.items():
        assert found[user] == pytest.approx(scores, rel=TOLERANCE), user


def test_a_vocabulary(expected: dict[str, Any], say: Say) -> None:
    vocabulary = metatoken.Vocabulary.load("vocabulary")
    for one in expected["inspected"]:
        assert vocabulary.tokens_of(**{one["kind"]: one["id"]}) == one["tokens"]
        found = json.loads(say("inspect", "vocabulary", "--id", one["id"], "--kind", one["kind"], "--json"))
        pairs = zip(found.pop("neighbours"), one.pop("neighbours"), strict=True)
        assert found == one
        for ours, theirs in pairs:
            assert ours.pop("similarity") == pytest.approx(theirs.pop("similarity"), rel=TOLERANCE, abs=1e-5)
            assert ours == theirs


@pytest.mark.parametrize("run", RUNS)
def test_recommendations(run: str, expected: dict[str, Any]) -> None:
    recommender = metatoken.Recommender.load(run)
    for model in MODELS:
        check_lists(recommender, expected["recommendations"][run][model], model)


def test_recommendations_by_the_command_line(expected: dict[str, Any], say: Say) -> None:
    lists = expected["recommendations"]["ranking"]["fused"]
    user, scores = next(iter(lists.items()))
    say("recommend", "ranking", "--user", user, "-k", str(len(scores)), "-o", "found.jsonl")
    (row,) = [json.loads(line) for line in Path("found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {one["item"]: one["score"] for one in row["items"]} == pytest.approx(scores, rel=TOLERANCE)


@pytest.mark.parametrize("task", TASKS)
def test_answers(task: str, expected: dict[str, Any], say: Say) -> None:
    pl.DataFrame(expected["questions"][task]).write_csv("asked.csv")
    say("answer", "answering", task, "--questions", "asked.csv", "-o", "told.jsonl")
    told = [json.loads(line)["answer"] for line in Path("told.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = expected["answers"][task]
    assert told == (wanted if isinstance(wanted[0], str) else pytest.approx(wanted, rel=TOLERANCE))


def test_a_run_can_be_evaluated_again(place: Path, say: Say) -> None:
    document = json.loads(say("evaluate", "ranking", "--json"))
    assert {"item_head", "generation", "fused", "popularity"} <= {row["model"] for row in document["rows"]}


def forget() -> None:
    """Empties the caches of every function of the package, wherever it lives."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "metatoken"]
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()


def reworded(value: Any) -> Any:
    """The content of a YAML file with other words in its templates, but for those that ask for recommendations."""
    if isinstance(value, dict) and {"id", "seen", "text"} <= set(value) and value["id"] != "seq-1":
        return value | {"text": f"Kindly, and without undue haste: {value['text']}"}
    if isinstance(value, dict):
        return {name: reworded(part) for name, part in value.items()}
    return [reworded(part) for part in value] if isinstance(value, list) else value


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A later version, which asks with other words: a tokenizer that is trained now is another one."""
    read = yaml.safe_load
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(yaml, "safe_load", lambda text: reworded(read(text)))
        yield
    forget()


def tokenizer_of(folder: Path) -> str:
    """Everything that the tokenizer in a folder does, as text."""
    text: str = PreTrainedTokenizerFast.from_pretrained(folder).backend_tokenizer.to_str()
    return text


@pytest.mark.usefixtures("later")
def test_a_run_uses_the_tokenizer_that_was_saved_with_it(place: Path, expected: dict[str, Any]) -> None:
    saved = tokenizer_of(place / "ranking" / "model" / "tokenizer")
    fresh = metatoken.MetaTokenModule(metatoken.Vocabulary.load("ranking/vocabulary"), max_history=12)
    assert fresh.tokenizer.backend_tokenizer.to_str() != saved  # templates were reworded, else this shows nothing
    recommender = metatoken.Recommender.load("ranking")
    assert recommender.module.tokenizer.backend_tokenizer.to_str() == saved
    for model in MODELS:
        check_lists(recommender, expected["recommendations"]["ranking"][model], model)


def test_a_run_uses_its_tokenizer_though_that_of_the_backbone_changed(place: Path, expected: dict[str, Any]) -> None:
    saved, file = tokenizer_of(place / "lora" / "model" / "tokenizer"), place / "llama" / "tokenizer.json"
    changed = json.loads(file.read_text(encoding="utf-8"))
    changed["model"]["merges"] = []  # every word is now read byte by byte
    file.write_text(json.dumps(changed), encoding="utf-8")
    recommender = metatoken.Recommender.load("lora")
    assert recommender.module.tokenizer.backend_tokenizer.to_str() == saved
    check_lists(recommender, expected["recommendations"]["lora"]["item_head"], "item_head")
